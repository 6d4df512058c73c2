"""What one visitor's page remembers: images, exchanges, stored predictions and files, all bounded, none shared."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agvas_core.structures import (
    Conversation,
    EngineCard,
    InspectionImage,
    Mode,
    Prediction,
    Request,
    Turn,
)
from demo.shelf import Shelf

MAX_IMAGES = 12
MAX_EXCHANGES = 60
MAX_MAP_BYTES = 512 * 2**20  # of stored probability maps; older replies keep their picture but lose their sliders


class FileStore:
    """Where the sessions' files go: unguessable folders inside gradio's cache, which serves and deletes them."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        self._calls: Path | None = None
        self.created: set[str] = set()  # gradio deletes these files by age (Blocks.delete_cache)

    def new_folder(self) -> Path:
        """Make a folder that only its session knows."""
        root = self._root
        if root is None:
            from gradio.utils import get_upload_folder

            root = Path(get_upload_folder())
        root.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"agvas-{secrets.token_urlsafe(18)}-", dir=root))

    def new_answer_file(self, suffix: str) -> Path:
        """Return an unguessable path for a caller without a page; one folder holds them all, so none is left empty."""
        if self._calls is None or not self._calls.is_dir():
            self._calls = self.new_folder()
        path = self._calls / f"{secrets.token_urlsafe(18)}{suffix}"
        self.created.add(str(path))
        return path


@dataclass(eq=False)
class Reply:
    """One answer as it grows.

    Attributes:
        reply_id: unguessable name, used in the page and in file names.
        engine_id: the name by which the desk knows who answers.
        card: who answers.
        request: what was asked for.
        stage: name and share of what is being computed, or None when nothing is.
        text: the model's words so far.
        notices: sentences from the engine or from the page itself.
        errors: sentences about what went wrong and what to do.
        prediction: the mask as its sliders have it, while its maps are kept.
        answered: the mask as the engine gave it, from which the sliders start.
        compared: the part about the other image when two are compared, else None.
        text_first: True when words arrived before the mask.
        mask_s: wall seconds from the question to the mask, or None.
        total_s: wall seconds of the whole reply, or None while it runs.
        seconds: wall seconds per stage as the engine measured them.
        mode: the mode that was used (never "auto" once done).
        stopped: True when the user stopped it.
        unanswered: True when no engine ran, because it could not be loaded or the image was gone.
        selected_region: number of the region drawn in blue, or None.
        assets: relative URLs of the pictures and downloads, by kind.
        version: counts re-renderings, so that browsers never show an old file.
    """

    reply_id: str
    card: EngineCard
    request: Request
    engine_id: str = ""
    stage: tuple[str, float] | None = None
    text: str = ""
    notices: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    prediction: Prediction | None = None
    answered: Prediction | None = None
    compared: Reply | None = None
    text_first: bool = False
    mask_s: float | None = None
    total_s: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    mode: Mode | None = None
    stopped: bool = False
    unanswered: bool = False
    selected_region: int | None = None
    assets: dict[str, str] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)
    version: int = 0

    @property
    def running(self) -> bool:
        """True until the reply has ended."""
        return self.total_s is None

    @property
    def parts(self) -> tuple[Reply, ...]:
        """The reply itself, and the part about the other image in a comparison."""
        return (self,) if self.compared is None else (self, self.compared)

    def forget_maps(self) -> None:
        """Give up the maps; the pictures stay, the sliders do not."""
        self.prediction = self.answered = None


@dataclass(frozen=True)
class Knobs:
    """Values of the three sliders; see structures.Request."""

    threshold: float = 0.5
    alpha: float = 0.5
    min_area_px: int = 0


@dataclass(eq=False)
class Exchange:
    """A question with its answer.

    Attributes:
        question: the user's words.
        shown_image_ids: the photos that came along with them.
        reply: the answer that the conversation goes on from.
        others: what other engines answered to the same question, shown beside it.
    """

    question: str
    shown_image_ids: tuple[str, ...]
    reply: Reply
    others: list[Reply] = field(default_factory=list)

    @property
    def replies(self) -> tuple[Reply, ...]:
        """All answers, and their parts."""
        return (*self.reply.parts, *self.others)


def can_ask_other(exchange: Exchange) -> bool:
    """Whether another engine can answer it too: it is done, and about one image."""
    return exchange.reply.compared is None and not any(reply.running for reply in exchange.replies)


class Session:
    """Everything of one visitor; gr.State copies the empty one for each of them."""

    def __init__(self, files: FileStore | None = None, shelf: Shelf | None = None) -> None:
        self.files = files or FileStore()
        self.shelf = shelf or Shelf()
        self.lang = "en"
        self.exchanges: list[Exchange] = []
        self.images: dict[str, InspectionImage] = {}
        self.seen: dict[str, str] = {}  # names of all images by id, in their order; some may have been let go
        self.used_at: dict[str, float] = {}  # when each was last needed
        self.in_use: frozenset[str] = frozenset()  # images that a running reply needs
        self.photo_urls: dict[str, str] = {}
        self.thumb_urls: dict[str, str] = {}
        self.uploads: dict[str, str] = {}  # path of an uploaded file -> image_id, so that it is read once
        self.current_image_id: str | None = None
        self.selected_reply_id: str | None = None
        self.knobs = Knobs()  # as the user set them last; replies start from them, whatever reply is selected
        self.stop = threading.Event()
        self.busy = threading.Lock()
        self.guard = threading.RLock()  # held while images or maps are read for drawing, or let go
        self._folder: Path | None = None
        self.shelf.join(self)

    def __deepcopy__(self, memo: object) -> Session:
        """Return a fresh session with a folder of its own: nothing is ever shared between visitors."""
        return Session(self.files, self.shelf)

    # --- files ---

    @property
    def folder(self) -> Path:
        """The session's own folder, made when it is first needed."""
        if self._folder is None or not self._folder.is_dir():
            self._folder = self.files.new_folder()
        return self._folder

    def new_file(self, name: str) -> Path:
        """Return the path of a file to be written, known to the cache's clean-up."""
        path = self.folder / name
        self.files.created.add(str(path))
        return path

    def drop_file(self, path: Path) -> None:
        """Delete one of the session's own files."""
        path.unlink(missing_ok=True)
        self.files.created.discard(str(path))

    def close(self) -> None:
        """Delete the session's files, and give up its photos and maps."""
        self.stop.set()
        with self.guard:
            self.images = {}
            for reply in self.replies():
                reply.forget_maps()
        if self._folder is not None:
            for path in self._folder.glob("*"):
                self.files.created.discard(str(path))
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    # --- images ---

    def add_image(self, image: InspectionImage) -> None:
        """Remember an image and make it the current one; the oldest ones that nothing shows are forgotten."""
        with self.guard:
            self.images[image.image_id] = image
            self.seen.setdefault(image.image_id, image.name)
            self.current_image_id = image.image_id
            self.used_at[image.image_id] = time.monotonic()
        used = {reply.request.image_id for reply in self.replies()} | {image.image_id}
        while len(self.images) > MAX_IMAGES:
            unused = [i for i in self.images if i not in used]
            victim = unused[0] if unused else next(iter(self.images))
            self._forget(victim)
        self.shelf.make_room()

    def hold(self, *image_ids: str | None) -> None:
        """Say which images are needed now, and for how long: until the next call; the others may be let go."""
        with self.guard:
            self.in_use = frozenset(i for i in image_ids if i is not None)
            self.used_at.update(dict.fromkeys(self.in_use, time.monotonic()))

    def held_bytes(self) -> dict[str, int]:
        """Return how much each image holds in memory, with the maps of the replies about it."""
        with self.guard:
            held = {image_id: image.rgb.nbytes for image_id, image in self.images.items()}
            for reply in self.replies():
                image_id = reply.request.image_id
                if image_id in held:
                    held[image_id] += _map_bytes(reply)
        return held

    def let_go(self, image_id: str) -> bool:
        """Forget an image and the maps about it, because others need the room; False when it is needed now."""
        with self.guard:
            if image_id in self.in_use or image_id not in self.images:
                return False
            self._forget(image_id)
        return True

    def _forget(self, image_id: str) -> None:
        with self.guard:
            del self.images[image_id]
            for reply in self.replies():
                if reply.request.image_id == image_id:
                    reply.forget_maps()

    @property
    def gone(self) -> list[str]:
        """Names of the images that were let go."""
        return [name for image_id, name in self.seen.items() if image_id not in self.images]

    @property
    def current_image(self) -> InspectionImage | None:
        """The image that the next question is about."""
        return self.images.get(self.current_image_id or "")

    # --- exchanges ---

    def start(
        self, question: str, shown_image_ids: tuple[str, ...], card: EngineCard, request: Request, engine_id: str = ""
    ) -> Reply:
        """Add a question and return its empty reply."""
        reply = new_reply(card, request, engine_id)
        self.exchanges.append(Exchange(question, shown_image_ids, reply))
        del self.exchanges[:-MAX_EXCHANGES]
        return reply

    def replies(self) -> Iterator[Reply]:
        """Yield all replies and their parts, oldest first."""
        for exchange in list(self.exchanges):
            yield from exchange.replies

    def reply(self, reply_id: str | None) -> Reply | None:
        """Return the reply of that id, or None."""
        return next((reply for reply in self.replies() if reply.reply_id == reply_id), None)

    @property
    def selected(self) -> Reply | None:
        """The reply that the side panel's sliders move."""
        return self.reply(self.selected_reply_id)

    def truncate(self, index: int) -> list[Exchange]:
        """Forget the exchanges from `index` on and return them."""
        index = max(0, index)
        dropped = self.exchanges[index:]
        del self.exchanges[index:]
        if self.selected is None:
            with_mask = [e.reply for e in self.exchanges if e.reply.prediction is not None]
            self.selected_reply_id = with_mask[-1].reply_id if with_mask else None
        return dropped

    def clear(self) -> None:
        """Forget everything but the language and the sliders."""
        self.close()
        self.exchanges, self.images, self.photo_urls, self.thumb_urls = [], {}, {}, {}
        self.uploads, self.seen, self.used_at, self.in_use = {}, {}, {}, frozenset()
        self.current_image_id = self.selected_reply_id = None
        self.stop = threading.Event()

    def conversation(self, before: Exchange | None = None) -> Conversation:
        """Return the finished turns as engines read them, up to an exchange when one is given."""
        conversation = Conversation(images=dict(self.images))
        for exchange in self.exchanges:
            if exchange is before:
                break
            reply = exchange.reply
            image_id = reply.request.image_id
            if reply.running or reply.errors:
                continue
            conversation = conversation.with_turn(Turn("user", exchange.question, image_id))
            conversation = conversation.with_turn(Turn("assistant", reply.text, image_id, reply.mode, reply.prediction))
        return conversation

    def bound_memory(self) -> None:
        """Drop the oldest probability maps beyond the session's share of memory; their pictures stay."""
        total = 0
        with self.guard:
            for reply in reversed(list(self.replies())):
                total += _map_bytes(reply)
                if total > MAX_MAP_BYTES:
                    reply.forget_maps()
        self.shelf.make_room()


def new_reply(card: EngineCard, request: Request, engine_id: str = "") -> Reply:
    """Return an empty reply with a name that nobody can guess."""
    return Reply(reply_id="r" + secrets.token_hex(8), card=card, request=request, engine_id=engine_id)


def _map_bytes(reply: Reply) -> int:
    """Return the memory of a reply's maps: three and their fusion, float32, and another fusion when it was moved."""
    if reply.prediction is None:
        return 0
    height, width = reply.prediction.size_hw
    return (4 if reply.prediction is reply.answered else 5) * height * width * 4

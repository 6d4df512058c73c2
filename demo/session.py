"""What one visitor's page remembers: images, exchanges, stored predictions and files, all bounded, none shared."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from agvas_core.good_parts import good_images
from agvas_core.scale import Scale, scale_of
from agvas_core.structures import (
    Conversation,
    EngineCard,
    InspectionImage,
    Request,
    Turn,
)
from demo.replies import Exchange, Reply, map_bytes, new_reply
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


@dataclass(frozen=True)
class Knobs:
    """Values of the three sliders; see structures.Request."""

    threshold: float = 0.5
    alpha: float = 0.5
    min_area_px: int = 0


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
        self.moved_by_words = 0
        self.late_knobs: dict[str, Any] = {}  # those that were set while a reply runs, which began without them
        self.sliders_sent_at = 0.0  # when their values last went to the page; time.monotonic()
        self.clearing = False  # a new chat was asked for: what a reply that still runs would draw is not drawn
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

    def add_image(self, image: InspectionImage, *, ahead: bool = False) -> None:
        """Remember an image and make it the current one; the oldest ones that nothing shows are forgotten.

        ahead: only remember it, before anything is asked with it.
        """
        with self.guard:
            self.images[image.image_id] = image
            if not ahead:
                self.seen.setdefault(image.image_id, image.name)
                self.current_image_id = image.image_id
            self.used_at[image.image_id] = time.monotonic()
        used = {reply.request.image_id for reply in self.replies()} | {image.image_id}
        while len(self.images) > MAX_IMAGES:
            unused = [i for i in self.images if i not in used]
            good = {*self.good_ids(), image.image_id}  # the next images are compared with them
            others = unused or [i for i in self.images if i not in good]
            self._forget(next(iter(others or self.images)))
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
                    held[image_id] += map_bytes(reply)
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

    # --- sliders ---

    @property
    def shown_knobs(self) -> Knobs:
        """What the sliders show: the selected reply's values, or those that the next reply starts from."""
        reply = self.selected
        if reply is None or not reply.facts:
            return self.knobs
        threshold, alpha, min_area_px = (float(str(reply.facts[f.name])) for f in fields(Knobs))
        return Knobs(threshold, alpha, int(min_area_px))

    @property
    def slider_source(self) -> tuple[str | None, int]:
        """What tells whether the sliders show something else now: whose values, and how often words moved them."""
        return self.selected_reply_id, self.moved_by_words

    def move_knob(self, name: str, value: float) -> None:
        """Remember where the user put a slider; the others may show the selected reply's values, which are not his.

        A large photo's smallest region is larger than a small photo's defects. A reply that runs takes the move, too.
        """
        moved: dict[str, Any] = {name: int(value) if name == "min_area_px" else float(value)}
        self.knobs = replace(self.knobs, **moved)
        if self.busy.locked():
            self.late_knobs |= moved

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
        """Forget everything but the language: another part has another threshold, too."""
        self.close()
        self.exchanges, self.images, self.photo_urls, self.thumb_urls = [], {}, {}, {}
        self.uploads, self.seen, self.used_at, self.in_use = {}, {}, {}, frozenset()
        self.current_image_id = self.selected_reply_id = None
        self.knobs, self.late_knobs = Knobs(), {}
        self.stop = threading.Event()
        self.clearing = False

    def conversation(self, before: Exchange | None = None) -> Conversation:
        """Return the finished turns as engines read them, up to an exchange when one is given."""
        conversation = Conversation(images=dict(self.images))
        for exchange in self.exchanges:
            if exchange is before:
                break
            reply = exchange.reply
            image_id = reply.request.image_id
            if reply.running or reply.errors or reply.refused:
                continue
            conversation = conversation.with_turn(Turn("user", reply.request.instruction, image_id))
            conversation = conversation.with_turn(Turn("assistant", reply.text, image_id, reply.mode, reply.prediction))
        return conversation

    def scale(self, image_id: str | None, newest: str = "") -> Scale | None:
        """Return an image's scale as it was said last; newest: words that are being answered."""
        return scale_of(self.conversation(), Request(newest, image_id))

    def good_ids(self, newest: str = "") -> tuple[str, ...]:
        """Return the images that the conversation calls good; newest: words about the current image, to be answered."""
        good = good_images(self.conversation(), Request(newest, self.current_image_id))
        return tuple(example.image_id for example in good)

    def bound_memory(self) -> None:
        """Drop the oldest probability maps beyond the session's share of memory; their pictures stay."""
        total = 0
        with self.guard:
            for reply in reversed(list(self.replies())):
                total += map_bytes(reply)
                if total > MAX_MAP_BYTES:
                    reply.forget_maps()
        self.shelf.make_room()

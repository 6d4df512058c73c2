"""A question's answers as the page keeps them: replies as they grow, side by side where several engines answered."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from agvas_core.structures import EngineCard, Mode, Prediction, Request


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
        refused: True when no engine was asked: no image, a file that could not be read, or the page answers itself.
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
    refused: bool = False
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

    @property
    def moved(self) -> bool:
        """Whether the sliders took the mask away from the one that the words are about."""
        if self.prediction is None or self.answered is None:
            return False
        now, then = self.prediction, self.answered
        return (now.threshold, now.alpha, now.min_area_px) != (then.threshold, then.alpha, then.min_area_px)

    def forget_maps(self) -> None:
        """Give up the maps; the pictures stay, the sliders do not."""
        self.prediction = self.answered = None


@dataclass(eq=False)
class Exchange:
    """A question with its answer.

    Attributes:
        question: the user's words.
        shown_image_ids: the photos that came along with them.
        reply: the answer that the conversation goes on from.
        others: what other engines answered to the same question, shown beside it.
        unread: sentences about the files that came along and could not be read.
    """

    question: str
    shown_image_ids: tuple[str, ...]
    reply: Reply
    others: list[Reply] = field(default_factory=list)
    unread: tuple[str, ...] = ()

    @property
    def replies(self) -> tuple[Reply, ...]:
        """All answers, and their parts."""
        return (*self.reply.parts, *self.others)


def can_ask_other(exchange: Exchange) -> bool:
    """Whether another engine can answer it too: it was asked, is done, and about one image."""
    reply = exchange.reply
    return reply.compared is None and not reply.refused and not any(part.running for part in exchange.replies)


def new_reply(card: EngineCard, request: Request, engine_id: str = "") -> Reply:
    """Return an empty reply with a name that nobody can guess."""
    return Reply(reply_id="r" + secrets.token_hex(8), card=card, request=request, engine_id=engine_id)


def map_bytes(reply: Reply) -> int:
    """Return the memory of a reply's maps: three and their fusion, float32, and another fusion when it was moved."""
    if reply.prediction is None:
        return 0
    height, width = reply.prediction.size_hw
    return (4 if reply.prediction is reply.answered else 5) * height * width * 4

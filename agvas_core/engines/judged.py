"""What a question says of good examples, and those that its image is compared with."""

from __future__ import annotations

from dataclasses import replace

from agvas_core.engines.own_words import FORGOTTEN, NONE_TO_FORGET, no_longer_good, not_compared, noted_good
from agvas_core.good_parts import good_images, read_judgement
from agvas_core.structures import Conversation, EngineCard, InspectionImage, Notice, Request, TextDelta


def only_judges(conversation: Conversation, request: Request) -> bool:
    """Return whether words say something of good examples, and ask for nothing."""
    asked, _, said = judged_by(conversation, request)
    return said is not None and not asked.instruction


def without_comparing(conversation: Conversation, request: Request, card: EngineCard) -> TextDelta | Notice | None:
    """Return what an engine that compares with nothing says of good examples, None where there are none.

    To words that ask for nothing else these are all its words; else it is a notice beside them.
    """
    if only_judges(conversation, request):
        return TextDelta(not_compared(card))
    return Notice(not_compared(card)) if good_images(conversation, request) else None


def judged_by(conversation: Conversation, request: Request) -> tuple[Request, tuple[InspectionImage, ...], str | None]:
    """Return the request without what it says of good examples, these, and a sentence where it says something.

    The request's instruction is "" where its words ask for nothing else. "This is not normal." says something of an
    image that was called good; of another it is a remark, and stays.
    """
    said, good = read_judgement(request.instruction), good_images(conversation, request)
    before = good_images(conversation, replace(request, instruction=""))
    image = conversation.images.get(request.image_id or "")
    if said.judgement is None or (said.judgement != "forget" and image is None):
        return request, good, None
    if said.judgement == "bad" and image not in before:
        return request, good, None
    asked = replace(request, instruction=said.rest)
    if said.judgement == "forget":
        return asked, good, FORGOTTEN if before else NONE_TO_FORGET
    return asked, good, noted_good(len(good)) if said.judgement == "good" else no_longer_good(len(good))

"""What a reply takes from its conversation: how to answer, and which earlier exchanges to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agvas_core.asking import choose_mode, singles_out
from agvas_core.engines import pronouns
from agvas_core.engines.own_words import which_one
from agvas_core.engines.pointing import findings_of
from agvas_core.engines.ruler import NO_OBJECT, noted
from agvas_core.excuses import IT, as_order
from agvas_core.prompts import MAX_INSTRUCTION_CHARS, ChatTurn, sanitize
from agvas_core.scale import Scale, read_scale, scale_of, without_object_size
from agvas_core.spelling import respelled, told
from agvas_core.structures import Conversation, Mode, Prediction, Request, Turn
from agvas_core.wording import join

LIST_SIZES = "List all findings with their sizes."


def read_well(conversation: Conversation, request: Request) -> tuple[Conversation, Request, str | None]:
    """Return both with the user's mistyped words as they were meant, and a sentence where the newest name a kind."""
    turns = tuple(replace(t, text=respelled(t.text)) if t.role == "user" else t for t in conversation.turns)
    words = request.instruction
    return replace(conversation, turns=turns), replace(request, instruction=respelled(words)), told(words)


def mode_of(conversation: Conversation, request: Request) -> Mode:
    """Return the mode to answer in, never "auto": the one that was picked, or by the words."""
    if request.mode != "auto":
        return request.mode
    shown = shown_before(conversation.turns, request.image_id) is not None
    return choose_mode(request.instruction, request.image_id in conversation.images, shown)


def shown_before(turns: Sequence[Turn], image_id: str | None) -> Prediction | None:
    """Return the newest mask of an image that earlier replies have shown, or None."""
    return next((t.prediction for t in reversed(turns) if t.prediction is not None and t.image_id == image_id), None)


def whole_before(turns: Sequence[Turn], image_id: str | None) -> Prediction | None:
    """Return the newest mask of an image that no words narrowed ("only the scratch", "the other one"), or None."""
    oldest = None  # "is it good?" points at nothing before it
    for question, shown in zip(reversed(turns[:-1]), reversed(turns[1:]), strict=True):
        if shown.prediction is not None and shown.image_id == image_id and question.role == "user":
            if shown.prediction.verdict != "other" and not singles_out(question.text):
                if not pronouns.points_back(question.text):
                    return shown.prediction
                oldest = shown.prediction
    return oldest


def spelled_out(conversation: Conversation, request: Request) -> Request:
    """Return the request with what "it" or "the other one" means in its words, where a mask was shown before."""
    turns, image_id = conversation.turns, request.image_id
    seen = whole_before(turns, image_id) or shown_before(turns, image_id)
    if seen is None:
        return request
    return replace(request, instruction=pronouns.spelled_out(request.instruction, turns, image_id, seen))


def excused(conversation: Conversation, request: Request) -> tuple[Request, str | None]:
    """Return the request with what its words excuse as an order ("region 2 is fine": "ignore region 2").

    And a question back, where "that is no defect" may be said of several findings.
    """
    order, turns, image_id = as_order(request.instruction), conversation.turns, request.image_id
    seen = shown_before(turns, image_id)
    if order is None or seen is None:
        return request, None
    asked = replace(request, instruction=order)
    if order != IT:
        return asked, None
    asked, findings = spelled_out(conversation, asked), findings_of(seen)
    if asked.instruction != IT or not findings:
        return asked, None
    if len(findings) > 1:
        return asked, which_one(len(findings))
    numbers = join([str(n) for n in sorted(findings[0].numbers)])
    return replace(asked, instruction=f"ignore regions {numbers}"), None


def measured_by(conversation: Conversation, request: Request) -> tuple[Request, Scale | None, str | None]:
    """Return the request without what it says of its image's scale, that scale or an earlier one, and a word of it.

    Of a scale alone, said after a mask was shown, what is left asks for the mask's sizes.
    """
    image = conversation.images.get(request.image_id or "")
    if image is None:
        return request, None, None
    scale, rest = read_scale(request.instruction, image)
    said = None if scale is None else noted(scale, image)
    if scale is None:
        scale, left = scale_of(conversation, request), without_object_size(request.instruction)
        if left is None:
            return request, scale, None
        rest, said = left, NO_OBJECT
    if not rest and shown_before(conversation.turns, image.image_id) is not None and request.mode in ("auto", "chat"):
        rest = LIST_SIZES
    return replace(request, instruction=rest), scale, said


def recent_exchanges(turns: Sequence[Turn], image_id: str, count: int) -> list[ChatTurn]:
    """Return the newest whole exchanges about an image, at most count, as plain words that can spell no anchors."""
    own = [t for t in turns if t.image_id == image_id and t.text.strip()]
    pairs = [(q, a) for q, a in zip(own, own[1:], strict=False) if (q.role, a.role) == ("user", "assistant")]
    return [ChatTurn(t.role, sanitize(t.text)) for pair in pairs[-count:] for t in pair]


def too_many_characters(question: str) -> str | None:
    """Return a sentence for the user when his words are more than an engine reads, else None."""
    length = len(question.strip())
    if length <= MAX_INSTRUCTION_CHARS:
        return None
    return (
        f"With what the mode adds, your question has {length:,} characters, and at most {MAX_INSTRUCTION_CHARS:,} are "
        "read, so nothing was answered. Your words are kept: shorten them with Edit, or ask in several questions."
    )

"""Any engine with the hybrid prompts as rules on its masks: "agvas-nano:rules"."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from agvas_core.asking import wants_whole_again
from agvas_core.engines.base import Engine
from agvas_core.engines.dialogue import mode_of, read_well, shown_before
from agvas_core.engines.names import RULES
from agvas_core.engines.referring import ALL_SHOWN, NOTHING_LEFT_OUT
from agvas_core.good_parts import SAYING, read_judgement
from agvas_core.prompts import DEFAULT_INSTRUCTIONS
from agvas_core.saa import report
from agvas_core.saa.pipeline import SaliencyOf
from agvas_core.saa.prompts import HybridPrompts, prompts_for
from agvas_core.saa.rules import apply_rules
from agvas_core.saa.sentence import has_length, read_sentence, without_questions
from agvas_core.scale import read_scale, scale_of
from agvas_core.structures import (
    Conversation,
    Done,
    EngineCard,
    Event,
    InspectionImage,
    JudgedCandidate,
    MaskReady,
    Notice,
    Request,
    TextDelta,
)

WORDS_BEFORE = "The words are about the mask before the rules."
MOST_TOLD = 5  # dropped regions whose reason is told


class RuledEngine:
    """Answers as the inner engine does; regions of its masks that the user's rules forbid are taken out and told."""

    def __init__(self, inner: Engine, saliency_of: SaliencyOf | None = None) -> None:
        self.inner, self.saliency_of = inner, saliency_of
        self._card = replace(
            inner.card,
            name=f"{inner.card.name} + rules",
            engine_id=inner.card.engine_id + RULES,
            description=f"{inner.card.description} Rules on size, number and place, from your sentence, apply.",
        )

    @property
    def card(self) -> EngineCard:
        """Who answers."""
        return self._card

    def prepare(self, image: InspectionImage) -> None:
        """Encode an image ahead of its first question."""
        self.inner.prepare(image)

    def respond(
        self, conversation: Conversation, request: Request, *, stop: threading.Event | None = None
    ) -> Iterator[Event]:
        """Yield the inner engine's events with ruled masks, and what the rules did before the end.

        In auto mode a sentence that sets rules gets a mask, whatever its other words call for.
        """
        conversation, request, read_as = read_well(conversation, request)
        if read_as:
            yield Notice(read_as)
        prompts = rules_of(conversation, request, request.instruction)
        image = conversation.images.get(request.image_id or "")
        mode = mode_of(conversation, request)
        if request.mode == "auto" and mode == "chat" and sets_rules(conversation, request):
            mode = "explain"
            request = replace(request, mode=mode)
        said, dropped, emptied = "", False, False
        seen = shown_before(conversation.turns, request.image_id) if mode == "chat" else None
        told = conversation if seen is None else _of_all(conversation)
        for event in self.inner.respond(told, request, stop=stop):
            if isinstance(event, Notice) and event.text.startswith((ALL_SHOWN, NOTHING_LEFT_OUT)):
                continue  # said of the mask before the rules; what they kept is told below
            if isinstance(event, MaskReady) and image is not None:
                prediction, judgements, _ = apply_rules(image, event.prediction, prompts, self.saliency_of)
                marks = report.marks(judgements, image.size_hw)
                counted = report.count_sentence(judgements)
                said = f"Rules: {counted}{_reasons(marks)} In force: {'; '.join(report.limits(prompts))}."
                said += f" {report.way_back(prompts)}".rstrip()
                dropped = len(prediction.regions) != len(event.prediction.regions)
                emptied = dropped and not prediction.regions
                event = MaskReady(replace(prediction, candidates=marks))
            elif dropped and isinstance(event, TextDelta) and mode == "direct":
                continue  # it counts what was marked before the rules; they say what is left
            elif isinstance(event, Done) and said:
                if emptied:
                    yield TextDelta(report.ALL_DROPPED) if mode == "direct" else Notice(report.ALL_DROPPED)
                yield Notice(f"{said} {WORDS_BEFORE}" if dropped and mode != "direct" else said)
                if names_length(conversation, request):
                    yield Notice(report.NO_AREA)
            elif isinstance(event, Done) and report.way_back(prompts) and image is not None:  # words without a mask
                before = f"{WORDS_BEFORE} " if seen is None or seen.verdict == "other" else ""
                yield Notice(f"{before}In force: {'; '.join(report.limits(prompts))}. {report.WAY_BACK}")
            yield event


def _of_all(conversation: Conversation) -> Conversation:
    """Return a talk in which all that a mask shows was asked for.

    What the rules left of it is all that there is, while they are in force; to the inner engine it is a part, and it
    would answer "how many?" from the whole.
    """
    turns = list(conversation.turns)
    for n, (question, shown) in enumerate(pairwise(conversation.turns)):
        if question.role == "user" and shown.prediction is not None:
            judgement = read_judgement(question.text).judgement  # of good examples; that stays in force
            saying = f"{SAYING[judgement]} " if judgement else ""
            turns[n] = replace(question, text=f"{saying}{DEFAULT_INSTRUCTIONS['direct']}")
    return replace(conversation, turns=tuple(turns))


def rules_of(conversation: Conversation, request: Request, *newest: str) -> HybridPrompts:
    """Return the rules that the user's sentences about the image have set so far, and then the newest ones."""
    prompts, sizes = prompts_for(), image_sizes(conversation, request)
    said = [turn.text for turn in conversation.turns if turn.role == "user" and turn.image_id == request.image_id]
    for sentence in (read_judgement(words).rest for words in (*said, *newest)):
        if wants_whole_again(sentence):
            prompts = prompts_for()
            continue
        prompts = read_sentence(without_questions(sentence), prompts, *sizes)
    return prompts


def image_sizes(conversation: Conversation, request: Request) -> tuple[tuple[int, int] | None, float | None]:
    """Return height and width of a request's image, px, and the millimeters of a px, None where they are not known."""
    image, scale = conversation.images.get(request.image_id or ""), scale_of(conversation, request)
    return None if image is None else image.size_hw, None if scale is None else scale.mm_per_px


def names_length(conversation: Conversation, request: Request) -> bool:
    """Return whether the newest sentence names a size that sets no rule, beside the scale that it may say."""
    image = conversation.images.get(request.image_id or "")
    said = request.instruction if image is None else read_scale(request.instruction, image)[1]
    return has_length(said, *image_sizes(conversation, request))


def sets_rules(conversation: Conversation, request: Request) -> bool:
    """Return whether a sentence that is no question sets size, number or place, or words to ignore."""
    before = rules_of(conversation, request)
    after = rules_of(conversation, request, request.instruction)
    return regions_rules(before) != regions_rules(after)


def regions_rules(prompts: HybridPrompts) -> tuple[object, ...]:
    """Return the rules on regions, whatever is looked for."""
    return prompts.property, prompts.confidence, prompts.language.excluded


def _reasons(marks: Sequence[JudgedCandidate]) -> str:
    """Return why regions were dropped, by their letters in the picture."""
    why = [f"{mark.label} ({mark.name or 'defect'}) {mark.why}" for mark in marks if not mark.kept][:MOST_TOLD]
    return f" {'; '.join(why)}." if why else ""

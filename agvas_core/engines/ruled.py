"""Any engine with the hybrid prompts as rules on its masks: "agvas-nano:rules"."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

from agvas_core.engines.base import Engine
from agvas_core.saa import report
from agvas_core.saa.pipeline import SaliencyOf
from agvas_core.saa.prompts import HybridPrompts, prompts_for
from agvas_core.saa.rules import apply_rules
from agvas_core.saa.sentence import read_sentence
from agvas_core.structures import Conversation, Done, EngineCard, Event, InspectionImage, MaskReady, Notice, Request

RULES = ":rules"  # behind an engine's name


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
        """Yield the inner engine's events with ruled masks, and what the rules did before the end."""
        prompts = rules_of(conversation, request)
        image = conversation.images.get(request.image_id or "")
        said = ""
        for event in self.inner.respond(conversation, request, stop=stop):
            if isinstance(event, MaskReady) and image is not None:
                prediction, judgements, _ = apply_rules(image, event.prediction, prompts, self.saliency_of)
                why = [f"{j.candidate.phrase}: {j.why}" for j in judgements if not j.kept][:5]
                said = f"Rules: {report.count_sentence(judgements)}" + (f" ({'; '.join(why)})" if why else "")
                event = MaskReady(prediction)
            elif isinstance(event, Done) and said:
                yield Notice(said)
            yield event


def rules_of(conversation: Conversation, request: Request) -> HybridPrompts:
    """Return the rules that the user's sentences about the image have set so far."""
    prompts = prompts_for()
    for turn in conversation.turns:
        if turn.role == "user" and turn.image_id == request.image_id:
            prompts = read_sentence(turn.text, prompts)
    return read_sentence(request.instruction, prompts)

"""Lazily kept answers: an example is computed for the first visitor who clicks it, and then shown again."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from agvas_core.engines.base import Engine
from agvas_core.good_parts import good_images
from agvas_core.structures import Conversation, Done, EngineCard, Event, InspectionImage, Notice, Request
from demo.gallery import Example

KEPT = "This example was computed for an earlier visitor; you see that answer. Change a word to have it computed anew."


class KeepingEngine:
    """An engine that computes the examples once, to spare a public page's machine."""

    def __init__(self, engine: Engine, examples: Sequence[Example]) -> None:
        self._engine, self._examples = engine, tuple(examples)
        self._lock = threading.Lock()
        self._answers: dict[Request, tuple[Event, ...]] | None = None  # of each example; empty until it was asked

    @property
    def card(self) -> EngineCard:
        """Who answers."""
        return self._engine.card

    def prepare(self, image: InspectionImage) -> None:
        """Encode an image ahead of its first question."""
        self._engine.prepare(image)

    def respond(
        self, conversation: Conversation, request: Request, *, stop: threading.Event | None = None
    ) -> Iterator[Event]:
        """Yield the events of one reply; see engines.base."""
        answers = self._known()
        talked_of = any(turn.image_id == request.image_id for turn in conversation.turns)
        if request not in answers or talked_of or good_images(conversation, request):
            yield from self._engine.respond(conversation, request, stop=stop)
        elif answers[request]:
            yield Notice(KEPT)
            yield from answers[request]
        else:
            events: list[Event] = []
            for event in self._engine.respond(conversation, request, stop=stop):
                events.append(event)
                yield event
            if events and isinstance(events[-1], Done) and not events[-1].stopped:
                answers[request] = tuple(events)

    def _known(self) -> dict[Request, tuple[Event, ...]]:
        """Return the examples as the page asks them, with their answers; nothing else is ever kept."""
        with self._lock:
            if self._answers is None:
                import agvas_core

                ids = [agvas_core.open_image(str(example.path)).image_id for example in self._examples]
                self._answers = {
                    Request(e.instruction, image_id, e.mode, e.normal_description): ()
                    for e, image_id in zip(self._examples, ids, strict=True)
                }
            return self._answers

"""The one interface for everything that answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from agvas_core.structures import Conversation, EngineCard, Event, InspectionImage, Request


@runtime_checkable
class Engine(Protocol):
    """Answers a conversation with a stream of events; the page, the CLI and the API have no other way in."""

    @property
    def card(self) -> EngineCard:
        """Who answers."""

    def prepare(self, image: InspectionImage) -> None:
        """Encode an image ahead of the first question about it, so that the answer comes sooner."""

    def respond(
        self, conversation: Conversation, request: Request, *, stop: threading.Event | None = None
    ) -> Iterator[Event]:
        """Yield Stage, MaskReady, TextDelta and Notice events, then exactly one Done.

        Setting `stop` ends the reply within two tokens; Done then has stopped=True.
        """

"""ZeroGPU, a kind of Hugging Face Space: each reply is computed in a forked process to which a GPU is lent for it.

What that asks for: `spaces` is imported before torch; weights are on "cuda" before the page is launched, put there by
the main thread (`spaces` stands in for CUDA in that thread only); what crosses to the process and back can be pickled
and lies in main memory; what the process keeps may be gone at the next reply.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from agvas_core.engines.base import Engine
from agvas_core.good_parts import good_images
from agvas_core.structures import Conversation, Done, EngineCard, Event, InspectionImage, Request
from agvas_core.wire import parcel

AT_ONCE = 4  # replies that may run or wait for a GPU at the same time
# Seconds to ask for: a reply that takes longer is cut off, one that asks for less waits less. To be measured.
BEGIN_S, SECONDS_A_GB, MASK_S, EXAMPLE_S, SECONDS_A_TOKEN, CLOSE_FACTOR = 5.0, 1.0, 3.0, 1.0, 0.15, 2.0

Lend = Callable[..., Any]  # spaces.GPU


@dataclass(frozen=True)
class _Failure:
    """What went wrong in the process; an exception would arrive as the name of its class only."""

    sentence: str


def lender() -> Lend | None:
    """Return spaces.GPU on ZeroGPU, None everywhere else; to be called before anything imports torch."""
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "t", "true"):
        return None
    # transformers reads weights in threads, where `spaces` does not stand in for CUDA: they would not load
    os.environ.setdefault("HF_DEACTIVATE_ASYNC_LOAD", "1")
    try:
        import spaces
    except ImportError:
        return None
    return spaces.GPU


class LentEngine:
    """An engine whose replies are computed where a GPU is lent."""

    def __init__(self, engine: Engine, lend: Lend) -> None:
        """Take an engine whose weights are on "cuda" already, and spaces.GPU."""
        self._engine = engine

        def reply(conversation: Conversation, request: Request) -> Iterator[Event | _Failure]:
            try:
                yield from engine.respond(conversation, request)
            except Exception as error:
                yield _Failure(str(error) or type(error).__name__)

        def duration(conversation: Conversation, request: Request) -> int:
            return seconds_needed(engine.card, request, len(good_images(conversation, request)))

        self._reply = lend(duration=duration)(reply)

    @property
    def card(self) -> EngineCard:
        """Who answers."""
        return self._engine.card

    def prepare(self, image: InspectionImage) -> None:
        """Do nothing: encoding ahead would cost GPU time, and what it found may be gone with the process."""

    def respond(
        self, conversation: Conversation, request: Request, *, stop: threading.Event | None = None
    ) -> Iterator[Event]:
        """Yield the events of one reply; see engines.base. RuntimeError with a sentence when no GPU was to be had."""
        stop = stop or threading.Event()
        events: Generator[Event | _Failure, None, None] = self._reply(parcel(conversation, request), request)
        try:
            for event in events:
                if isinstance(event, _Failure):
                    raise RuntimeError(event.sentence)
                if stop.is_set() and not isinstance(event, Done):
                    yield Done(_mode(conversation, request), {}, stopped=True)
                    return
                yield event
        except Exception as error:
            said = getattr(error, "message", None)  # gradio's errors print it in quotes
            if said:
                raise RuntimeError(str(said)) from error
            raise
        finally:
            events.close()  # tells the process to stop, too


def seconds_needed(card: EngineCard, request: Request, good: int = 0) -> int:
    """Return how long a GPU is asked for: to bring the weights there, for a mask, for words where wanted.

    good: examples that the image is compared with; what the process knows of them may be gone.
    """
    seconds = BEGIN_S + SECONDS_A_GB * card.memory_mb / 1e3
    look = MASK_S * (CLOSE_FACTOR if request.close else 1.0)
    words = 0.0 if request.mode == "direct" else SECONDS_A_TOKEN * request.max_new_tokens
    return round(seconds + look + EXAMPLE_S * good + words)


def _mode(conversation: Conversation, request: Request) -> Any:
    from agvas_core.engines.dialogue import mode_of

    return mode_of(conversation, request)

"""A reply that broke off and was begun again elsewhere: what the user has seen already does not come twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agvas_core.structures import Event, MaskReady, Notice, Prediction, TextDelta

BEGUN_AGAIN = (
    "The machine that answered broke off. Another one began the reply again, and its words differ: they follow below."
)


class Shown:
    """What one reply has shown, over all its beginnings."""

    def __init__(self) -> None:
        self._text = ""
        self._masks: list[Prediction] = []
        self._notices: list[str] = []
        self.begin()

    def begin(self) -> None:
        """Say that the reply begins, for the first time or again."""
        self._now = ""
        self._masks_now = self._notices_now = 0

    def fresh(self, event: Event) -> Iterator[Event]:
        """Yield of an event what was not shown before: it whole, its last words, or nothing."""
        if isinstance(event, TextDelta):
            yield from self._words(event.text)
        elif isinstance(event, MaskReady):
            self._masks_now += 1
            n = self._masks_now - 1
            if n < len(self._masks) and _same(self._masks[n], event.prediction):
                return
            self._masks[n:] = [event.prediction]
            yield event
        elif isinstance(event, Notice):
            self._notices_now += 1
            if event.text not in self._notices[self._notices_now - 1 :]:
                self._notices.append(event.text)
                yield event
        else:
            yield event

    def _words(self, text: str) -> Iterator[Event]:
        self._now += text
        if self._text.startswith(self._now):
            return
        if self._now.startswith(self._text):
            new = self._now[len(self._text) :]
        else:  # another processor may round otherwise, and then say otherwise
            yield Notice(BEGUN_AGAIN)
            new = f"\n\n{self._now}"
        self._text = self._now
        yield TextDelta(new)


def _same(one: Prediction, other: Prediction) -> bool:
    return one.image_id == other.image_id and np.array_equal(one.pred_mask, other.pred_mask)

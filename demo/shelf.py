"""What all visitors' pages hold together, within one bound: what was longest unused is let go, and its owner told."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Protocol
from weakref import WeakSet

MAX_SHELF_BYTES = 2 * 2**30  # of photos and probability maps, over all visitors


class Holder(Protocol):
    """Who holds images: a visitor's session.

    Attributes:
        used_at: when each image was last needed, by its id; time.monotonic().
    """

    used_at: dict[str, float]

    def held_bytes(self) -> Mapping[str, int]:
        """Return how much each image holds in memory, by its id, with the maps about it."""
        ...

    def let_go(self, image_id: str) -> bool:
        """Forget an image and its maps; False when it is needed now."""
        ...


class Shelf:
    """Knows how much each holder holds, never what; holders are forgotten with their visitors."""

    def __init__(self, max_bytes: int = MAX_SHELF_BYTES) -> None:
        self.max_bytes = max_bytes
        self._holders: WeakSet[Holder] = WeakSet()
        self._lock = threading.Lock()

    def join(self, holder: Holder) -> None:
        """Count a holder from now on."""
        with self._lock:
            self._holders.add(holder)

    def make_room(self) -> None:
        """Let go of the images that were longest unused, with their maps, until the rest is within the bound."""
        with self._lock:
            held = [
                (holder.used_at.get(image_id, 0.0), size, image_id, holder)
                for holder in list(self._holders)
                for image_id, size in holder.held_bytes().items()
            ]
            total = sum(size for _, size, _, _ in held)
            for _, size, image_id, holder in sorted(held, key=lambda item: item[0]):
                if total <= self.max_bytes:
                    return
                if holder.let_go(image_id):
                    total -= size

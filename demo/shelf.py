"""What all visitors' pages hold together, within one bound: what was longest unused is let go, and its owner told."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from demo.session import Session

MAX_SHELF_BYTES = 2 * 2**30  # of photos and probability maps, over all visitors


class Shelf:
    """Knows how much each session holds, never what; sessions are forgotten with their visitors."""

    def __init__(self, max_bytes: int = MAX_SHELF_BYTES) -> None:
        self.max_bytes = max_bytes
        self._sessions: WeakSet[Session] = WeakSet()
        self._lock = threading.Lock()

    def join(self, session: Session) -> None:
        """Count a session from now on."""
        with self._lock:
            self._sessions.add(session)

    def make_room(self) -> None:
        """Let go of the images that were longest unused, with their maps, until the rest is within the bound."""
        with self._lock:
            held = [
                (session.used_at.get(image_id, 0.0), size, image_id, session)
                for session in list(self._sessions)
                for image_id, size in session.held_bytes().items()
            ]
            total = sum(size for _, size, _, _ in held)
            for _, size, image_id, session in sorted(held, key=lambda item: item[0]):
                if total <= self.max_bytes:
                    return
                if session.let_go(image_id):
                    total -= size

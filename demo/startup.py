"""How long the page takes to open, by part: printed when it is up, and again when its model is there."""

from __future__ import annotations

import time


class StartUp:
    """Seconds by part since it was made; each part ends where the next one begins."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begun = self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """End a part."""
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now

    def report(self, what: str) -> str:
        """Return one line: the parts since the last report, and the seconds since the start."""
        parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.seconds.items())
        self.seconds = {}
        return f"Start-up: {parts}; {what} after {self._last - self._begun:.2f} s."

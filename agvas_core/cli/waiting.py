"""What a terminal shows while a reply takes long: the stage and its seconds, gone when the words come."""

from __future__ import annotations

import sys
import threading
from time import monotonic
from types import TracebackType
from typing import TextIO

from agvas_core.structures import Event, Notice, Stage, TextDelta

PATIENCE_S, TICK_S = 3.0, 1.0


class Waiting:
    """Shows the stage of a reply on a terminal's standard error, once nothing was said for PATIENCE_S.

    Where standard error is a file or a pipe, nothing is written.
    """

    def __init__(self, stream: TextIO | None = None, patience_s: float = PATIENCE_S, tick_s: float = TICK_S) -> None:
        """Wait on a stream (standard error): so long until something is shown, and so long between two updates."""
        self._stream = stream or sys.stderr
        self._patience_s, self._tick_s = patience_s, tick_s
        self._begun = monotonic()
        self._stage, self._shown = "", ""
        self._lock, self._over = threading.Lock(), threading.Event()
        self._clock = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Waiting:
        """Begin."""
        if self._stream.isatty():
            self._clock.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End, and leave the line empty."""
        self._end()

    def see(self, event: Event) -> None:
        """Take note of an event, before it is shown."""
        if isinstance(event, Stage):
            self._stage = event.name
        elif isinstance(event, TextDelta):
            self._end()
        elif isinstance(event, Notice):
            self._write("")

    def _run(self) -> None:
        while not self._over.wait(self._tick_s):
            seconds = monotonic() - self._begun
            if self._stage and seconds >= self._patience_s:
                self._write(f"{self._stage} ... {seconds:.0f} s")

    def _end(self) -> None:
        self._over.set()
        self._write("")

    def _write(self, line: str) -> None:
        with self._lock:
            if line and self._over.is_set():
                return
            if line != self._shown:
                self._stream.write(f"\r{line.ljust(len(self._shown))}" + ("" if line else "\r"))
                self._stream.flush()
                self._shown = line

"""The one desk where all visitors' questions wait for an engine: loads engines lazily, lets one reply run at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

from agvas_core.engines.base import Engine
from agvas_core.structures import InspectionImage

log = logging.getLogger(__name__)

POLL_S = 0.1


class EngineDesk:
    """Engines by name, loaded at first use, and the queue in front of them."""

    def __init__(
        self,
        engine_ids: Sequence[str],
        load: Callable[[str], Engine],
        *,
        default: str | None = None,
        at_once: int = 1,
    ) -> None:
        """Nothing is loaded here; `load` is called once per engine, at its first use.

        at_once: replies that may run at the same time; more than one only where each has a device of its own.
        """
        assert engine_ids
        self.engine_ids = tuple(engine_ids)
        self.default = default if default in self.engine_ids else self.engine_ids[0]
        self._load = load
        self._engines: dict[str, Engine] = {}
        self._coming: dict[str, Future[Engine]] = {}
        self._loading = threading.Lock()
        self._running = threading.BoundedSemaphore(at_once)
        self._count = threading.Lock()
        self._waiting = 0
        self.preparing = False  # whether the turn is held by a photo that is encoded ahead of its question

    def get(self, engine_id: str | None = None) -> Engine:
        """Return the engine, loading it if needed; raises what its loader raises."""
        engine_id = engine_id if engine_id in self.engine_ids else self.default
        if engine_id in self._engines:  # who asks a loaded engine does not wait while another one loads
            return self._engines[engine_id]
        with self._loading:
            if engine_id not in self._engines:
                self._engines[engine_id] = self._load(engine_id)
            return self._engines[engine_id]

    def load(self, engine_id: str | None = None) -> Future[Engine]:
        """Begin to load the engine in the background, unless that goes on already; a failure is tried anew."""
        engine_id = engine_id if engine_id in self.engine_ids else self.default
        with self._count:
            coming = self._coming.get(engine_id)
            if coming is None or (coming.done() and coming.exception() is not None):
                coming = self._coming[engine_id] = Future()
                threading.Thread(target=self._fulfil, args=(engine_id, coming), name="agvas-load", daemon=True).start()
        return coming

    def _fulfil(self, engine_id: str, coming: Future[Engine]) -> None:
        try:
            engine = self.get(engine_id)
        except Exception as error:
            coming.set_exception(error)
        else:
            coming.set_result(engine)

    def loaded(self, engine_id: str | None = None) -> Engine | None:
        """Return the engine if it is loaded already."""
        return self._engines.get(engine_id or self.default)

    def prepare(self, engine_id: str | None, image: InspectionImage) -> None:
        """Encode an image ahead of its first question, in the background and behind running replies."""

        def encode() -> None:
            try:
                engine = self.get(engine_id)
                while self._waiting or not self._running.acquire(timeout=POLL_S):
                    time.sleep(POLL_S)  # questions go first
                self.preparing = True
                try:
                    engine.prepare(image)
                finally:
                    self.preparing = False
                    self._running.release()
            except Exception:  # the reply itself will tell the user
                log.exception("encoding ahead failed")

        threading.Thread(target=encode, name="agvas-prepare", daemon=True).start()

    def wait(self, stop: threading.Event) -> Iterator[int]:
        """Wait for one's turn: yield how many are ahead, at last 0 for the turn itself; end without it when stopped."""
        with self._count:
            self._waiting += 1
        try:
            while not self._running.acquire(timeout=POLL_S):
                if stop.is_set():
                    return
                yield max(1, self._waiting - 1)
        finally:
            with self._count:
                self._waiting -= 1
        yield 0

    def leave(self) -> None:
        """Give the turn to the next one."""
        self._running.release()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the turn, for callers without a page (the REST endpoint)."""
        with self._running:
            yield

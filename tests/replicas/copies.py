"""Copies of an engine, each in a process of its own behind a plain server."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.process import BaseProcess

from agvas_core.replicas.replica import Replica, asgi
from agvas_core.structures import Done, Stage, TextDelta
from tests.fakes import FakeEngine

_PROCESSES = multiprocessing.get_context("forkserver")  # torch is imported once, in the process that is forked
_PROCESSES.set_forkserver_preload(["agvas_core.replicas.replica", "tests.replicas.copies", "uvicorn"])


def start_copy(port: int, pause_s: float = 0.008) -> BaseProcess:
    """Start a copy of the fake engine."""
    process = _PROCESSES.Process(target=serve, args=(port, pause_s), daemon=True)
    process.start()
    return process


class CountingEngine(FakeEngine):
    """The fake engine; "how far?" is answered by how many words its last reply had before it was stopped."""

    said = 0

    def respond(self, conversation, request, *, stop=None):
        """Count the words, or tell how many there were."""
        if request.instruction == "how far?":
            yield TextDelta(str(self.said))
            yield Done("chat", {})
            return
        if request.instruction == "wait":
            yield Stage("waiting", 0.0)
            while not stop.wait(0.01):
                time.sleep(0.0)
            return
        self.said = 0
        for event in super().respond(conversation, request, stop=stop):
            self.said += isinstance(event, TextDelta)
            yield event


def serve(port: int, pause_s: float) -> None:
    """Serve until killed."""
    import uvicorn

    app = asgi(Replica(CountingEngine(pause_s=pause_s), f"copy {port}"))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")

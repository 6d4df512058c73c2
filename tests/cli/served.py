"""Run a folder's app.py as a stranger's machine would, and wait until its page answers."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 240


@dataclass(frozen=True)
class Served:
    """A page that answers."""

    url: str
    log: Path


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def serving(command: Sequence[str], folder: Path, log: Path, port: int, **environment: str) -> Iterator[Served]:
    """Run a command in a folder with little of this process's environment; yield when the page answers.

    Raises:
        RuntimeError: when the process ends or does not answer in time; the message has what it printed.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "OMP_NUM_THREADS") if name in os.environ}
    own = {"HOME": str(log.parent), "GRADIO_TEMP_DIR": str(log.parent / "gradio"), "HF_HUB_OFFLINE": "1"}
    url = f"http://127.0.0.1:{port}/"
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=folder, env={**kept, **own, **environment}, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        end = time.monotonic() + LIMIT_S
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the page did not answer; {command} printed:\n{log.read_text()}")
            time.sleep(0.2)
        yield Served(url, log)
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as page:
            return b"gradio" in page.read().lower()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False

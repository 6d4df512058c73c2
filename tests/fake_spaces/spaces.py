"""Stands in for the hub's `spaces` package: GPU(duration=...) computes each call in a process forked for it alone.

As there: arguments and results are pickled, the call begins with what the parent had loaded, nothing that the process
keeps survives it, an exception arrives as the name of its class, and closing the generator stops the process. Other
than there, the process may not run twice, so that whoever relies on its memory is found out; and there is no GPU.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any

if os.environ.get("FAKE_SPACES_FIRST"):
    assert "torch" not in sys.modules, "spaces must be imported before torch"

_fork = multiprocessing.get_context("fork")
durations: list[float] = []  # asked for, one a call


class Error(Exception):
    """As gradio's: the sentence is in `message`, and str() puts it in quotes."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return repr(self.message)


def GPU(*, duration: Callable[..., float]) -> Callable[[Callable[..., Iterator[Any]]], Callable[..., Iterator[Any]]]:  # noqa: N802
    """Decorate a generator function."""

    def decorate(task: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def call(*args: Any) -> Iterator[Any]:
            durations.append(duration(*args))
            print(f"A GPU is lent for {durations[-1]} s.", flush=True)
            if os.environ.get("FAKE_SPACES_FULL"):
                raise Error("You have exceeded your GPU quota.")
            ours, theirs = _fork.Pipe()
            process = _fork.Process(target=_work, args=(task, pickle.dumps(args), theirs), daemon=True)
            process.start()
            theirs.close()
            try:
                while True:
                    kind, value = pickle.loads(ours.recv_bytes())
                    if kind == "end":
                        return
                    if kind == "error":
                        raise Error(value)
                    yield value
            except EOFError:
                raise Error("GPU task aborted") from None
            finally:
                ours.close()
                process.join(30)

        return call

    return decorate


def _work(task: Callable[..., Iterator[Any]], parcel: bytes, pipe: Any) -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # it would wait for the parent's OpenMP threads for ever
    try:
        for value in task(*pickle.loads(parcel)):
            pipe.send_bytes(pickle.dumps(("value", value)))
        pipe.send_bytes(pickle.dumps(("end", None)))
    except BrokenPipeError:  # the visitor left
        pass
    except Exception as error:
        pipe.send_bytes(pickle.dumps(("error", type(error).__name__)))

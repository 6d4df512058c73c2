"""`agvas serve`, and the options by which other commands ask copies of an engine: --replicas and --serve."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Annotated

import typer

from agvas_core.cli.question import DEFAULT_ENGINE, EngineOption

LOCAL_AT_ONCE, REMOTE_AT_ONCE = 2, 8  # images on their way: for each copy of our own, for copies elsewhere
ReplicasOption = Annotated[
    str | None,
    typer.Option("--replicas", help="So many copies of the engine answer: 2, or 1-4 by need (the extra: replicas)."),
]
ServeOption = Annotated[
    str | None,
    typer.Option("--serve", help="Instead of --engine, one that `agvas serve` runs: http://HOST:PORT[,http://...]."),
]


def serve(
    engine: EngineOption = DEFAULT_ENGINE,
    replicas: Annotated[str, typer.Option(help="Copies of the engine: 2, or 1-4 by need.")] = "2",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for a free one.", min=0)] = 8000,
    threads: Annotated[int, typer.Option(help="Processor threads of each copy.", min=1)] = 1,
    gpus: Annotated[float, typer.Option(help="GPUs of each copy: 1, 0.5 for two on one, 0 for none.", min=0.0)] = 0.0,
) -> None:
    """Run copies of an engine behind Ray Serve, for --serve of the other commands."""
    from agvas_core.replicas.serving import local_replicas

    with local_replicas(engine, replicas, host=host, port=port, threads=threads, gpus=gpus) as at, _ended_by_sigterm():
        typer.echo(f"{engine} answers at {at}; `agvas demo --serve {at}` opens the page. Ctrl-C ends it.")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


@contextlib.contextmanager
def replicated(engine: str, replicas: str | None, address: str | None) -> Iterator[str]:
    """Yield the name of the engine to ask: its own, that of copies started for as long as this lasts, or an address.

    Raises:
        ValueError: when --replicas and --serve are both given, or the latter is no address.
    """
    from agvas_core.engines.remote import is_address

    if address is not None:
        if replicas is not None:
            raise ValueError("--replicas starts copies, --serve asks those that run already: give one of them.")
        if not is_address(address):
            raise ValueError(f"--serve takes an address like http://127.0.0.1:8000; got {address!r}.")
        yield address
    elif replicas is not None:
        from agvas_core.replicas.serving import local_replicas

        with local_replicas(engine, replicas) as at, _ended_by_sigterm():
            yield at
    else:
        yield engine


def images_at_once(replicas: str | None, address: str | None) -> int:
    """Return how many images are asked about at the same time; an engine in this process takes one."""
    if replicas is not None:
        return LOCAL_AT_ONCE * int(replicas.rpartition("-")[2])
    return REMOTE_AT_ONCE if address is not None else 1


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the copies in order, as Ctrl-C does; to be entered once Ray runs, whose own handler aborts."""

    def leave(*_: object) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

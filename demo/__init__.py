"""The chat page. Importing it loads no engine and no gradio."""

from __future__ import annotations

import errno
import functools
import os
import socket
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agvas_core.engines.base import Engine
    from demo.desk import EngineDesk
    from demo.lent_gpu import Lend
    from demo.startup import StartUp

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported anywhere

MAX_UPLOAD = "64mb"
MAX_WAITING = 64
CACHE_CHECK_S, CACHE_AGE_S = 3600, 86400  # a shorter age would take the pictures out of running chats


def serve(
    engine: str,
    *,
    host: str | None = None,
    port: int | None = None,
    explainer: str | None = None,
    load_first: bool = False,
    keep_examples: bool = False,
) -> None:
    """Serve the page with an engine by its name, or a checkpoint by its folder; ValueError when it is neither.

    The page opens first, and the engine is loaded behind it; on ZeroGPU all engines are loaded first, as it asks.

    Args:
        engine: who answers; the bundled engines can be chosen, too.
        host: address to listen on.
        port: port to listen on.
        explainer: hub name or folder of an image-text-to-text model that speaks, while the engine sees.
        load_first: load the engine before the page opens.
        keep_examples: answer each example once, and show that answer to later visitors.
    """
    from demo import lent_gpu
    from demo.startup import StartUp

    startup = StartUp()
    lend = lent_gpu.lender()
    from agvas_core import list_engines
    from agvas_core.engines.registry import is_engine, list_bundled_engines
    from agvas_core.engines.remote import AT_ONCE, is_address
    from demo.desk import EngineDesk

    elsewhere = is_address(engine)  # its copies take several questions at once, an engine here does not
    names = [] if elsewhere else list(list_bundled_engines())  # visitors choose among these: no click downloads
    if engine not in names and is_engine(engine):
        names.insert(0, engine)
    elif engine not in names:
        known = ", ".join(list_engines())
        raise ValueError(f"There is no engine {engine!r}; choose one of: {known}, or a checkpoint's folder.")
    both = f"{engine} + {explainer}"
    default = both if explainer else engine
    load = _wrapped(_loader(engine, both, explainer), lend, keep_examples)
    desk = EngineDesk(
        [both, *names] if explainer else names,
        load,
        default=default,
        at_once=AT_ONCE if elsewhere and not explainer else lent_gpu.AT_ONCE if lend else 1,
    )
    startup.lap("names")
    if load_first or lend:
        for name in desk.engine_ids if lend else [default]:
            _load(desk, name, startup)
    launch(desk, host=host, port=port, startup=startup)


def _loader(engine: str, both: str, explainer: str | None) -> Callable[[str], Engine]:
    """Return what loads an engine by its name on the page; the one that is explained is also there by itself."""
    from agvas_core import load_engine

    alone = functools.cache(load_engine)  # loaded once, whether it answers alone or with the explainer

    def load(name: str) -> Engine:
        if explainer is None or name != both:
            return alone(name)
        from agvas_core.engines.registry import add_explainer

        return add_explainer(alone(engine), explainer)

    return load


def _wrapped(load: Callable[[str], Engine], lend: Lend | None, keep_examples: bool) -> Callable[[str], Engine]:
    """Return what loads an engine as this page serves it: on a lent GPU, keeping the examples' answers, or as it is."""

    def load_as_served(name: str) -> Engine:
        engine = load(name)
        if lend is not None:
            from demo.lent_gpu import LentEngine

            engine = LentEngine(engine, lend)
        if keep_examples:
            from demo.gallery import read_examples
            from demo.kept_answers import KeepingEngine
            from demo.page import EXAMPLES

            engine = KeepingEngine(engine, read_examples(EXAMPLES))
        return engine

    return load_as_served


def _load(desk: EngineDesk, name: str, startup: StartUp) -> None:
    """Load an engine, and time it in two parts: the code that all of them need, and the engine itself."""
    import_module("agvas_core.engines.agvas")
    startup.lap("imports of the model")
    desk.get(name)
    startup.lap(name)


def launch(
    desk: EngineDesk,
    *,
    host: str | None = None,
    port: int | None = None,
    quiet: bool = False,
    block: bool = True,
    examples_folder: Path | None = None,
    startup: StartUp | None = None,
) -> str:
    """Serve the page and return its URL; nothing is shared to the outside and no statistics are sent.

    With `startup`, how long it took is printed, and the default engine is loaded as soon as the page is up.
    """
    from demo.page import build_page
    from demo.theme import build_theme, css, head

    if startup is not None:
        startup.lap("imports of the page")
    page = build_page(desk, examples_folder)
    page.queue(max_size=MAX_WAITING)
    if startup is not None:
        startup.lap("page")
    _refuse_taken(host, port)
    _, url, _ = page.launch(
        server_name=host,
        server_port=port,
        quiet=True,  # gradio would advise to share the page with the world
        share=False,
        theme=build_theme(),
        css=css(),
        head=head(),
        footer_links=["api"],
        max_file_size=MAX_UPLOAD,
        show_error=True,
        run_history=False,
        ssr_mode=False,
        prevent_thread_lock=True,
    )
    if not quiet:
        print(f"AG-VAS Chat: open {url} in a browser; Ctrl-C ends it.", flush=True)
    if startup is not None:
        _announce(desk, startup)
    if block:
        page.block_thread()
    return url


def _refuse_taken(host: str | None, port: int | None) -> None:
    """Raise OSError with what to do when the port that was asked for is taken."""
    if not port:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host or "127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise OSError(f"Port {port} is taken by another program: choose another one with --port.") from None


def _announce(desk: EngineDesk, startup: StartUp) -> None:
    """Print how long the page took, load the default engine behind it, and print how long that took."""
    startup.lap("listening")
    print(startup.report("the page is up"), flush=True)
    if desk.loaded():
        return

    def load() -> None:
        try:
            _load(desk, desk.default, startup)
        except Exception as error:
            print(f"Start-up: {desk.default} could not be loaded: {error}", flush=True)
        else:
            print(startup.report("questions are answered"), flush=True)

    threading.Thread(target=load, name="agvas-start", daemon=True).start()

"""The chat page. Importing it loads no engine and no gradio."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agvas_core.engines.base import Engine
    from demo.desk import EngineDesk

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported anywhere

MAX_UPLOAD = "64mb"
MAX_WAITING = 64
CACHE_CHECK_S, CACHE_AGE_S = 3600, 86400  # a shorter age would take the pictures out of running chats


def serve(engine: str, *, host: str | None = None, port: int | None = None, explainer: str | None = None) -> None:
    """Serve the page with an engine by its name, or a checkpoint by its folder; ValueError when it is neither.

    With an explainer (hub name or folder of an image-text-to-text model) the engine sees and the explainer speaks.
    """
    from agvas_core import list_engines
    from agvas_core.engines.registry import is_engine, list_bundled_engines
    from demo.desk import EngineDesk

    names = list(list_bundled_engines())  # visitors choose among these: none of them starts a download
    if engine not in names and is_engine(engine):
        names.insert(0, engine)
    elif engine not in names:
        known = ", ".join(list_engines())
        raise ValueError(f"There is no engine {engine!r}; choose one of: {known}, or a checkpoint's folder.")
    both = f"{engine} + {explainer}"
    desk = EngineDesk(
        [both, *names] if explainer else names, _loader(engine, both, explainer), default=both if explainer else engine
    )
    launch(desk, host=host, port=port)


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


def launch(
    desk: EngineDesk,
    *,
    host: str | None = None,
    port: int | None = None,
    quiet: bool = False,
    block: bool = True,
    examples_folder: Path | None = None,
) -> str:
    """Serve the page and return its URL; nothing is shared to the outside and no statistics are sent."""
    from demo.page import build_page
    from demo.theme import build_theme, css, head

    page = build_page(desk, examples_folder)
    page.queue(max_size=MAX_WAITING)
    _, url, _ = page.launch(
        server_name=host,
        server_port=port,
        quiet=quiet,
        share=False,
        theme=build_theme(),
        css=css(),
        head=head(),
        footer_links=["api"],
        max_file_size=MAX_UPLOAD,
        show_error=True,
        run_history=False,
        ssr_mode=False,
        prevent_thread_lock=not block,
    )
    return url

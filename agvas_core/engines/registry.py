"""Engines by name: what there is, and how each is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.base import Engine

CHECKPOINTS = Path(__file__).resolve().parents[2] / "checkpoints"


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _load_nano() -> Engine:
    folder = CHECKPOINTS / "agvas-nano"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"The bundled model is not there: {folder}. It comes with the repository; give another checkpoint's "
            "folder with --engine, or train one with `make train-nano`."
        )
    return AGVASEngine(folder, engine_id="agvas-nano", name="AG-VAS nano", device=_device())


_LOADERS: dict[str, Callable[[], Engine]] = {"agvas-nano": _load_nano}


def list_engines() -> tuple[str, ...]:
    """Return the names that load_engine knows, the default first."""
    return tuple(_LOADERS)


def load_engine(name: str = "agvas-nano") -> Engine:
    """Load an engine by its name, or an AG-VAS checkpoint by its folder; ValueError that lists the names otherwise."""
    if name in _LOADERS:
        return _LOADERS[name]()
    if Path(name).is_dir():
        return AGVASEngine(Path(name), engine_id=name, name=f"AG-VAS {Path(name).name}", device=_device())
    raise ValueError(f"There is no engine {name!r}; choose one of {', '.join(_LOADERS)}, or a checkpoint's folder.")


def add_explainer(eyes: Engine, name_or_folder: str) -> Engine:
    """Return an engine whose masks are those of `eyes` and whose words are an image-text-to-text model's.

    Raises:
        FileNotFoundError, ValueError: when the model is not there or cannot do it; the message is one sentence.
    """
    from agvas_core.engines.explained import ExplainedEngine
    from agvas_core.engines.speaker import Speaker

    return ExplainedEngine(eyes, Speaker(name_or_folder, device=_device()))

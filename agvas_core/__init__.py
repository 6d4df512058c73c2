"""AG-VAS: find anomalies in inspection images, and talk about them. The front door; the rest loads on demand."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agvas_core.engines.registry import list_engines, load_engine
    from agvas_core.processing import open_image
    from agvas_core.structures import Conversation, InspectionImage, Prediction, Request

__version__ = "0.1.0"
__all__ = [
    "Conversation",
    "InspectionImage",
    "Prediction",
    "Request",
    "__version__",
    "list_engines",
    "load_engine",
    "open_image",
]

_HOME = {
    "Conversation": "agvas_core.structures",
    "InspectionImage": "agvas_core.structures",
    "Prediction": "agvas_core.structures",
    "Request": "agvas_core.structures",
    "list_engines": "agvas_core.engines.registry",
    "load_engine": "agvas_core.engines.registry",
    "open_image": "agvas_core.processing",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that `import agvas_core` costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'agvas_core' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted(set(globals()) | set(__all__))

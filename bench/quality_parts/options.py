"""What the measurements of quality have in common: their options, the progress bar, where the numbers go."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from agvas_core import load_engine
from agvas_core.engines.base import Engine
from agvas_core.evaluation.items import LabelledImage, folder_items, synthetic_items

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"
T = TypeVar("T")


def default_data() -> Path | None:
    """Return the development images, in the checkout or beside it as `make eval-dev` has them, or None."""
    places = (ROOT / "shared" / "dev_data", ROOT.parent / "shared" / "dev_data")
    return next((place for place in places if place.is_dir()), None)


def parser_of(doc: str, *, limit: int | None, synthesis: int, data: bool = True) -> argparse.ArgumentParser:
    """Return a parser with --engine, --synthesis, --data, --limit, --threads and --json; doc: the script's."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--engine", default="agvas-nano", help="name or folder of a checkpoint")
    parser.add_argument("--synthesis", type=int, default=synthesis, help="held-out synthetic images, 0 for none")
    if data:
        where = default_data()
        parser.add_argument("--data", type=Path, default=where, help="folder in MVTec layout (default: %(default)s)")
        parser.add_argument("--no-data", dest="data", action="store_const", const=None, help="synthesis alone")
        parser.add_argument("--limit", type=int, default=limit, help="images of each kind (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where the numbers go (default: bench/results/)")
    return parser


def start(options: argparse.Namespace) -> Engine:
    """Set the threads and load the engine."""
    torch.set_num_threads(options.threads)
    return load_engine(options.engine)


def shown(items: Iterable[T], name: str) -> Iterator[T]:
    """Yield the items under a progress bar, which appears with the first of them."""
    yield from tqdm(items, desc=name, unit="image", leave=False)


def groups(options: argparse.Namespace) -> dict[str, Iterable[LabelledImage]]:
    """Return the images by where they come from; synthesis is one category."""
    out: dict[str, Iterable[LabelledImage]] = {}
    if options.synthesis:
        images = synthetic_items(options.synthesis)
        out["held-out synthesis"] = (replace(item, category="held-out synthesis") for item in images)
    if options.data is not None:
        out[options.data.name] = folder_items(options.data, options.limit)
    return out


def write(values: dict[str, Any], options: argparse.Namespace, name: str) -> Path:
    """Write the numbers and who was measured as JSON; NaN becomes null."""
    path = options.json or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain(values), indent=1) + "\n", encoding="utf-8")
    return path


def about(engine: Engine, options: argparse.Namespace) -> dict[str, Any]:
    """Return who was measured on what."""
    settings = {key: str(value) for key, value in vars(options).items() if key not in ("json", "engine")}
    card = engine.card
    return {"engine": card.engine_id, "weights": card.weights, "weights_hash": card.weights_hash, **settings}


def plain(value: Any) -> Any:
    """Return dataclasses as dicts and NaN as None, all the way down."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 5)
    return value

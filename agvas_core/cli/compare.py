"""Engines measured on the same labelled images, side by side."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from agvas_core import __version__
from agvas_core.cli.question import Question, load

if TYPE_CHECKING:
    from agvas_core.evaluation.protocol import CategoryResult
    from agvas_core.evaluation.saa_protocol import SAAMetrics
    from agvas_core.structures import InspectionImage


def engine_names(text: str) -> list[str]:
    """Return the names in "a,b,c", each once; ValueError when there is none."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise ValueError("--engine needs a name; `agvas engines` lists them.")
    return names


@dataclass(frozen=True)
class Measuring:
    """What engines are measured on; see evaluation.protocol.evaluate_folder. saa: by SAA's protocol, too."""

    data: Path
    save_maps: Path | None = None
    limit: int | None = None
    saa: bool = False
    good: Sequence[InspectionImage] = ()
    shots: int = 0


def measure_engine(
    name: str, question: Question, on: Measuring
) -> tuple[dict[str, Any], list[CategoryResult], dict[str, SAAMetrics]]:
    """Return facts about an engine and its settings, its results by category, and those of SAA's protocol if asked."""
    from tqdm import tqdm

    from agvas_core.engines.ask import predictor
    from agvas_core.evaluation.protocol import evaluate_folder
    from agvas_core.evaluation.saa_protocol import SAAMeter

    answering = load(name)
    meters: dict[str, SAAMeter] = {}
    with tqdm(unit="image") as bar:

        def progress(done: int, total: int, sample: Any) -> None:
            bar.total = total
            bar.set_description(f"{name} {sample.category}", refresh=False)
            bar.update(done - bar.n)

        def watch(sample: Any, prediction: Any, gt_mask: Any) -> None:
            if on.saa:
                meters.setdefault(sample.category, SAAMeter()).update(prediction.anomaly_map, gt_mask)

        predict = predictor(answering, question.request())
        results = evaluate_folder(
            predict, on.data, on.save_maps, on.limit, progress, watch, good=on.good, shots=on.shots
        )
        bar.update(bar.total - bar.n)
    about = {
        "engine": answering.card.engine_id,
        "weights": answering.card.weights,
        "device": answering.card.device,
        "data": str(on.data),
        "limit": on.limit,
        "shots": on.shots,
        "version": __version__,
    }
    return about | question.as_facts(), results, {category: meter.compute() for category, meter in meters.items()}


def compare_engines(names: list[str], question: Question, on: Measuring) -> dict[str, Any]:
    """Measure engines in turn, print their tables, and return everything as plain values.

    One that cannot be loaded or gives no mask is told and left out, so that the others' hours are not lost.

    Raises:
        ValueError, OSError: when the only engine fails.
    """
    from agvas_core.evaluation.report import comparison_table, markdown_table, saa_table, to_json

    measured: dict[str, list[CategoryResult]] = {}
    regions: dict[str, dict[str, SAAMetrics]] = {}
    values = []
    for name in names:
        own = on
        if on.save_maps is not None and len(names) > 1:
            own = replace(on, save_maps=on.save_maps / re.sub(r"[^\w.+-]", "_", name))
        try:
            about, measured[name], regions[name] = measure_engine(name, question, own)
        except (ValueError, OSError) as error:
            if len(names) == 1:
                raise
            typer.echo(f"{name}: {error}", err=True)
            continue
        value = to_json(measured[name], about)
        if on.saa:
            value["saa_protocol"] = {category: _plain(metrics) for category, metrics in regions[name].items()}
        values.append(value)
    if len(names) == 1:
        typer.echo(markdown_table(measured[names[0]]))
    elif measured:
        typer.echo(comparison_table(measured))
    if on.saa and measured:
        typer.echo("\n" + saa_table(regions))
    if not measured:
        raise ValueError("None of the engines could be measured.")
    return values[0] if len(names) == 1 else {"engines": values}


def _plain(metrics: SAAMetrics) -> dict[str, Any]:
    """Return the numbers as plain values; NaN becomes None."""
    return {key: None if math.isnan(value) else value for key, value in asdict(metrics).items()}

"""Results as a markdown table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from agvas_core.evaluation.metrics import SetMetrics
from agvas_core.evaluation.protocol import CategoryResult
from agvas_core.evaluation.saa_protocol import SAAMetrics

# field of SetMetrics, heading, factor, digits
_COLUMNS: tuple[tuple[str, str, float, int], ...] = (
    ("ap", "AP", 100.0, 1),
    ("f1_max", "F1-max", 100.0, 1),
    ("f1", "F1@t", 100.0, 1),
    ("iou_ano", "IoU_ano", 100.0, 1),
    ("iou_nor", "IoU_nor", 100.0, 1),
    ("auroc", "image AUROC", 100.0, 1),
    ("false_alarm_px_per_mp", "false px/MP", 1.0, 0),
)


def markdown_table(results: Sequence[CategoryResult]) -> str:
    """Return one row a category and their mean; shares in percent, a dash where a number does not exist."""
    head = ["category", "normal", "anomalous", *(heading for _, heading, _, _ in _COLUMNS), "s/image"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for result in results:
        lines.append(_row(result.category, result.metrics, result.seconds_per_image))
    if len(results) > 1:
        seconds = float(np.mean([result.seconds_per_image for result in results]))
        lines.append(_row("**mean**", mean_metrics(results), seconds))
    return "\n".join(lines)


def comparison_table(measured: Mapping[str, Sequence[CategoryResult]]) -> str:
    """Return the engines side by side: a row for each category and engine, then their means.

    Args:
        measured: engine -> its results, one per category.
    """
    head = ["category", "engine", "normal", "anomalous", *(heading for _, heading, _, _ in _COLUMNS), "s/image"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    categories = list(dict.fromkeys(r.category for results in measured.values() for r in results))
    for category in categories:
        for engine, results in measured.items():
            for r in results:
                if r.category == category:
                    lines.append(_row(f"{category} | {engine}", r.metrics, r.seconds_per_image))
    if len(categories) > 1:
        for engine, results in measured.items():
            seconds = float(np.mean([r.seconds_per_image for r in results]))
            lines.append(_row(f"**mean** | {engine}", mean_metrics(results), seconds))
    return "\n".join(lines)


def saa_table(measured: Mapping[str, Mapping[str, SAAMetrics]]) -> str:
    """Return max-F1-pixel and max-F1-region in per cent, a row for each category and engine.

    Args:
        measured: engine -> category -> numbers.
    """
    lines = ["| category | engine | images | max-F1-pixel | max-F1-region |", "|---|---|---:|---:|---:|"]
    categories = list(dict.fromkeys(category for by_category in measured.values() for category in by_category))
    for category in categories:
        for engine, by_category in measured.items():
            if category in by_category:
                m = by_category[category]
                shares = ["-" if math.isnan(v) else f"{100 * v:.1f}" for v in (m.f1_pixel, m.f1_region)]
                lines.append(f"| {category} | {engine} | {m.images} | {' | '.join(shares)} |")
    return "\n".join(lines)


def to_json(results: Sequence[CategoryResult], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as plain values; NaN becomes None.

    Args:
        results: one per category.
        about: what was measured (engine, data, settings); copied as it is.
    """
    return {
        "about": dict(about),
        "mean": _plain(asdict(mean_metrics(results))),
        "categories": [
            {
                "category": r.category,
                **_plain(asdict(r.metrics)),
                "seconds_per_image": round(r.seconds_per_image, 4),
            }
            for r in results
        ],
    }


def mean_metrics(results: Sequence[CategoryResult]) -> SetMetrics:
    """Return the mean over the categories that have the number; image counts are summed."""
    values: dict[str, Any] = {}
    for f in fields(SetMetrics):
        column = [getattr(result.metrics, f.name) for result in results]
        if f.name.endswith("_images"):
            values[f.name] = sum(column)
        else:
            known = [value for value in column if not math.isnan(value)]
            values[f.name] = float(np.mean(known)) if known else float("nan")
    return SetMetrics(**values)


def _row(name: str, metrics: SetMetrics, seconds: float) -> str:
    cells = [name, str(metrics.normal_images), str(metrics.anomalous_images)]
    for attribute, _, factor, digits in _COLUMNS:
        value = getattr(metrics, attribute)
        cells.append("-" if math.isnan(value) else f"{factor * value:.{digits}f}")
    return "| " + " | ".join([*cells, f"{seconds:.2f}"]) + " |"


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}

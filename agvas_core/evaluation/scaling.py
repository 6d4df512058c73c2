"""Quality against images seen: a line through quality over the logarithm of images, and what a bar would take."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        images: that the weights had seen.
        value: of a metric, per cent.
    """

    images: float
    value: float


@dataclass(frozen=True)
class Fit:
    """value = at_one + per_decade * log10(images), by least squares.

    Attributes:
        at_one: per cent.
        per_decade: per cent for ten times the images.
        error: standard error of per_decade; NaN with two points.
        points: how many.
        first, last: the smallest and the largest number of images among them.
    """

    at_one: float
    per_decade: float
    error: float
    points: int
    first: float
    last: float

    def at(self, images: float) -> float:
        """Return the line's value, per cent."""
        return self.at_one + self.per_decade * math.log10(images)

    def images_for(self, value: float, per_decade: float | None = None) -> float:
        """Return the images at which the line reaches a value; inf when it never rises to it.

        per_decade: another slope through the points' middle, for a range.
        """
        slope = self.per_decade if per_decade is None else per_decade
        middle = math.log10(self.first * self.last) / 2
        wanted = value - (self.at_one + self.per_decade * middle)
        if slope <= 0 < wanted:
            return math.inf
        decades = middle + wanted / slope if slope else middle
        return math.inf if decades > 300 else 10**decades


def fit_line(points: Sequence[Point]) -> Fit:
    """Return the line through points; ValueError below two different numbers of images."""
    x = np.log10([p.images for p in points]) if points else np.empty(0)
    y = np.array([p.value for p in points], dtype=np.float64)
    if len(set(x.tolist())) < 2:
        raise ValueError(f"A line needs two different numbers of images; got {len(points)} point(s).")
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    start = float(y.mean() - slope * x.mean())
    error = float("nan")
    if len(points) > 2:
        error = math.sqrt(float(((y - start - slope * x) ** 2).sum()) / (len(points) - 2) / spread)
    images = [p.images for p in points]
    return Fit(start, slope, error, len(points), min(images), max(images))


def read_log(path: str | Path, metric: str, seen_before: float = 0) -> list[Point]:
    """Return the evaluations in a training log (rows with "eval_step" and the metric), by images seen.

    Args:
        path: log.jsonl of a stage; a torn last line is left out.
        metric: its name there, as "F1_max".
        seen_before: images that the weights had seen when the stage began.

    Raises:
        FileNotFoundError: when there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no training log {path}.")
    out = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if "eval_step" in row and metric in row and seen_before + row["images"] > 0:
            out.append(Point(seen_before + row["images"], float(row[metric])))
    return out

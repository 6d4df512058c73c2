"""The AG-VAS protocol over a folder in MVTec layout: every image on its own, at its own size; one result a category."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from agvas_core.data.mvtec_folder import GOOD, Sample, find_samples, load_sample, train_samples
from agvas_core.evaluation.metrics import MetricsMeter, SetMetrics
from agvas_core.structures import InspectionImage, Prediction


@dataclass(frozen=True)
class CategoryResult:
    """The numbers of one category.

    Attributes:
        category: its path below the root.
        metrics: pooled over its images.
        seconds_per_image: mean wall seconds of predict.
    """

    category: str
    metrics: SetMetrics
    seconds_per_image: float


def evaluate_folder(
    predict: Callable[..., Prediction],
    root: str | Path,
    save_maps: Path | None = None,
    limit: int | None = None,
    progress: Callable[[int, int, Sample], None] | None = None,
    watch: Callable[[Sample, Prediction, NDArray[np.bool_]], None] | None = None,
    *,
    good: Sequence[InspectionImage] = (),
    shots: int = 0,
) -> list[CategoryResult]:
    """Return one result a category, in the order of their names.

    Args:
        predict: the model, one image at a time; it gets what the image is compared with as `good`, where there is some.
        root: a category, a set, or a folder of sets (see data.mvtec_folder).
        save_maps: write each anomaly_map to save_maps/<category>/test/<defect>/<name>.npy, float32 (H, W).
        limit: at most so many images of each <category>/test/<defect>, spread evenly over its names.
        progress: called before each image with its number from 0, the number of all images, and the sample.
        watch: called after each image with the sample, its prediction and its bool mask (H, W), for other metrics.
        good: images of good parts, with which all are compared.
        shots: so many good images of each category, with which its own are compared; see take_shots.

    Raises:
        FileNotFoundError, ValueError: from reading the folder, or when it has too few good images for the shots.
    """
    taken = take_shots(root, shots)
    used = {sample.image_path for own in taken.values() for sample in own}
    samples = spread([sample for sample in find_samples(root) if sample.image_path not in used], limit)
    results = []
    done = 0
    for category, group in groupby(samples, key=lambda s: s.category):
        meter = MetricsMeter()
        seconds = 0.0
        count = 0
        beside = (*good, *(load_sample(sample)[0] for sample in taken.get(category, ())))
        for sample in group:
            if progress is not None:
                progress(done, len(samples), sample)
            image, gt_mask = load_sample(sample)
            start = perf_counter()
            prediction = predict(image, good=beside) if beside else predict(image)
            seconds += perf_counter() - start
            meter.update(prediction, gt_mask)
            if watch is not None:
                watch(sample, prediction, gt_mask)
            if save_maps is not None:
                _save_map(save_maps, sample, prediction)
            count, done = count + 1, done + 1
        results.append(CategoryResult(category, meter.compute(), seconds / count))
    return results


def take_shots(root: str | Path, shots: int) -> dict[str, list[Sample]]:
    """Return so many good images of each category, spread evenly over their names.

    Of its train/good where it has one; else of its test/good, which are not to be measured then.

    Raises:
        FileNotFoundError: from reading the folder.
        ValueError: when a category has too few.
    """
    if not shots:
        return {}
    samples, trained = find_samples(root), train_samples(root)
    taken = {}
    for category in dict.fromkeys(sample.category for sample in samples):
        own = [s for s in trained if s.category == category]
        own = own or [s for s in samples if s.category == category and s.defect == GOOD]
        if len(own) < shots:
            raise ValueError(f"{category} has {len(own)} good images, and {shots} are to be compared with.")
        taken[category] = spread(own, shots)
    return taken


def spread(samples: list[Sample], limit: int | None) -> list[Sample]:
    """Return at most `limit` samples of each category and defect, evenly spaced; all of them when limit is None."""
    if limit is None:
        return samples
    if limit < 1:
        raise ValueError(f"limit must be at least 1; got {limit}.")
    kept = []
    for _, group in groupby(samples, key=lambda s: (s.category, s.defect)):
        members = list(group)
        step = max(1.0, len(members) / limit)
        kept += [members[int(i * step)] for i in range(min(limit, len(members)))]
    return kept


def _save_map(folder: Path, sample: Sample, prediction: Prediction) -> None:
    path = Path(folder) / sample.category / "test" / sample.defect / f"{sample.image_path.stem}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, prediction.anomaly_map.astype(np.float32))

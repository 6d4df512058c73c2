"""Pixel AP, F1-max, IoU_ano, IoU_nor, image AUROC and false alarms, pooled over a set one image at a time."""

# H, W: an image's own size. K: number of bins.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from agvas_core.structures import Prediction

# Bins are spaced like floating-point numbers towards both 0 and 1 (10 bits of fraction down to 2^-32): a model's
# pixels crowd at both ends, where bins of equal width would merge what AP ranks.
_FRACTION_SHIFT = 13
_LOWEST = np.float32(2.0**-32)
_FIRST_CODE = int(_LOWEST.view(np.uint32)) >> _FRACTION_SHIFT
_HALF_BINS = (int(np.float32(0.5).view(np.uint32)) >> _FRACTION_SHIFT) - _FIRST_CODE + 1
_BINS = 2 * _HALF_BINS


def checked_pair(anomaly_map: ArrayLike, gt_mask: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return a map and its mask as arrays; ValueError when the shapes differ or a value is not in [0, 1]."""
    scores = np.ascontiguousarray(anomaly_map, dtype=np.float32)
    truth = np.asarray(gt_mask).astype(bool, copy=False)
    if scores.shape != truth.shape:
        raise ValueError(f"anomaly_map and gt_mask must have one shape; got {scores.shape} and {truth.shape}.")
    if scores.size and not (scores.min() >= 0.0 and scores.max() <= 1.0):  # also refuses NaN
        raise ValueError(f"anomaly_map must lie in [0, 1]; got {scores.min():g} to {scores.max():g}.")
    return scores, truth


@dataclass(eq=False)
class PixelCurve:
    """Precision and recall over pooled pixels, from a streaming histogram; memory does not grow with the images.

    Attributes:
        threshold: the fixed threshold whose F1 is exact (map > threshold).
    """

    threshold: float = 0.5
    _positives: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, dtype=np.int64))  # (K,)
    _negatives: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, dtype=np.int64))  # (K,)
    _hits: int = 0
    _false_alarms: int = 0
    _misses: int = 0

    def update(self, anomaly_map: ArrayLike, gt_mask: ArrayLike) -> None:
        """Add the pixels of one image.

        Args:
            anomaly_map: (H, W) in [0, 1].
            gt_mask: bool (H, W).

        Raises:
            ValueError: when the shapes differ or a value is not in [0, 1].
        """
        scores, truth = checked_pair(anomaly_map, gt_mask)
        if scores.size == 0:
            return
        bins = _bin_of(scores)
        self._positives += np.bincount(bins[truth], minlength=_BINS)
        self._negatives += np.bincount(bins[~truth], minlength=_BINS)
        predicted = scores > self.threshold
        hits = int(np.count_nonzero(predicted & truth))
        self._hits += hits
        self._false_alarms += int(np.count_nonzero(predicted)) - hits
        self._misses += int(np.count_nonzero(truth)) - hits

    @property
    def ap(self) -> float:
        """Average precision, sum over thresholds of (R_n - R_{n-1}) P_n; NaN without an anomalous pixel."""
        precision, recall = self._precision_recall()
        return float(np.sum(np.diff(recall, prepend=0.0) * precision)) if recall.size else float("nan")

    @property
    def f1_max(self) -> float:
        """Best F1 over all thresholds; NaN without an anomalous pixel."""
        precision, recall = self._precision_recall()
        if not recall.size:
            return float("nan")
        total = precision + recall
        return float(np.max(np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)))

    @property
    def f1(self) -> float:
        """F1 of map > threshold, exact; NaN without an anomalous pixel."""
        if self._hits + self._misses == 0:
            return float("nan")
        return 2 * self._hits / (2 * self._hits + self._false_alarms + self._misses)

    def _precision_recall(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return precision and recall (K',) from the highest score downwards; empty without a positive."""
        hits = np.cumsum(self._positives[::-1])
        found = hits + np.cumsum(self._negatives[::-1])
        if hits[-1] == 0:
            return np.empty(0), np.empty(0)
        used = found > 0
        return hits[used] / found[used], hits[used] / hits[-1]


def iou(pred_mask: ArrayLike, gt_mask: ArrayLike) -> float:
    """Return intersection over union of two bool masks of one shape; 1 when both are empty."""
    pred, truth = np.asarray(pred_mask, dtype=bool), np.asarray(gt_mask, dtype=bool)
    if pred.shape != truth.shape:
        raise ValueError(f"pred_mask and gt_mask must have one shape; got {pred.shape} and {truth.shape}.")
    union = np.count_nonzero(pred | truth)
    return np.count_nonzero(pred & truth) / union if union else 1.0


def image_auroc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Return the chance that an anomalous image scores higher than a normal one, ties half; NaN without both kinds."""
    if len(scores) != len(labels):
        raise ValueError(f"Each image has one score and one label; got {len(scores)} and {len(labels)}.")
    truth = np.asarray(labels, dtype=bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if positives == 0 or negatives == 0:
        return float("nan")
    ranks = rankdata(np.asarray(scores, dtype=np.float64))
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


@dataclass(frozen=True)
class SetMetrics:
    """The numbers of one set of images; shares from 0 to 1, NaN where the set lacks what is measured.

    Attributes:
        normal_images: how many images have no anomalous pixel.
        anomalous_images: how many have one.
        ap: pixel average precision.
        f1_max: best pixel F1 over all thresholds.
        f1: pixel F1 at the model's threshold.
        iou_ano: mean IoU of the predicted mask over the anomalous images.
        iou_nor: share of the normal images whose predicted mask is empty.
        auroc: image AUROC by the highest value of each map.
        false_alarm_px_per_mp: predicted pixels per million pixels of normal images.
    """

    normal_images: int
    anomalous_images: int
    ap: float
    f1_max: float
    f1: float
    iou_ano: float
    iou_nor: float
    auroc: float
    false_alarm_px_per_mp: float


@dataclass(eq=False)
class MetricsMeter:
    """Collects the predictions of a set, one at a time; F1 is taken at the first prediction's threshold."""

    curve: PixelCurve | None = None
    _ious: list[float] = field(default_factory=list)
    _empty: list[bool] = field(default_factory=list)
    _scores: list[float] = field(default_factory=list)
    _labels: list[bool] = field(default_factory=list)
    _normal_px: int = 0
    _false_alarm_px: int = 0

    def update(self, prediction: Prediction, gt_mask: ArrayLike) -> None:
        """Add one image: its prediction and its bool mask (H, W)."""
        truth = np.asarray(gt_mask, dtype=bool)
        if self.curve is None:
            self.curve = PixelCurve(prediction.threshold)
        self.curve.update(prediction.anomaly_map, truth)
        is_anomalous = bool(truth.any())
        self._labels.append(is_anomalous)
        score = prediction.image_score
        self._scores.append(prediction.pred_score if score is None else score)
        if is_anomalous:
            self._ious.append(iou(prediction.pred_mask, truth))
        else:
            alarms = int(np.count_nonzero(prediction.pred_mask))
            self._empty.append(alarms == 0)
            self._normal_px += truth.size
            self._false_alarm_px += alarms

    def compute(self) -> SetMetrics:
        """Return the numbers of everything added so far."""
        nan = float("nan")
        curve = self.curve or PixelCurve()
        return SetMetrics(
            normal_images=len(self._empty),
            anomalous_images=len(self._ious),
            ap=curve.ap,
            f1_max=curve.f1_max,
            f1=curve.f1,
            iou_ano=float(np.mean(self._ious)) if self._ious else nan,
            iou_nor=float(np.mean(self._empty)) if self._empty else nan,
            auroc=image_auroc(self._scores, self._labels),
            false_alarm_px_per_mp=1e6 * self._false_alarm_px / self._normal_px if self._normal_px else nan,
        )


def _bin_of(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the bin of each score in [0, 1], rising with the score; float32 of any shape."""
    low = scores < 0.5
    distance = np.maximum(np.where(low, scores, np.float32(1.0) - scores), _LOWEST)  # to the nearer end
    code = (distance.view(np.uint32) >> _FRACTION_SHIFT).astype(np.int64) - _FIRST_CODE
    return np.where(low, code, _BINS - 1 - code)

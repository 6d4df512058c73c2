"""The protocol of SAA+: max-F1-pixel and max-F1-region at 400 x 400, pooled over a category (paper Sec. 5.1)."""

# H, W: an image's own size; S: SIDE_PX; P predicted parts, G labelled parts

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import ndimage

from agvas_core.evaluation.metrics import PixelCurve, checked_pair

SIDE_PX = 400
THRESHOLDS = 200
LEAST_IOU = 0.6

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class SAAMetrics:
    """The numbers of one category; shares from 0 to 1, NaN without an anomalous pixel.

    Attributes:
        f1_pixel: best F1 over all thresholds, of all pixels of all images, normal ones included.
        f1_region: best F1 over 200 thresholds, of connected parts; a part is right when it matches.
        region_threshold: the threshold of f1_region.
        images: how many.
    """

    f1_pixel: float
    f1_region: float
    region_threshold: float
    images: int


@dataclass(eq=False)
class SAAMeter:
    """Collects a category, one image at a time; keeps each map at 400 x 400."""

    _curve: PixelCurve = field(default_factory=PixelCurve)
    _maps: list[NDArray[np.float32]] = field(default_factory=list)
    _truths: list[NDArray[np.bool_]] = field(default_factory=list)

    def update(self, anomaly_map: ArrayLike, gt_mask: ArrayLike) -> None:
        """Add one image: its map in [0, 1] and its bool mask, both (H, W).

        Raises:
            ValueError: when the shapes differ, there is no pixel, or a value is not in [0, 1].
        """
        scores, truth = checked_pair(anomaly_map, gt_mask)
        if scores.ndim != 2 or not scores.size:
            raise ValueError(f"anomaly_map must be (H, W), with pixels; got {scores.shape}.")
        scores, truth = to_side(scores), truth_to_side(truth)
        self._curve.update(scores, truth)
        self._maps.append(scores)
        self._truths.append(truth)

    def compute(self) -> SAAMetrics:
        """Return the numbers of everything added so far."""
        nan = float("nan")
        if not any(truth.any() for truth in self._truths):
            return SAAMetrics(nan, nan, nan, len(self._maps))
        low, high = min(float(m.min()) for m in self._maps), max(float(m.max()) for m in self._maps)
        thresholds = np.linspace(low, high, THRESHOLDS)
        counts = np.zeros((THRESHOLDS, 3), dtype=np.int64)  # matches, P, G
        for scores, truth in zip(self._maps, self._truths, strict=True):
            labels, count = ndimage.label(truth, structure=_EIGHT_CONNECTED)
            for i, threshold in enumerate(thresholds):
                counts[i] += region_matches(scores > threshold, labels, count)
        matches, predicted, labelled = counts.T
        f1 = 2 * matches / np.maximum(predicted + labelled, 1)
        best = int(f1.argmax())
        return SAAMetrics(self._curve.f1_max, float(f1[best]), float(thresholds[best]), len(self._maps))


def region_matches(pred_mask: NDArray[np.bool_], gt_labels: NDArray, gt_count: int) -> tuple[int, int, int]:
    """Return how many parts match, how many are predicted, how many are labelled.

    Two parts match when their IoU is at least 0.6; above one half a part has at most one partner, so the matches are
    the hits of precision and of recall at once: F1 = 2 matches / (P + G).

    Args:
        pred_mask: bool (S, S).
        gt_labels: (S, S), 0 outside, 1 .. gt_count the labelled parts.
        gt_count: G.
    """
    labels, count = ndimage.label(pred_mask, structure=_EIGHT_CONNECTED)
    if not count or not gt_count:
        return 0, count, gt_count
    shared = np.bincount((labels * (gt_count + 1) + gt_labels).ravel(), minlength=(count + 1) * (gt_count + 1))
    shared = shared.reshape(count + 1, gt_count + 1)
    union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
    iou = shared[1:, 1:] / union[1:, 1:]  # (P, G)
    return int((iou.max(axis=1) >= LEAST_IOU).sum()), count, gt_count


def to_side(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a map at 400 x 400, bicubic, brought back into [0, 1] where the kernel overshoots."""
    if scores.shape == (SIDE_PX, SIDE_PX):
        return scores
    resized = Image.fromarray(np.ascontiguousarray(scores)).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    return np.asarray(resized).clip(0, 1)


def truth_to_side(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask at 400 x 400, nearest."""
    return np.asarray(Image.fromarray(mask).resize((SIDE_PX, SIDE_PX), Image.Resampling.NEAREST))

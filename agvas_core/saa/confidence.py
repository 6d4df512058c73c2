"""Confidence: the K best candidates (Eq. 8), and A = sum(mask x score) / sum(mask), the map they make (Eq. 9)."""

# K candidates; h, w cells of the working grid

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agvas_core.saa.prompts import Variant


def top_k(scores: Sequence[float], k: int | None) -> list[int]:
    """Return the indices of the k highest scores, highest first, equal ones in their order; all when k is None."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return order if k is None else order[:k]


def anomaly_map(
    masks: Sequence[NDArray[np.bool_]], scores: Sequence[float], hw: tuple[int, int], variant: Variant = "paper"
) -> NDArray[np.float32]:
    """Return A, float32 (h, w), of masks and their scores; 0 where no mask is.

    "paper": the mean score of the masks over each pixel. "code": their sum over one more than their number.
    """
    total, count = np.zeros(hw), np.zeros(hw)
    for mask, score in zip(masks, scores, strict=True):
        total[mask] += score
        count[mask] += 1
    divisor = np.maximum(count, 1) if variant == "paper" else 1 + count
    return (total / divisor).astype(np.float32)


def to_probability(values: NDArray[np.float32], half: float) -> NDArray[np.float32]:
    """Return A / (A + half), float32 in [0, 1): the same order, and 0.5 at `half`.

    Paper leaves open: A exceeds 1 by Eq. 7, and no threshold is given; the order of pixels, and so F1-max, is kept.
    """
    return (values / (values + np.float32(half))).astype(np.float32)

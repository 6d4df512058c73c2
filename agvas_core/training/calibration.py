"""Calibration: the masks' borders are moved so that the fixed threshold 0.5 is the best one on labelled images.

The Dice loss and the many normal images leave a network either too timid or too bold; a mask needs one threshold that
nobody tunes. Only the biases of [NOR], [ANO] and [SEG] change, so the order of the pixels stays as it was.
"""

# B images of a batch, N of all batches

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from agvas_core.modeling.agmd import AGMD
from agvas_core.predictor import AnomalyPredictor
from agvas_core.processing import open_image
from agvas_core.synthesis.facts import SyntheticBatch

BINS = 100
NEARLY = 0.98  # of the best mean
LEFT_EMPTY = 0.91  # of the normal images; 85 % is asked for, and held-out ones are harder by some three points
LARGEST_SHIFT = 2.0  # of the logits: more would hide that something else is wrong


def served_maps(predictor: AnomalyPredictor) -> Callable[[Tensor], Tensor]:
    """Return the function from images uint8 (B, 3, H, W) to their maps (B, H, W) as served: of all looks.

    A mean over looks is lower at its peaks than each of them, so the threshold of a single look would be timid.
    """

    def maps(images: Tensor) -> Tensor:
        photos = [open_image(np.ascontiguousarray(rgb)) for rgb in images.permute(0, 2, 3, 1).numpy()]
        return torch.stack([torch.tensor(predictor.glance(photo).anomaly_map) for photo in photos])

    return maps


Scored = tuple[Tensor, Tensor]  # an image's map (H, W) as served, and its gt_mask (H, W)


@torch.inference_mode()
def scored(maps_of: Callable[[Tensor], Tensor], batches: Iterable[SyntheticBatch]) -> list[Scored]:
    """Return the images' maps and masks, to be looked at twice; maps_of: from images uint8 (B, 3, H, W)."""
    return [pair for batch in batches for pair in zip(maps_of(batch.images), batch.gt_mask, strict=True)]


def best_threshold(images: Iterable[Scored]) -> float:
    """Return the threshold at which the masks of defective images are best.

    A mask is as good as its F1, and every image counts alike: over the pixels of all images a few large defects would
    decide alone. It is the middle of all thresholds that are NEARLY as good: the best one is chance. (Normal images
    have their say in clear_peak. As masks of F1 0 or 1 among the others they make the threshold timid, and of
    photographs the model is less sure than of synthetic images.)
    """
    scores = []
    for anomaly_map, gt_mask in images:
        if bool(gt_mask.any()):
            hits, found = at_or_above(anomaly_map[gt_mask]), at_or_above(anomaly_map.flatten())
            scores.append(2 * hits / (found + hits[0]))
    mean = torch.stack(scores).mean(0)[1:]
    good = (mean >= NEARLY * mean.max()).nonzero()[:, 0] + 1
    return float(good[0] + good[-1]) / 2 / BINS


def clear_peak(images: Iterable[Scored], threshold: float) -> float:
    """Return the value that a part of a mask must reach somewhere, so that LEFT_EMPTY of the normal images stay empty.

    Not below the threshold at which the masks are outlined; see regions.without_weak_parts.
    """
    highest = [float(anomaly_map.max()) for anomaly_map, gt_mask in images if not bool(gt_mask.any())]
    return max(threshold, float(np.quantile(highest, LEFT_EMPTY))) if highest else threshold


def at_or_above(values: Tensor) -> Tensor:
    """Return how many values (N,) in [0, 1] lie in each of BINS bins or above it."""
    return torch.histc(values, BINS, 0, 1).flip(0).cumsum(0).flip(0)


@torch.no_grad()
def shift_logits(agmd: AGMD, threshold: float) -> float:
    """Move the branches so that what was `threshold` becomes 0.5; return the shift of the logits.

    Raises:
        ValueError: when the threshold is not inside (0, 1).
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie inside (0, 1); got {threshold}.")
    shift = max(-LARGEST_SHIFT, min(LARGEST_SHIFT, -math.log(threshold / (1 - threshold))))
    _, ano, seg = agmd.token_mlps
    for branch in (ano, seg):
        _bias(branch)[-1] += shift
    return shift


def shifted(value: float, shift: float) -> float:
    """Return what a probability becomes when its logit moves by shift."""
    return 1 / (1 + math.exp(-(math.log(value / (1 - value)) + shift)))


def _bias(mlp: nn.Module) -> Tensor:
    """Return the bias of a token MLP's last layer; its last entry is added to the branch's logits."""
    assert isinstance(mlp, nn.Sequential) and isinstance(mlp[-1], nn.Linear)
    return mlp[-1].bias

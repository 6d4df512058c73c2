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
LEFT_EMPTY = 0.86  # share of normal images on which nothing may be marked, at least: this project asks for 85 %
LARGEST_SHIFT = 2.0  # of the logits: more would hide that something else is wrong


def served_maps(predictor: AnomalyPredictor) -> Callable[[Tensor], Tensor]:
    """Return the function from images uint8 (B, 3, H, W) to their maps (B, H, W) as served: of all looks.

    A mean over looks is lower at its peaks than each of them, so the threshold of a single look would be timid.
    """

    def maps(images: Tensor) -> Tensor:
        photos = [open_image(np.ascontiguousarray(rgb)) for rgb in images.permute(0, 2, 3, 1).numpy()]
        return torch.stack([torch.tensor(predictor.glance(photo).anomaly_map) for photo in photos])

    return maps


@torch.inference_mode()
def best_threshold(maps_of: Callable[[Tensor], Tensor], batches: Iterable[SyntheticBatch]) -> float:
    """Return the threshold at which the masks of defective images are best and most normal images stay empty.

    A mask is as good as its F1, and every image counts alike: over the pixels of all images a few large defects would
    decide alone. It is the middle of all thresholds that are NEARLY as good, for the best one is chance; where fewer
    than LEFT_EMPTY of the normal images would stay empty, the lowest that leaves so many. (An empty normal image as a
    mask of F1 1 beside the others makes masks timid: of photographs the model is less sure than of synthetic images.)

    Args:
        maps_of: makes maps (B, H, W) in [0, 1] of images uint8 (B, 3, H, W).
        batches: images and their masks.
    """
    scores, empty = [], []
    for batch in batches:
        for anomaly_map, gt_mask in zip(maps_of(batch.images), batch.gt_mask, strict=True):
            hits, found = at_or_above(anomaly_map[gt_mask]), at_or_above(anomaly_map.flatten())
            if bool(gt_mask.any()):
                scores.append(2 * hits / (found + hits[0]))
            else:
                empty.append((found == 0).float())
    mean = torch.stack(scores).mean(0)[1:]
    good = (mean >= NEARLY * mean.max()).nonzero()[:, 0] + 1
    best = float(good[0] + good[-1]) / 2
    if not empty:
        return best / BINS
    calm = (torch.stack(empty).mean(0)[1:] >= LEFT_EMPTY).nonzero()[:, 0] + 1
    return max(best, float(calm[0]) if len(calm) else BINS - 1.0) / BINS


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


def _bias(mlp: nn.Module) -> Tensor:
    """Return the bias of a token MLP's last layer; its last entry is added to the branch's logits."""
    assert isinstance(mlp, nn.Sequential) and isinstance(mlp[-1], nn.Linear)
    return mlp[-1].bias

"""Saliency: s = mean (1 - cosine) to the N nearest cells of the image, paper Eq. 5; factors of candidates, Eq. 6-7."""

# C channels, h, w cells of the features; P = h * w

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from agvas_core.saa.prompts import Variant

_ROWS_AT_ONCE = 1024
CODE_GAIN = 3.0  # the public code's exponent is three times the paper's


@torch.inference_mode()
def saliency_map(features: Tensor, neighbours: int, variant: Variant = "paper") -> Tensor:
    """Return s (h, w), float32, from features (C, h, w): how unlike its neighbours in feature space each cell is.

    "paper": mean of 1 - cosine to the N nearest other cells. Paper leaves open: whether a cell is its own neighbour;
    here it is not. "code": mean of (1 - cosine) / 2 to the N farthest cells. 0 where there is no other cell.
    """
    c, h, w = features.shape
    cells = features.reshape(c, h * w).T.float()  # (P, C)
    cells = cells / cells.norm(dim=1, keepdim=True).clamp_min(1e-8)
    count = min(neighbours, len(cells) - 1)
    if count < 1:
        return torch.zeros(h, w)
    means = []
    for start in range(0, len(cells), _ROWS_AT_ONCE):
        distance = (1 - cells[start : start + _ROWS_AT_ONCE] @ cells.T).clamp_(min=0)  # (rows, P)
        if variant == "paper":
            rows = torch.arange(len(distance), device=distance.device)
            distance[rows, start + rows] = math.inf
            means.append(distance.topk(count, dim=1, largest=False).values.mean(1))
        else:
            means.append(distance.topk(count, dim=1).values.mean(1) / 2)
    return torch.cat(means).reshape(h, w).cpu()


def saliency_on_grid(saliency: Tensor, hw: tuple[int, int]) -> NDArray[np.float32]:
    """Return s on the working grid from cells (h', w') that cover the image. Paper leaves open: how; bilinear."""
    grown = interpolate(saliency[None, None], hw, mode="bilinear", align_corners=False)[0, 0]
    return grown.numpy()


def mean_saliency(saliency: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Return the mean of s inside a mask, both (h, w); the mask has at least one pixel."""
    assert mask.any(), "an empty mask has no saliency"
    return float(saliency[mask].mean(dtype=np.float64))


def saliency_factor(mean: float, variant: Variant = "paper") -> float:
    """Return exp(mean), Eq. 6; the public code's exp(3 mean)."""
    return math.exp(mean if variant == "paper" else CODE_GAIN * mean)

"""What a mask shows: its findings, what is measured of them for the words, and their masks on the model's canvas."""

# R findings, H, W the image's own size, C canvas side

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from agvas_core.processing import Letterbox
from agvas_core.prompts import listed_regions, measured_line
from agvas_core.regions import group_labels, place_of
from agvas_core.structures import Prediction


@dataclass(frozen=True, eq=False)
class Findings:
    """What a mask shows: its parts, those that lie close together as one (a cluster of pits), largest first.

    Attributes:
        labels: int32 (H, W), 0 outside, 1 in the largest finding.
        spots: place and area in per cent of every finding.
    """

    labels: NDArray[np.int32]
    spots: tuple[tuple[str, float], ...]

    @property
    def masks(self) -> Tensor:
        """The findings that a measured line lists, bool (R, H, W), made when asked for."""
        listed = np.arange(1, listed_regions(len(self.spots)) + 1)
        return torch.from_numpy(self.labels[None] == listed[:, None, None])

    def line(self, kinds: Sequence[str] | None = None) -> str:
        """Return the measured line, with the kinds of defect of the listed findings where they are known."""
        return measured_line(self.spots, kinds=kinds)


def measure(prediction: Prediction) -> Findings:
    """Return a mask's findings, grouped as in the facts that the words were learned from."""
    height, width = prediction.size_hw
    labels = group_labels(prediction.pred_mask)  # (H, W)
    ys, xs = np.nonzero(labels)
    finding = labels[ys, xs]
    count = int(finding.max(initial=0))
    areas = np.bincount(finding, minlength=count + 1)[1:]
    sums = [np.bincount(finding, weights=at, minlength=count + 1)[1:] for at in (ys, xs)]
    spots = tuple(
        (place_of(y / area, x / area, height, width), 100 * area / (height * width))
        for y, x, area in zip(*(values.tolist() for values in (*sums, areas)), strict=True)
    )
    return Findings(labels, spots)


def masks_to_canvas(masks: Tensor, letterbox: Letterbox) -> Tensor:
    """Return float masks (R, C, C) on the canvas from bool masks (R, H, W) of the image; fill is never inside."""
    height, width = letterbox.content_hw
    small = interpolate(masks[:, None].float(), (height, width), mode="area")[:, 0]
    out = torch.zeros(len(masks), letterbox.canvas, letterbox.canvas)
    out[:, :height, :width] = small
    return out

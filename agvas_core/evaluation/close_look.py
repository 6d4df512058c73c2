"""Large photographs with tiny defects: made for the measurement of close looks, and judged defect by defect."""

# H = W = size px of a large image, s a defect's window

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from agvas_core.structures import Prediction
from agvas_core.synthesis.defects import DEFECTS
from agvas_core.synthesis.generator import visible
from agvas_core.synthesis.surfaces import SURFACES

# large plain surfaces that stay natural when they are looked at closely
LARGE_SURFACES = ("rolled steel", "brushed metal", "painted metal", "concrete", "plastic", "paper")
TINY_KINDS = ("scratch", "pit", "hole", "stain", "dent", "contamination")
AREA_SHARES = (0.0002, 0.003)  # of the image
WINDOWS = (512, 256, 768, 160, 512, 256, 768, 384)  # sides in which a defect is tried, px
FOUND_SHARE = 0.25  # of a defect's pixels in the mask, for it to count as found


@dataclass(frozen=True, eq=False)
class LargeScene:
    """A large image with tiny defects.

    Attributes:
        surface: family name.
        rgb: uint8 (H, W, 3).
        labels: uint8 (H, W): 0 normal, i + 1 for defect i.
        kinds: of the defects.
    """

    surface: str
    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    kinds: tuple[str, ...]


def large_scene(seed: int, size: int = 2048, defects: int = 6) -> LargeScene:
    """Return a large surface with at most so many scratches, pits, holes, ... of 0.02 to 0.3 % of its area each."""
    rng = Generator().manual_seed(seed)
    surface = LARGE_SURFACES[seed % len(LARGE_SURFACES)]
    image = SURFACES[surface](1, size, rng)  # (1, 3, H, W)
    labels = torch.zeros(1, size, size, dtype=torch.uint8)
    kinds: list[str] = []
    low, high = (share * size**2 for share in AREA_SHARES)
    for kind, window in [(TINY_KINDS[n % len(TINY_KINDS)], w) for n in range(defects) for w in WINDOWS]:
        if len(kinds) > 0 and kinds[-1] == kind:
            continue  # drawn in an earlier window
        side = min(window, size)
        top, left = (int(v) for v in torch.randint(size - side + 1, (2,), generator=rng))
        part = (..., slice(top, top + side), slice(left, left + side))
        after, mask = _drawn(kind, image[part], labels[part] > 0, rng)
        if after is not None and low <= int(mask.sum()) <= high:
            kinds.append(kind)
            image[part] = after
            labels[part][mask] = len(kinds)
    rgb = (image[0].clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0)
    return LargeScene(surface, np.ascontiguousarray(rgb.numpy()), labels[0].numpy(), tuple(kinds))


def _drawn(kind: str, before: Tensor, taken: Tensor, rng: Generator) -> tuple[Tensor | None, Tensor]:
    """Return a window (1, 3, s, s) with a defect, None when it cannot be seen, and its mask (1, s, s)."""
    allowed = torch.ones_like(taken)
    after, soft = DEFECTS[kind](before, allowed, rng)
    after = after.clamp(0, 1)
    mask, good = visible(before, after, soft, taken)
    border = torch.cat([mask[:, 0], mask[:, -1], mask[..., 0], mask[..., -1]], dim=1)
    return (after if bool(good) and not bool(border.any()) else None), mask


def found_defects(pred_mask: NDArray[np.bool_], labels: NDArray[np.uint8]) -> list[bool]:
    """Return for each labelled defect whether at least FOUND_SHARE of its pixels are in the mask; both (H, W)."""
    count = int(labels.max(initial=0))
    whole = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    hit = np.bincount(labels[pred_mask], minlength=count + 1)[1:]
    return [bool(h >= FOUND_SHARE * w) for h, w in zip(hit, whole, strict=True)]


def false_regions(prediction: Prediction, labels: NDArray[np.uint8]) -> int:
    """Return how many regions touch no defect's box of labels (H, W)."""
    count = 0
    for region in prediction.regions:
        left, top, right, bottom = region.box_xyxy
        count += not labels[top:bottom, left:right].any()
    return count


@dataclass(frozen=True)
class Seams:
    """Steps of a map between neighbouring pixels, where tiles begin and end, and elsewhere.

    Attributes:
        at_borders: largest step across a tile's border.
        elsewhere: largest step anywhere else.
        typical_at_borders: median over the border lines of their mean step.
        typical_elsewhere: the same of all other lines.
    """

    at_borders: float
    elsewhere: float
    typical_at_borders: float
    typical_elsewhere: float


def seams(anomaly_map: NDArray[np.float32], boxes_xyxy: list[tuple[int, int, int, int]]) -> Seams:
    """Return the steps of a map (H, W) at the tiles' borders against those elsewhere."""
    largest: dict[bool, list[float]] = {True: [], False: []}
    mean: dict[bool, list[float]] = {True: [], False: []}
    for axis, sides in ((0, (1, 3)), (1, (0, 2))):
        length = anomaly_map.shape[axis]
        borders = {box[side] for box in boxes_xyxy for side in sides} - {0, length}
        steps = np.abs(np.diff(anomaly_map, axis=axis))
        high, middle = steps.max(axis=1 - axis), steps.mean(axis=1 - axis)
        for line in range(1, length):  # between pixels line - 1 and line
            largest[line in borders].append(float(high[line - 1]))
            mean[line in borders].append(float(middle[line - 1]))
    nothing = [float("nan")]
    return Seams(
        max(largest[True] or nothing),
        max(largest[False] or nothing),
        median(mean[True] or nothing),
        median(mean[False] or nothing),
    )

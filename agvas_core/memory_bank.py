"""A memory bank of good examples: what they show is normal elsewhere, too.

AG-VAS judges an image by itself. Where photographs of good parts are at hand, each cell of an image is compared with
the cells of all of them: the distance to the nearest one says how rare it is among good ones (PatchCore, Roth et al.
2022), and the map's odds are weighed with it. Nothing is trained: a few good examples do, and one helps a little.
"""

# P cells of an image, N of the bank, C channels; H, W the image's own size

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from agvas_core.modeling.pixel_features import PixelFeatures
from agvas_core.processing import Letterbox, restore

MOST_CELLS = 12_000  # of the bank: so many are compared with an image's 2,304 in a tenth of a second
USUAL_SHARE = 0.99  # of good cells are no farther from their image's others than what counts as usual
OWN_CELLS = 4  # cells around a good one that do not count as its like: they show the same thing
POWER = 0.5  # of the rarity, by which the odds are multiplied
MOST_RARE = 7.4  # rarity above which nothing becomes surer, and below whose inverse nothing less sure
MOST_SHARE = 0.75  # of good examples: a part of a mask has to be clearer than their maps
MOST_PEAK = 0.75  # what they reach counts up to here: they may be of something else
CHUNK = 1024  # cells compared at a time


@dataclass(frozen=True, eq=False)
class MemoryBank:
    """Cells of good examples, and how far they lie from each other.

    Attributes:
        cells: (N, C), with each channel's mean and spread taken out.
        mean: (C,).
        spread: (C,), above 0.
        usual: distance to the nearest other cell of its own image that USUAL_SHARE of the good cells keep.
        peak: what the weighed maps of most good examples reach at most, each compared with the others, 0 to 1.
    """

    cells: Tensor
    mean: Tensor
    spread: Tensor
    usual: float
    peak: float = 0.0

    def rarity(self, features: PixelFeatures, letterbox: Letterbox) -> NDArray[np.float32]:
        """Return how rare each pixel of an image is among the good examples: 1 is as rare as it gets in them.

        Args:
            features: of the image's canvas, batch 1.
            letterbox: how the canvas maps back.

        Returns:
            float32 (H, W), 0 or more.
        """
        grid = fine_cells(features)  # (C, h, w)
        nearest = _nearest(self._standard(grid.flatten(1).T), self.cells)  # (P,)
        return restore(nearest.view(1, *grid.shape[1:]) / self.usual, letterbox)[0]

    def _standard(self, cells: Tensor) -> Tensor:
        return (cells - self.mean) / self.spread


def fine_cells(features: PixelFeatures) -> Tensor:
    """Return the finest features that tell surfaces apart, (C, h, w): those at stride 8, each the mean of 3 x 3.

    An encoder without such has its embedding compared.
    """
    fine = features.high_res[-1] if features.high_res else features.embedding
    return functional.avg_pool2d(fine.float(), 3, 1, 1, count_include_pad=False)[0]


def peak_among(maps: Sequence[NDArray[np.float32]], rarities: Sequence[NDArray[np.float32]]) -> float:
    """Return what the maps (2, H, W) of most good examples reach, weighed with how rare each is among the others.

    A part of a mask has to be clearer than that. Not than what all reach: one of them may be no good example.
    """
    reached = [float(weigh(own, rarity).mean(0).max()) for own, rarity in zip(maps, rarities, strict=True)]
    return min(float(np.quantile(reached, MOST_SHARE)), MOST_PEAK)


def build_bank(seen: Sequence[tuple[PixelFeatures, Letterbox]]) -> tuple[MemoryBank, list[NDArray[np.float32]]]:
    """Return a bank of good examples, and how rare each of their pixels is among the others, (H, W) an example.

    Args:
        seen: the features of each one's canvas, batch 1, and how it maps back; at least one.
    """
    grids = [fine_cells(features) for features, _ in seen]  # (C, h, w) each
    shown = [_shows(grid, letterbox) for grid, (_, letterbox) in zip(grids, seen, strict=True)]  # (h * w,) each
    every = torch.cat([grid.flatten(1).T[own] for grid, own in zip(grids, shown, strict=True)])  # (P, C)
    # by the root, so that distances do not grow with the channels
    spread = (every.std(0, correction=0) + 1e-4) * every.shape[1] ** 0.5
    bank = MemoryBank(every[:0], every.mean(0), spread, 1.0)
    cells = [bank._standard(grid.flatten(1).T) for grid in grids]
    far = [_nearest_elsewhere(own, *grid.shape[1:]) for own, grid in zip(cells, grids, strict=True)]
    every_far = torch.cat([nearest[own] for nearest, own in zip(far, shown, strict=True)])
    usual = max(1e-6, float(np.quantile(every_far.cpu().numpy(), USUAL_SHARE)))
    rarities = []
    for i, (nearest, (_, letterbox)) in enumerate(zip(far, seen, strict=True)):
        others = [cells[j][shown[j]] for j in range(len(grids)) if j != i]
        if others:
            nearest = torch.minimum(nearest, _nearest(cells[i], _thinned(torch.cat(others))))
        rarities.append(restore(nearest.view(1, *grids[i].shape[1:]) / usual, letterbox)[0])
    kept = _thinned(torch.cat([grid[own] for grid, own in zip(cells, shown, strict=True)]))
    return replace(bank, cells=kept, usual=usual), rarities


def weigh(maps: NDArray[np.float32], rarity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return maps (..., H, W) in [0, 1] whose odds are multiplied by a power of the rarity (H, W)."""
    factor = np.clip(rarity, 1 / MOST_RARE, MOST_RARE) ** POWER
    weighed = maps * factor
    return (weighed / (1 - maps + weighed)).astype(np.float32)


def _shows(grid: Tensor, letterbox: Letterbox) -> Tensor:
    """Return which cells of a grid (C, h, w) show the image, not the canvas beside it: bool (h * w,)."""
    rows, columns = (max(1, round(side * grid.shape[-1] / letterbox.canvas)) for side in letterbox.content_hw)
    inside = torch.zeros(grid.shape[1:], dtype=torch.bool, device=grid.device)
    inside[:rows, :columns] = True
    return inside.flatten()


def _thinned(cells: Tensor) -> Tensor:
    """Return at most MOST_CELLS of (P, C), evenly taken."""
    return cells[:: -(-len(cells) // MOST_CELLS)]


def _nearest(cells: Tensor, bank: Tensor) -> Tensor:
    """Return the distance of each of cells (P, C) to the nearest of the bank (N, C), (P,)."""
    return torch.cat([torch.cdist(chunk, bank).amin(1) for chunk in cells.split(CHUNK)])


def _nearest_elsewhere(cells: Tensor, rows: int, columns: int) -> Tensor:
    """Return the distance of an image's cells (rows * columns, C) to the nearest that is not around them.

    A cell to which all others lie near, as in a tiny image, is compared with all of them.
    """
    at = torch.arange(rows * columns, device=cells.device)
    row, column = at // columns, at % columns
    nearest = []
    for chunk, y, x in zip(cells.split(CHUNK), row.split(CHUNK), column.split(CHUNK), strict=True):
        distance = torch.cdist(chunk, cells)  # (chunk, P)
        around = ((y[:, None] - row).abs() <= OWN_CELLS) & ((x[:, None] - column).abs() <= OWN_CELLS)
        hidden = around & ~around.all(1, keepdim=True)
        nearest.append(distance.masked_fill(hidden, float("inf")).amin(1))
    return torch.cat(nearest)

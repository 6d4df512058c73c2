"""Outlines: where a defect ends is told by the image, which is finer than the map.

The pixel encoder sees a photograph at some hundred pixels, and the decoder's logits are four times coarser. Around each
place two Gaussian models of the gray value are made, of what the map calls a defect and of the surface beside it (as
in localized region-based contours, Lankton and Tannenbaum 2008), and each pixel's odds are moved by which of the two it
is likelier of. How sure the map is may fall but not rise beyond its surroundings: this says where, not whether.
"""

# Paper differs: its maps are the decoder's, enlarged
# H x W the image's own size; h x w its pixels, fewer for a large one; r x c cells of the models

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FINEST = 1024  # pixels along what one look shows: larger images are outlined at this
CELLS = 128  # of the models, along what one look shows
REACH = 6.0  # cells: standard deviation of the window that a model is made of
AROUND = 3  # cells: so far the map's highest value bounds how sure a pixel becomes
SMOOTH_PX = 0.7  # noise of single pixels is no outline
LEAST_SPREAD = 0.02  # of gray values in [0, 1]: flat surfaces differ by rounding
LEAST_SHARE = 1e-3  # of a window: nothing is divided by less
ENOUGH = 0.15  # share of a window that the defect takes from which its model counts in full
MOST = 3.0  # logits that a pixel can be moved by, before the strength
STRIP = 512  # rows worked on at a time


def outline(
    maps: NDArray[np.float32], rgb: NDArray[np.uint8], strength: float, seen_px: int | None = None
) -> NDArray[np.float32]:
    """Return maps whose outlines follow the image.

    Args:
        maps: (2, H, W), p_seg and p_ano, in [0, 1].
        rgb: uint8 (H, W, 3).
        strength: by which a pixel's logit follows the models' log-likelihood ratio; 0 leaves all as it is.
        seen_px: how much of the image one look shows, px; None for its longer side.

    Returns:
        float32 (2, H, W) in [0, 1].
    """
    if not strength:
        return maps
    height, width = rgb.shape[:2]
    seen_px = min(seen_px or max(height, width), max(height, width))
    step = math.ceil(seen_px / FINEST)
    cell = max(1, round(seen_px / step / CELLS))
    gray = _means(rgb.mean(axis=2, dtype=np.float32) / 255, step)  # (h, w)
    gray = ndimage.gaussian_filter(gray, SMOOTH_PX, mode="nearest")
    slope, offset = _models(gray, _means(maps.mean(axis=0), step), cell)  # (r, c) each
    size_hw = gray.shape
    ratio = np.clip(_enlarged(slope, cell, size_hw) * gray + _enlarged(offset, cell, size_hw), -MOST, MOST)
    factor = np.exp(strength * ratio)
    peaks = [_combined(np.maximum, own, cell * step) for own in maps]
    highest = [ndimage.maximum_filter(own, 2 * AROUND + 1, mode="nearest") for own in peaks]
    out = np.empty_like(maps)
    for top in range(0, height, STRIP):
        rows = slice(top, min(height, top + STRIP))
        by = _enlarged(factor, step, (height, width), rows)
        for own, bound, new in zip(maps, highest, out, strict=True):
            p = own[rows]
            moved = p * by
            moved /= 1 - p + moved
            new[rows] = np.minimum(moved, np.maximum(p, _enlarged(bound, cell * step, (height, width), rows)))
    return out


def _models(
    gray: NDArray[np.float32], share: NDArray[np.float32], cell: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return slope and offset (r, c) of the log-likelihood ratio, defect to surface, as a line in the gray value.

    gray, share: (h, w): the image, and how much of a defect each pixel is. Both models have one variance, the sum of
    theirs, so the ratio is a line.
    """
    squared = gray * gray
    sums = [_means(values, cell) for values in (share, share * gray, share * squared, gray, squared)]
    taken, of_gray, of_squared, gray_mean, squared_mean = (
        ndimage.gaussian_filter(values, REACH, mode="nearest") for values in sums
    )
    defect, surface = np.maximum(taken, LEAST_SHARE), np.maximum(1 - taken, LEAST_SHARE)
    mean_in, mean_out = of_gray / defect, (gray_mean - of_gray) / surface
    spread_in = np.maximum(of_squared / defect - mean_in**2, 0)
    spread_out = np.maximum((squared_mean - of_squared) / surface - mean_out**2, 0)
    counts = np.minimum(1, defect / ENOUGH) / (spread_in + spread_out + LEAST_SPREAD**2)
    return counts * (mean_in - mean_out), counts * (mean_out**2 - mean_in**2) / 2


def _means(values: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Return the means (ceil(H / step), ceil(W / step)) of squares of values (H, W); the last ones may be narrower."""
    if step == 1:
        return values
    counts = np.multiply.outer(*(np.minimum(step, length - np.arange(0, length, step)) for length in values.shape))
    return (_combined(np.add, values, step) / counts).astype(np.float32)


def _combined(by: np.ufunc, values: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Return each square of step px of values (H, W) as one value: their sum by np.add, the highest by np.maximum."""
    rows, columns = (np.arange(0, length, step) for length in values.shape)
    return by.reduceat(by.reduceat(values, rows, axis=0), columns, axis=1)


def _enlarged(
    values: NDArray[np.float32], step: int, size_hw: tuple[int, ...], rows: slice | None = None
) -> NDArray[np.float32]:
    """Return values (r, c), one for each square of step px, at the pixels (H, W) or some rows of them, bilinearly."""
    first, last = (0, size_hw[0]) if rows is None else (rows.start, rows.stop)
    if step == 1:
        return values[first:last]
    for axis, at in ((0, np.arange(first, last)), (1, np.arange(size_hw[1]))):
        place = np.clip((at + 0.5) / step - 0.5, 0, values.shape[axis] - 1)
        low = place.astype(int)
        high = np.minimum(low + 1, values.shape[axis] - 1)
        share = (place - low).astype(np.float32)
        share = share[:, None] if axis == 0 else share
        values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return values

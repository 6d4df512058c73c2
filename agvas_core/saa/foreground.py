"""Where the object is, without a detector: what stands out from an even background; None when there is none."""

# h, w: the working grid

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from agvas_core.saa.candidates import ObjectRegion

_GRID_PX = 256  # colours are compared on a grid of this longer side
_RIM_SHARE = 0.02  # of the longer side: the border that shows the background
_EVEN_LEVELS = 14.0  # the background's colours stay within so many of 255 levels (median distance)
_LEAST_LEVELS = 30.0  # what is at least so far from the background's colour is the object
_RIM_IS_BACKGROUND = 0.9  # share of the border that must be background
_OBJECT_SHARES = (0.15, 0.9)  # of the image; what is smaller may be a large defect of a plain surface


def find_object(rgb: NDArray[np.uint8], hw: tuple[int, int], count: int = 1) -> ObjectRegion:
    """Return the object of a photo on an even background, or ObjectRegion() for surfaces and busy scenes.

    Args:
        rgb: uint8 (H, W, 3).
        hw: the grid of the mask returned.
        count: how many objects there may be; each is then allowed to be so much smaller.
    """
    scale = min(1.0, _GRID_PX / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    small = np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize(size, Image.Resampling.BOX), dtype=np.float32)
    if min(size) < 16:
        return ObjectRegion()
    rim = np.ones(small.shape[:2], dtype=bool)
    width = max(2, round(_RIM_SHARE * max(size)))
    rim[width:-width, width:-width] = False
    background = np.median(small[rim], axis=0)  # (3,)
    distance = np.abs(small - background).max(axis=2)
    if float(np.median(distance[rim])) > _EVEN_LEVELS:
        return ObjectRegion()
    limit = max(_LEAST_LEVELS, 3 * float(np.percentile(distance[rim], 75)))
    found = distance > limit
    if 1 - found[rim].mean() < _RIM_IS_BACKGROUND:
        return ObjectRegion()
    found = ndimage.binary_closing(found, iterations=2)
    found = ndimage.binary_opening(ndimage.binary_fill_holes(found), iterations=2)
    labels, parts = ndimage.label(found)
    if not parts:
        return ObjectRegion()
    areas = np.bincount(labels.ravel())[1:] / labels.size
    large = np.flatnonzero(areas >= _OBJECT_SHARES[0] / count) + 1
    mask = np.isin(labels, large)
    if not large.size or mask.mean() > _OBJECT_SHARES[1]:
        return ObjectRegion()
    mask = ndimage.binary_dilation(mask, iterations=2)  # defects of the edge belong to the object
    grown = Image.fromarray(mask).resize((hw[1], hw[0]), Image.Resampling.NEAREST)
    return ObjectRegion(float(areas.max()), np.asarray(grown))

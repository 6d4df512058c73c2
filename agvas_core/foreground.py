"""What stands out from an even background, without a detector; nothing on surfaces and in busy scenes."""

# h, w: the working grid

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

_GRID_PX = 256  # colours are compared on a grid of this longer side
_RIM_SHARE = 0.02  # of the longer side: the border that shows the background
_EVEN_LEVELS = 14.0  # the background's colours stay within so many of 255 levels (median distance)
_LEAST_LEVELS = 30.0  # what is at least so far from the background's colour is the object
_RIM_IS_BACKGROUND = 0.9  # share of the border that must be background
_OBJECT_SHARES = (0.15, 0.9)  # of the image; what is smaller may be a large defect of a plain surface


def object_labels(rgb: NDArray[np.uint8], count: int = 1) -> NDArray[np.int32] | None:
    """Return the objects of a photo on an even background on a small grid (h, w), from 1, 0 elsewhere, or None.

    Args:
        rgb: uint8 (H, W, 3).
        count: how many objects there may be; each is then allowed to be so much smaller.
    """
    scale = min(1.0, _GRID_PX / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    small = np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize(size, Image.Resampling.BOX), dtype=np.float32)
    if min(size) < 16:
        return None
    rim = np.ones(small.shape[:2], dtype=bool)
    width = max(2, round(_RIM_SHARE * max(size)))
    rim[width:-width, width:-width] = False
    background = np.median(small[rim], axis=0)  # (3,)
    distance = np.abs(small - background).max(axis=2)
    if float(np.median(distance[rim])) > _EVEN_LEVELS:
        return None
    limit = max(_LEAST_LEVELS, 3 * float(np.percentile(distance[rim], 75)))
    found = distance > limit
    if 1 - found[rim].mean() < _RIM_IS_BACKGROUND:
        return None
    found = ndimage.binary_closing(found, iterations=2)
    found = ndimage.binary_opening(ndimage.binary_fill_holes(found), iterations=2)
    labels, parts = ndimage.label(found)
    areas = np.bincount(labels.ravel(), minlength=2)[1:] / labels.size
    large = np.flatnonzero(areas >= _OBJECT_SHARES[0] / count) + 1
    mask = np.isin(labels, large)
    if not parts or not large.size or mask.mean() > _OBJECT_SHARES[1]:
        return None
    return np.where(mask, labels, 0).astype(np.int32)


def object_hw(rgb: NDArray[np.uint8]) -> tuple[float, float] | None:
    """Return height and width, px of rgb (H, W, 3), of the one object of a photo on an even background, or None."""
    labels = object_labels(rgb)
    if labels is None or len(boxes := [box for box in ndimage.find_objects(labels) if box is not None]) != 1:
        return None
    rows, columns = boxes[0]
    height, width = rgb.shape[0] / labels.shape[0], rgb.shape[1] / labels.shape[1]
    return (rows.stop - rows.start) * height, (columns.stop - columns.start) * width

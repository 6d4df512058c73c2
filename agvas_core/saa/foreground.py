"""The object as SAA+'s rules need it, without a detector: what stands out from an even background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from agvas_core.foreground import object_labels
from agvas_core.saa.candidates import ObjectRegion


def find_object(rgb: NDArray[np.uint8], hw: tuple[int, int], count: int = 1) -> ObjectRegion:
    """Return the object of a photo on an even background, or ObjectRegion() for surfaces and busy scenes.

    Args:
        rgb: uint8 (H, W, 3).
        hw: the grid of the mask returned.
        count: how many objects there may be; each is then allowed to be so much smaller.
    """
    labels = object_labels(rgb, count)
    if labels is None:
        return ObjectRegion()
    area = np.bincount(labels.ravel())[1:].max() / labels.size
    mask = ndimage.binary_dilation(labels > 0, iterations=2)  # defects of the edge belong to the object
    grown = Image.fromarray(mask).resize((hw[1], hw[0]), Image.Resampling.NEAREST)
    return ObjectRegion(float(area), np.asarray(grown))

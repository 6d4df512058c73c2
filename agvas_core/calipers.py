"""Calipers: how long a marked part is and how wide, whichever way it lies (maximum and minimum Feret diameter)."""

# H, W: size of the mask. N: corners of pixels on its border; V: those of its convex hull.

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from agvas_core.regions import bounding_box


def calipers(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the largest and the smallest distance, px, of two parallel lines that hold a mask (H, W) between them.

    The first is how long it is, the second how wide; of a bent line that is the width of its bow. Pixels are squares,
    so a single one is 1.41 long and 1 wide. An empty mask is 0 long and 0 wide.
    """
    if not mask.any():
        return 0.0, 0.0
    rows, cols = bounding_box(mask)
    part = mask[rows, cols]
    filled = np.flatnonzero(part.any(axis=1))
    left = part[filled].argmax(axis=1)
    right = part.shape[1] - part[filled, ::-1].argmax(axis=1)  # exclusive
    corners = np.concatenate(
        [np.stack((x, y), axis=1) for x in (left, right) for y in (filled, filled + 1)]
    )  # (N, 2) as (x, y): what lies between a row's ends changes no hull
    hull = corners[ConvexHull(corners).vertices].astype(np.float64)  # (V, 2), in their order around it
    sides = np.roll(hull, -1, axis=0) - hull
    normals = np.stack((-sides[:, 1], sides[:, 0]), axis=1) / np.linalg.norm(sides, axis=1, keepdims=True)
    across = hull @ normals.T  # (V, V): one of the two closest lines lies along a side of the hull
    return float(pdist(hull).max()), float(np.ptp(across, axis=0).min())

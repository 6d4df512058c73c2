"""Views of one image: what is looked at beside the whole of it, and how the views' maps become one.

A small model that sees a large photograph only once, shrunk to its canvas, loses what is tiny; looking again at
overlapping tiles finds it. A view from the other side (mirrored) steadies the map; half of those have their contrast
raised where a photograph is flat, for what is faint there is missed as it is. Looks at smaller sizes see what is large.
Of each size's maps the root mean square is taken, and of the sizes': what one size sees clearly is not lost because
another cannot see it, and what only one look suspects does not decide alone. As sizes count alike, the larger ones
need fewer looks: two, and the smallest, which costs least, four.
"""

# H x W the image's own size, px

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import cycle, groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

MAX_TILES = 64
OVERLAP = 0.13  # of a tile's side: a quarter takes a fifth more time, and found 55 of 60 defects, not 54 (LOG.md)
LONG_OVERLAP = 0.25  # of the parts along a long image
LONG_SHAPE = 1.75  # longer side in shorter ones, from which an image is seen in parts along it, too
NARROW_PX = 192  # least length of such a part: narrower ones would show too little around a defect
CONTRAST_WANTED = 215.0  # gray levels between an image's darkest and brightest half per cent
CONTRAST_MOST = 2.0  # so that sensor noise does not become a texture


@dataclass(frozen=True)
class View:
    """A part of the image, as the pixel encoder gets to see it.

    Attributes:
        box_xyxy: the part, px, right and lower sides exclusive.
        mirrored: seen left to right.
        upside_down: seen from top to bottom, too.
        contrasted: seen with its contrast raised, where it is flat.
    """

    box_xyxy: tuple[int, int, int, int]
    mirrored: bool = False
    upside_down: bool = False
    contrasted: bool = False

    def crop(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the part of rgb (H, W, 3), turned as the view is; its contrast is raised later, when it is small."""
        left, top, right, bottom = self.box_xyxy
        return rgb[top:bottom, left:right][self._step(self.upside_down), self._step(self.mirrored)]

    def back(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return maps (..., h, w) of the part the right way round."""
        return maps[..., self._step(self.upside_down), self._step(self.mirrored)]

    @staticmethod
    def _step(turned: bool) -> slice:
        return slice(None, None, -1 if turned else None)


def turned_views(size_hw: tuple[int, int]) -> list[View]:
    """Return the four views of all of the image, as it is first, then mirrored each way, two of them contrasted."""
    box = (0, 0, size_hw[1], size_hw[0])
    return [
        View(box, mirrored, upside_down, contrasted=mirrored != upside_down)
        for upside_down in (False, True)
        for mirrored in (False, True)
    ]


def smaller_canvases(first: int, shares: Iterable[float], multiple: int = 32) -> list[int]:
    """Return the canvases, px, at shares of the first one, rounded to a multiple; only those below it, each once."""
    canvases = (max(multiple, round(first * share / multiple) * multiple) for share in shares)
    return [canvas for canvas in dict.fromkeys(canvases) if canvas < first]


def whole_views(size_hw: tuple[int, int], first: int, shares: Iterable[float]) -> list[tuple[View, int]]:
    """Return (view, canvas px) of the looks at all of an image, size by size, the first as it is on the first canvas.

    shares: see smaller_canvases. The smallest size has all four turned views, each larger one two of them in turn.
    """
    *larger, smallest = [first, *smaller_canvases(first, shares)]
    four = turned_views(size_hw)
    pairs = cycle((four[:2], four[2:]))
    return [(view, canvas) for canvas in larger for view in next(pairs)] + [(view, smallest) for view in four]


def joined_by_size(seen: Iterable[tuple[int, NDArray[np.float32]]]) -> NDArray[np.float32]:
    """Return the looks' maps (..., H, W) as one, in which sizes count alike; seen: (canvas px, maps), size by size."""
    return joined(joined(maps for _, maps in same) for _, same in groupby(seen, key=itemgetter(0)))


def joined(several: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the root mean square of maps (..., H, W), in the memory of the first; one alone stays as it is.

    They are summed as they come: eight looks at 40 MP would be 4 GB.
    """
    coming = iter(several)
    maps, count = next(coming), 1
    for look in coming:
        if count == 1:
            np.square(maps, out=maps)
        maps += np.square(look)
        count += 1
    return maps if count == 1 else np.sqrt(np.divide(maps, count, out=maps), out=maps)


def raise_contrast(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return rgb (h, w, 3) with its differences from its mean enlarged, half way (geometrically) to CONTRAST_WANTED."""
    darkest, brightest = np.percentile(rgb.mean(axis=2), [0.5, 99.5])
    gain = min(CONTRAST_MOST, math.sqrt(CONTRAST_WANTED / max(brightest - darkest, 1.0)))
    if gain <= 1:
        return rgb
    mean = rgb.mean(dtype=np.float32)
    return ((rgb - mean) * np.float32(gain) + mean).clip(0, 255).astype(np.uint8)


def tiles(size_hw: tuple[int, int], side: int, overlap: float = OVERLAP) -> list[View]:
    """Return overlapping square tiles of an image, row by row; [] when one view shows it all at full size.

    Args:
        size_hw: the image's height and width, px.
        side: the tiles' side, px. Larger ones are taken where more than MAX_TILES would be needed.
        overlap: share of the side that neighbours see both, at least.
    """
    if max(size_hw) <= side:
        return []
    while math.prod(len(_starts(length, side, overlap)) for length in size_hw) > MAX_TILES:
        side = math.ceil(side * 1.1)
    tops, lefts = (_starts(length, side, overlap) for length in size_hw)
    height, width = (min(side, length) for length in size_hw)
    return [View((left, top, left + width, top + height)) for top in tops for left in lefts]


def parts_along(size_hw: tuple[int, int]) -> list[View]:
    """Return overlapping parts of a long image, nearly square, each as it is and mirrored; [] where it is not long.

    Shrunk until its longer side fits the canvas, the photograph of a rail is a few px high.
    """
    if max(size_hw) < LONG_SHAPE * min(size_hw):
        return []
    parts = tiles(size_hw, max(min(size_hw), NARROW_PX), LONG_OVERLAP)
    return [view for part in parts for view in (part, replace(part, mirrored=True, contrasted=True))]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Return where tiles of a side begin along a length, evenly spread, neighbours sharing the overlap or more."""
    if length <= side:
        return [0]
    count = 1 + math.ceil((length - side) / (side * (1 - overlap)))
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def blend(
    parts: Iterable[tuple[View, NDArray[np.float32]]], size_hw: tuple[int, int], side: int
) -> NDArray[np.float32]:
    """Return the tiles' maps as one (..., H, W): a weighted mean in which no tile ends suddenly.

    Args:
        parts: tiles, and their maps (..., h, w) at the image's own scale; they cover the image.
        size_hw: H, W.
        side: the tiles' side, px.
    """
    total = np.zeros(1, dtype=np.float32)
    weights = np.zeros(size_hw, dtype=np.float32)
    for view, maps in parts:
        left, top, right, bottom = view.box_xyxy
        if total.ndim == 1:
            total = np.zeros((*maps.shape[:-2], *size_hw), dtype=np.float32)
        rows = _window(top, bottom, size_hw[0], side * OVERLAP)
        cols = _window(left, right, size_hw[1], side * OVERLAP)
        window = rows[:, None] * cols  # (h, w)
        total[..., top:bottom, left:right] += maps * window
        weights[top:bottom, left:right] += window
    return total / weights


def _window(start: int, stop: int, length: int, ramp: float) -> NDArray[np.float32]:
    """Return weights (stop - start,) that rise from the tile's ends; ends at the image's border do not fall."""
    at = np.arange(start, stop) + 0.5
    rise = np.ones(stop - start) if start == 0 else np.minimum(1.0, (at - start) / ramp)
    fall = np.ones(stop - start) if stop == length else np.minimum(1.0, (stop - at) / ramp)
    return (rise * fall).astype(np.float32)

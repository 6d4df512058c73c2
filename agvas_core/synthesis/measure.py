"""Facts measured on pixels: box, area, place, shape word, colour word and contrast of each labelled defect."""
# H, W: the image's size; images uint8 (3, H, W) or float in [0, 1]; labels uint8 (H, W)

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from agvas_core.regions import place_of
from agvas_core.synthesis.facts import DefectFacts

COLOR_WORDS: tuple[str, ...] = (
    "dark", "bright", "black", "white", "gray", "brown",
    "reddish", "yellowish", "greenish", "bluish", "purplish", "mixed",
)  # fmt: skip
SHAPE_WORDS: tuple[str, ...] = ("thin", "curved", "branching", "scattered", "elongated", "round", "irregular")


def shape_word(mask: NDArray[np.bool_]) -> str:
    """Return a plain word for the shape of a non-empty mask (H, W), cropped to its box or not."""
    area = int(mask.sum())
    y, x = np.nonzero(mask)
    cov = np.cov(np.stack([y, x])) + np.eye(2) / 12 if area > 1 else np.eye(2)
    minor, major = np.sqrt(np.linalg.eigvalsh(cov))
    outline = area - int(ndimage.binary_erosion(np.pad(mask, 1)).sum())
    width = 2 * area / max(1, outline)  # mean thickness: about 2 for a line two px wide
    is_line = 4 * major > 5 * width and outline > 0.38 * area
    parts, n = ndimage.label(mask, structure=np.ones((3, 3)))
    is_broken = n > 2 and np.bincount(parts.ravel())[1:].max() < 0.6 * area
    if is_broken and not (is_line and major > 5 * minor):
        return "scattered"
    if is_line:
        if major > 7 * minor:
            return "thin"
        if _crossings(mask, float(y.mean()), float(x.mean()), 2 * major) > 2:
            return "branching"
        return "curved" if major < 4.5 * minor else "thin"
    if major > 2.3 * minor:
        return "elongated"
    filled = area / (np.pi * 4 * major * minor)  # 1 for an ellipse
    return "round" if filled > 0.9 and major < 1.5 * minor else "irregular"


def _crossings(mask: NDArray[np.bool_], cy: float, cx: float, reach: float) -> int:
    """Return how often the mask crosses circles about a point, at most: 2 for a path, 3 and more for one that forks."""
    distance = np.hypot(np.arange(mask.shape[0])[:, None] - cy, np.arange(mask.shape[1])[None] - cx)
    rings = (np.abs(distance - share * reach) < 1.2 for share in (0.3, 0.5, 0.7))
    return max(ndimage.label(mask & ring, structure=np.ones((3, 3)))[1] for ring in rings)


def color_word(now: NDArray[np.floating], before: NDArray[np.floating]) -> str:
    """Return a plain word for the mean colour `now` (3,) on a ground of mean colour `before` (3,).

    A hue is named when the defect has one that the ground has not; else the tone is.
    """
    light, change = float(now.mean()), float(now.mean() - before.mean())
    hue, old_hue = _hue(now), _hue(before)
    if hue is not None and (old_hue is None or abs((hue - old_hue + 180) % 360 - 180) > 28):
        return _hue_word(hue, light)
    if light < 0.13 and change < 0:
        return "black"
    if light > 0.88 and change > 0:
        return "white"
    if hue is None and old_hue is not None and abs(change) < 0.08:
        return "gray"
    if abs(change) < 0.02:
        return "mixed"
    return "dark" if change < 0 else "bright"


def _hue(rgb: NDArray[np.floating]) -> float | None:
    """Return the hue in degrees, None for what looks gray."""
    return None if np.ptp(rgb) < 0.065 else colorsys.rgb_to_hsv(*np.clip(rgb, 0, 1))[0] * 360


def _hue_word(hue: float, light: float) -> str:
    if 8 < hue < 48 and light < 0.45:
        return "brown"
    for limit, word in ((26, "reddish"), (72, "yellowish"), (165, "greenish"), (258, "bluish"), (335, "purplish")):
        if hue < limit:
            return word
    return "reddish"


def measure(
    image: NDArray, labels: NDArray[np.uint8], kinds: list[str], clean: NDArray | None = None, min_area_px: int = 1
) -> tuple[NDArray[np.uint8], tuple[DefectFacts, ...]]:
    """Measure every defect and number them anew, largest first.

    Args:
        image: (3, H, W) float in [0, 1] with the defects.
        labels: uint8 (H, W), i + 1 where kinds[i] lies.
        kinds: names by label.
        clean: (3, H, W) the same scene without defects; without it, the ground beside the defect stands in.
        min_area_px: smaller defects are dropped from the labels and the facts.

    Returns:
        the new labels and the facts, so that facts[i] describes labels == i + 1.
    """
    h, w = labels.shape
    areas = np.bincount(labels.ravel(), minlength=len(kinds) + 1)[1 : len(kinds) + 1]
    order = [i for i in np.argsort(-areas, kind="stable") if areas[i] >= max(1, min_area_px)]
    renumber = np.zeros(256, np.uint8)
    facts = []
    boxes = ndimage.find_objects(labels, max_label=max(1, len(kinds)))
    for new, i in enumerate(order):
        renumber[i + 1] = new + 1
        box = boxes[i]
        mask = labels[box] == i + 1
        rows, cols = box
        y, x = np.nonzero(mask)
        cy, cx = float(y.mean() + rows.start), float(x.mean() + cols.start)
        inside = image[:, rows, cols][:, mask]
        if clean is None:
            pad = 6
            around = slice(max(0, rows.start - pad), rows.stop + pad), slice(max(0, cols.start - pad), cols.stop + pad)
            free = labels[around] == 0
            ground = image[:, around[0], around[1]][:, free] if free.any() else inside
            before = ground.mean(1, keepdims=True)
        else:
            before = clean[:, rows, cols][:, mask]
        shape = shape_word(mask)
        if shape == "branching" and kinds[i] != "crack":  # a loop or a ragged patch crosses circles as a fork does
            shape = "curved" if kinds[i] == "fiber" else "irregular"
        facts.append(
            DefectFacts(
                kind=kinds[i],
                color=color_word(inside.mean(1), before.mean(1)),
                shape=shape,
                area_px=int(areas[i]),
                box_xyxy=(cols.start, rows.start, cols.stop, rows.stop),
                centroid_yx=(cy, cx),
                place=place_of(cy, cx, h, w),
                contrast=float(np.abs(inside - before).mean()),
            )
        )
    return renumber[labels], tuple(facts)

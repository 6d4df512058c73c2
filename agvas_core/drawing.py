"""From predictions to pictures: overlay, heat map, and outlined crops of regions."""

# H, W: the photo's own size; h, w: the size at which it is shown (at most SHOWN_PX on the longer side)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from agvas_core.regions import bounding_box, region_labels
from agvas_core.structures import Prediction, Region

SHOWN_PX = 1280  # longer side of the pictures that people look at
CRISP_PX = 900  # smaller photos are enlarged for the overlay, so that outlines and numbers stay fine
VERMILION = (213, 94, 0)  # Okabe-Ito: anomaly
BLUE = (0, 114, 178)  # Okabe-Ito: selected region
DROPPED = (70, 70, 70)  # dashes around candidates that are not in the mask
NUMBERED = 30  # regions with a number; more would cover the picture
STRIP_BADGES = 6  # this many badges fit across the shorter side, so that a strip is not hidden under one
# where a number may be, the first free one: (dx, dy) away from its region
SIDES = ((-1, -1), (1, -1), (-1, 1), (1, 1), (0, -1), (-1, 0), (1, 0), (0, 1))
TINT = 0.38  # opacity of the anomaly tint
CROP_MARGIN = 0.5  # of the region's longer side, shown around it in its crop
CROP_PX = 64  # a crop shows at least this much of the photo, so that a speck has surroundings
CROP_CRISP_PX = 384  # smaller crops are enlarged to about this, as language models' eyes are about that large

# Eleven even steps of matplotlib's "inferno", a perceptually even colour map.
_HEAT_STEPS = np.array(
    [
        (0, 0, 4), (22, 11, 57), (66, 10, 104), (106, 23, 110), (147, 38, 103), (188, 55, 84),
        (221, 81, 58), (243, 120, 25), (252, 165, 10), (246, 215, 70), (252, 255, 164),
    ],
    dtype=np.float32,
)  # fmt: skip


def heat_lut() -> NDArray[np.uint8]:
    """Return the heat map's 256 colours, uint8 (256, 3)."""
    at = np.linspace(0, len(_HEAT_STEPS) - 1, 256)
    columns = [np.interp(at, np.arange(len(_HEAT_STEPS)), _HEAT_STEPS[:, c]) for c in range(3)]
    return np.stack(columns, axis=1).round().astype(np.uint8)  # (256, 3)


def shown_size_hw(size_hw: tuple[int, int], longest_px: int = SHOWN_PX) -> tuple[int, int]:
    """Return the size at which a picture of size_hw is shown; never larger than it is."""
    scale = min(1.0, longest_px / max(size_hw))
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def shrink(rgb: NDArray[np.uint8], longest_px: int = SHOWN_PX) -> Image.Image:
    """Return the photo (H, W, 3) at the size at which it is shown."""
    h, w = shown_size_hw((rgb.shape[0], rgb.shape[1]), longest_px)
    image = Image.fromarray(rgb)
    return image if image.size == (w, h) else image.resize((w, h), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size_px)


def enlarge(photo: Image.Image, longest_px: int = CRISP_PX) -> Image.Image:
    """Return a small photo enlarged by a whole factor to about longest_px; a large one as it is."""
    factor = min(8, longest_px // max(photo.size))
    size = photo.width * factor, photo.height * factor
    return photo.resize(size, Image.Resampling.BICUBIC) if factor > 1 else photo


def _shown(values: NDArray[Any], size_hw: tuple[int, int]) -> NDArray[Any]:
    """Return a mask or labels (H, W) at (h, w); a pixel is on when any of its source pixels is: specks stay visible."""
    if values.shape == size_hw:
        return values
    if size_hw[0] > values.shape[0]:
        rows, columns = (np.arange(s) * m // s for s, m in zip(size_hw, values.shape, strict=True))
        return values[rows[:, None], columns]
    shown = np.zeros(size_hw, values.dtype)
    ys, xs = np.nonzero(values.astype(bool, copy=False))  # of integers it takes five times as long
    shown[ys * size_hw[0] // values.shape[0], xs * size_hw[1] // values.shape[1]] = values[ys, xs]
    return shown


def _paint(
    canvas: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int], tint: float = TINT
) -> None:
    """Tint the mask on the canvas (h, w, 3) and outline it: a coloured line inside a thin dark and a light one."""
    if not mask.any():
        return
    line_px = max(2, round(max(mask.shape) / 350))
    halo_px = max(1, line_px // 2)
    box = bounding_box(mask, margin=line_px + halo_px)  # growing the whole picture would take longer than all else
    canvas, mask = canvas[box], mask[box]
    canvas[mask] = (canvas[mask] * (1 - tint) + np.array(colour) * tint).astype(np.uint8)
    grown = ndimage.binary_dilation(mask, iterations=line_px)
    halo = ndimage.binary_dilation(grown, iterations=halo_px) & ~grown
    canvas[grown & ~mask] = colour
    canvas[halo] = (255, 255, 255)


def overlay(photo: Image.Image, prediction: Prediction, selected_region: int | None = None) -> Image.Image:
    """Return the photo with the mask's tint and outline and the regions' numbers; the selected region is blue.

    Candidates that are not in the mask have a dashed box with their letter.
    """
    canvas = np.array(enlarge(photo))  # (h, w, 3)
    labels = _shown(region_labels(prediction.pred_mask), (canvas.shape[0], canvas.shape[1]))  # (h, w)
    _paint(canvas, labels > 0, VERMILION)
    if selected_region is not None:
        _paint(canvas, labels == selected_region, BLUE)
    picture = Image.fromarray(canvas)
    taken = _letter(picture, prediction)
    _number(picture, prediction, labels, taken, selected_region)
    return picture


def _badge_px(size: tuple[int, int], share: float) -> int:
    """Return a badge's radius: a share of the longer side, but on a strip no more than a part of its width."""
    return round(min(share * max(size), min(size) / STRIP_BADGES / 2))


def _letter(picture: Image.Image, prediction: Prediction) -> list[tuple[float, float]]:
    """Draw a dashed box with its letter around each candidate that has no pixel in the mask; return their x, y."""
    draw = ImageDraw.Draw(picture)
    scale = picture.height / prediction.size_hw[0]
    radius = max(8, _badge_px(picture.size, 1 / 70))
    line_px, font = max(2, radius // 6), _font(round(radius * 1.4))
    badges: list[tuple[float, float]] = []
    for candidate in reversed(prediction.candidates):
        left, top, right, bottom = candidate.box_xyxy
        if candidate.kept and prediction.pred_mask[top:bottom, left:right].any():
            continue
        x0, y0 = max(0.0, left * scale - 2 * line_px), max(0.0, top * scale - 2 * line_px)
        x1, y1 = (min(v * scale + 2 * line_px, m - 1) for v, m in zip((right, bottom), picture.size, strict=True))
        _dashed_box(draw, (x0, y0, x1, y1), line_px)
        y = y0 - radius if y0 >= 2 * radius else min(y1 + radius, picture.height - radius - 2)  # above it, or below
        x = min(max(x0, radius + 1), picture.width - radius - 2)
        while any(max(abs(x - bx), abs(y - by)) < 2 * radius for bx, by in badges) and x > 3 * radius:
            x -= 2 * radius + 1  # beside the badge of a close neighbour
        badges.append((x, y))
        draw.rectangle((x - radius, y - radius, x + radius, y + radius), fill="white", outline=DROPPED, width=line_px)
        draw.text((x, y), candidate.label, fill=DROPPED, font=font, anchor="mm")
    return badges


def _dashed_box(draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], line_px: int) -> None:
    """Draw a box of dark dashes on a light line, so that it shows on any surface."""
    x0, y0, x1, y1 = box
    draw.rectangle(box, outline="white", width=line_px)
    dash = 4 * line_px
    for x in np.arange(x0, x1, 2 * dash):
        for y in (y0, y1):
            draw.line((x, y, min(x + dash, x1), y), fill=DROPPED, width=line_px)
    for y in np.arange(y0, y1, 2 * dash):
        for x in (x0, x1):
            draw.line((x, y, x, min(y + dash, y1)), fill=DROPPED, width=line_px)


def _number(
    picture: Image.Image,
    prediction: Prediction,
    labels: NDArray[np.int64],
    taken: list[tuple[float, float]],
    selected_region: int | None,
) -> None:
    """Write each region's number in a round badge beside it; labels (h, w) of the regions, taken: x, y of letters."""
    draw = ImageDraw.Draw(picture)
    radius = max(9, _badge_px(picture.size, 1 / 58))
    font = _font(round(radius * 1.35))
    numbered = prediction.regions[:NUMBERED]
    places = _beside(numbered, labels, picture.height / prediction.size_hw[0], radius, taken)
    for region, (x, y) in reversed(list(zip(numbered, places, strict=True))):
        colour = BLUE if region.index == selected_region else VERMILION
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius), fill="white", outline=colour, width=max(2, radius // 5)
        )
        draw.text((x, y), str(region.index), fill=(20, 20, 20), font=font, anchor="mm")


def _beside(
    regions: Sequence[Region], labels: NDArray[np.int64], scale: float, radius: int, taken: list[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Return where each region's badge is drawn, (x, y): at the region's own edge, and on no other region or badge.

    The corner of a box may be far from a slanted crack, and on its neighbour; so the badge goes to the region's pixel
    that lies nearest to the upper left, or on another side where something else is there.
    """
    h, w = labels.shape
    disc = np.hypot(*np.ogrid[-radius : radius + 1, -radius : radius + 1]) <= radius
    places: list[tuple[float, float]] = []
    for region in regions:
        left, top, right, bottom = (v * scale for v in region.box_xyxy)
        part = slice(int(top), int(bottom) + 1), slice(int(left), int(right) + 1)
        ys, xs = np.nonzero(labels[part] == region.index)
        ys, xs = ys + part[0].start, xs + part[1].start
        if not len(ys):  # lost at the size shown
            ys, xs = (np.array([int(v * scale)]) for v in region.centroid_yx)
        best: tuple[float, tuple[float, float]] | None = None
        for dx, dy in SIDES:
            at = (
                int(np.argmax(dx * xs + dy * ys))
                if 0 in (dx, dy)
                else int(np.argmin((xs - (left if dx < 0 else right)) ** 2 + (ys - (top if dy < 0 else bottom)) ** 2))
            )
            push = 1.2 * radius / np.hypot(dx, dy)
            x = float(min(max(xs[at] + dx * push, radius + 1), w - radius - 2))
            y = float(min(max(ys[at] + dy * push, radius + 1), h - radius - 2))
            covered = _covered(labels, region.index, round(x), round(y), disc)
            crowded = sum(np.hypot(x - bx, y - by) < 2 * radius for bx, by in (*taken, *places))
            cost = covered + crowded * disc.sum()
            if best is None or cost < best[0]:
                best = cost, (x, y)
            if cost == 0:
                break
        assert best is not None
        places.append(best[1])
    return places


def _covered(labels: NDArray[np.int64], index: int, x: int, y: int, disc: NDArray[np.bool_]) -> int:
    """Return how many pixels of other regions (labels, h, w) lie under a badge at x, y (disc, d, d)."""
    radius = disc.shape[0] // 2
    x0, y0 = max(0, x - radius), max(0, y - radius)
    under = labels[y0 : y + radius + 1, x0 : x + radius + 1]
    shape = disc[y0 - y + radius :, x0 - x + radius :][: under.shape[0], : under.shape[1]]
    return int(((under > 0) & (under != index) & shape).sum())


def heat_map(prediction: Prediction, size_hw: tuple[int, int]) -> Image.Image:
    """Return the anomaly map in colours, 0 to 1 on the whole scale."""
    levels = Image.fromarray(prediction.anomaly_map)
    shown = np.asarray(levels.resize((size_hw[1], size_hw[0]), Image.Resampling.BILINEAR, reducing_gap=2.0))
    return Image.fromarray(heat_lut()[(shown * 255).round().clip(0, 255).astype(np.uint8)])  # (h, w, 3)


def region_crop(rgb: NDArray[np.uint8], prediction: Prediction, region: Region) -> Image.Image:
    """Return the part of the photo (H, W, 3) around a region, which is outlined but keeps its own colours."""
    height, width = prediction.size_hw
    left, top, right, bottom = region.box_xyxy
    margin = max(round(CROP_MARGIN * max(right - left, bottom - top)), (CROP_PX - min(right - left, bottom - top)) // 2)
    x0, y0 = max(0, left - margin), max(0, top - margin)
    x1, y1 = min(width, right + margin), min(height, bottom + margin)
    inside = region_labels(prediction.pred_mask)[y0:y1, x0:x1] == region.index
    canvas = np.array(enlarge(shrink(rgb[y0:y1, x0:x1]), CROP_CRISP_PX))  # (h, w, 3)
    _paint(canvas, _shown(inside, (canvas.shape[0], canvas.shape[1])), VERMILION, tint=0.0)
    return Image.fromarray(canvas)

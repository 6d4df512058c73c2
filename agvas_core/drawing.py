"""From predictions to pictures: overlay, heat map, and outlined crops of regions."""

# H, W: the photo's own size; h, w: the size at which it is shown (at most SHOWN_PX on the longer side)

from __future__ import annotations

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


def _shown_mask(mask: NDArray[np.bool_], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask (H, W) at (h, w); a pixel is on when any of its source pixels is, so that specks stay visible."""
    if mask.shape == size_hw:
        return mask
    if size_hw[0] > mask.shape[0]:
        rows, columns = (np.arange(s) * m // s for s, m in zip(size_hw, mask.shape, strict=True))
        return mask[rows[:, None], columns]
    shown = np.zeros(size_hw, bool)
    ys, xs = np.nonzero(mask)
    shown[ys * size_hw[0] // mask.shape[0], xs * size_hw[1] // mask.shape[1]] = True
    return shown


def _region_mask(mask: NDArray[np.bool_], region: Region) -> NDArray[np.bool_]:
    """Return the part of the mask (H, W) that belongs to the region."""
    left, top, right, bottom = region.box_xyxy
    labels, _ = ndimage.label(mask[top:bottom, left:right], structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    inside = np.zeros_like(mask)
    if len(sizes):
        inside[top:bottom, left:right] = labels == 1 + int(np.argmin(np.abs(sizes - region.area_px)))
    return inside


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
    size_hw = canvas.shape[0], canvas.shape[1]
    _paint(canvas, _shown_mask(prediction.pred_mask, size_hw), VERMILION)
    for region in prediction.regions:
        if region.index == selected_region:
            part = _region_mask(prediction.pred_mask, region)
            _paint(canvas, _shown_mask(part, size_hw), BLUE)
    picture = Image.fromarray(canvas)
    _letter(picture, prediction)
    _number(picture, prediction, selected_region)
    return picture


def _letter(picture: Image.Image, prediction: Prediction) -> None:
    """Draw a dashed box with its letter around each candidate that has no pixel in the mask."""
    draw = ImageDraw.Draw(picture)
    scale = picture.height / prediction.size_hw[0]
    radius = max(8, round(max(picture.size) / 70))
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


def _number(picture: Image.Image, prediction: Prediction, selected_region: int | None) -> None:
    """Write each region's number in a round badge at the upper left of its box."""
    draw = ImageDraw.Draw(picture)
    scale = picture.height / prediction.size_hw[0]
    radius = max(9, round(max(picture.size) / 58))
    font = _font(round(radius * 1.35))
    for region in reversed(prediction.regions[:30]):
        left, top, _, _ = region.box_xyxy
        x = min(max(left * scale - radius * 0.6, radius + 1), picture.width - radius - 2)
        y = min(max(top * scale - radius * 0.6, radius + 1), picture.height - radius - 2)
        colour = BLUE if region.index == selected_region else VERMILION
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius), fill="white", outline=colour, width=max(2, radius // 5)
        )
        draw.text((x, y), str(region.index), fill=(20, 20, 20), font=font, anchor="mm")


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
    _paint(canvas, _shown_mask(inside, (canvas.shape[0], canvas.shape[1])), VERMILION, tint=0.0)
    return Image.fromarray(canvas)

"""A contact sheet of failures, small enough to be committed: image, truth, map with the mask's outline."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from agvas_core.drawing import BLUE, heat_map
from agvas_core.evaluation.failures import Failure

SIDES_PX = (240, 220, 200, 180, 160, 140, 120, 100, 80)  # of a cell; the largest that keeps the file small is taken
COLOURS = 250
GAP_PX, TEXT_PX, HEAD_PX, TITLE_PX = 8, 12, 34, 26
WHITE = (255, 255, 255)
BLOCKS = 2  # failures beside each other


def write_sheet(failures: list[Failure], path: Path, title: str, limit_kb: int = 600) -> int:
    """Write a PNG of at most limit_kb and return its size in KB; ValueError when that cannot be."""
    for side in SIDES_PX:
        data = io.BytesIO()
        with_few_colours(sheet(failures, side, title)).save(data, "PNG", optimize=True)
        if len(data.getvalue()) <= 1000 * limit_kb:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.getvalue())
            return round(len(data.getvalue()) / 1000)
    raise ValueError(f"{len(failures)} failures do not fit into {limit_kb} KB; ask for fewer of each kind.")


def with_few_colours(picture: Image.Image) -> Image.Image:
    """Return a picture with a palette, in which the outlines' colours are exact."""
    colours = picture.quantize(COLOURS).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*colours[: 3 * COLOURS], *WHITE, *BLUE])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def sheet(failures: list[Failure], side: int, title: str) -> Image.Image:
    """Return all failures, two beside each other, cells of a side in px."""
    width, height = 3 * (side + GAP_PX) + GAP_PX, side + HEAD_PX + GAP_PX
    rows = -(-len(failures) // BLOCKS)
    canvas = Image.new("RGB", (BLOCKS * width, rows * height + TITLE_PX), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(TEXT_PX)
    draw.text((GAP_PX, 6), title, fill="black", font=ImageFont.load_default(TEXT_PX + 1))
    for n, failure in enumerate(failures):
        x, y = (n % BLOCKS) * width + GAP_PX, (n // BLOCKS) * height + TITLE_PX
        head = f"{failure.kind}, {100 * failure.share:.2f} % of the image; {failure.item.category}"
        for line, text in enumerate((head, failure.item.name)):
            draw.text((x, y + line * (TEXT_PX + 3)), _fitting(text, width - 2 * GAP_PX, font), fill="black", font=font)
        for column, cell in enumerate(cells(failure, side)):
            canvas.paste(cell, (x + column * (side + GAP_PX), y + HEAD_PX))
    return canvas


def cells(failure: Failure, side: int) -> list[Image.Image]:
    """Return the image, the image with its truth outlined in blue, the map with the mask outlined in white."""
    photo = Image.fromarray(failure.item.image.rgb)
    scale = side / max(photo.size)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    photo = photo.resize(size, Image.Resampling.LANCZOS)
    heat = heat_map(failure.prediction, (size[1], size[0]))
    truth = outlined(photo, failure.item.gt_mask, BLUE)
    return [photo, truth, outlined(heat, failure.prediction.pred_mask, WHITE)]


def outlined(picture: Image.Image, mask: np.ndarray, colour: tuple[int, int, int]) -> Image.Image:
    """Return the picture with a line around a mask (H, W) of any size; a speck is still seen."""
    rows = np.linspace(0, mask.shape[0], picture.height + 1).astype(int)
    cols = np.linspace(0, mask.shape[1], picture.width + 1).astype(int)
    if mask.shape[0] >= picture.height and mask.shape[1] >= picture.width:  # a pixel is in it where any of its own is
        small = np.logical_or.reduceat(np.logical_or.reduceat(mask, rows[:-1], axis=0), cols[:-1], axis=1)
    else:
        small = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))
    line = ndimage.binary_dilation(small, iterations=2) & ~ndimage.binary_dilation(small)
    canvas = np.array(picture)
    canvas[line] = colour
    return Image.fromarray(canvas)


def _fitting(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return a text cut to a width in px."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text} ...") > width:
        text = text[:-1]
    return f"{text} ..."

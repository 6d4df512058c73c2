"""Numbers and letters as strokes: a small font of polylines, kept as distance fields and read per pixel."""
# G glyphs; a glyph's box is 1 wide and 1 high, strokes keep a margin inside it

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from agvas_core.synthesis.noise import chance, each, rotated, smooth_noise, step

# Polylines on a grid 2 wide and 4 high, top left is 00; strokes of a glyph are parted by a blank.
STROKES: dict[str, str] = {
    "0": "00 20 24 04 00",
    "1": "01 10 14|04 24",
    "2": "00 20 22 04 24",
    "3": "00 20 24 04|02 22",
    "4": "10 03 23|21 24",
    "5": "20 00 02 22 24 04",
    "6": "20 00 04 24 22 02",
    "7": "00 20 04",
    "8": "00 20 24 04 00|02 22",
    "9": "22 02 00 20 24 04",
    "A": "04 10 24|03 23",
    "B": "00 10 21 12 02 12 23 14 04 00",
    "C": "20 00 04 24",
    "D": "00 10 21 23 14 04 00",
    "E": "20 00 04 24|02 12",
    "F": "20 00 04|02 12",
    "H": "00 04|20 24|02 22",
    "K": "00 04|20 02 24",
    "L": "00 04 24",
    "M": "04 00 12 20 24",
    "N": "04 00 24 20",
    "P": "04 00 20 22 02",
    "R": "04 00 20 22 02 24",
    "S": "20 00 02 22 24 04",
    "T": "00 20|10 14",
    "U": "00 04 24 20",
    "V": "00 14 20",
    "X": "00 24|20 04",
    "Z": "00 20 04 24",
    "-": "02 22",
    "/": "20 04",
    ".": "14 14",
}
CELL_HW = (32, 24)  # px of a glyph's distance field


@lru_cache(maxsize=4)
def _atlas(device: str) -> Tensor:
    """Return the distance to the strokes (1, 1, h, G * w), in glyph heights."""
    h, w = CELL_HW
    y = ((torch.arange(h) + 0.5) / h).view(h, 1)
    x = ((torch.arange(w) + 0.5) / w).view(1, w)
    fields = []
    for strokes in STROKES.values():
        field = torch.full((h, w), 9.0)
        for stroke in strokes.split("|"):
            points = [(0.2 + 0.6 * int(p[0]) / 2, 0.15 + 0.7 * int(p[1]) / 4) for p in stroke.split()]
            for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
                dx, dy = x1 - x0, y1 - y0
                t = (((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-6)).clamp(0, 1)
                # A glyph is narrower than high: its width counts 0.7 in distances.
                field = torch.minimum(field, torch.hypot(0.7 * (x - x0 - t * dx), y - y0 - t * dy))
        fields.append(field)
    return torch.cat(fields, 1)[None, None].to(device)


def text(
    v: Tensor, u: Tensor, height: Tensor, rng: Generator, lines: int = 1, columns: int = 8, digits: float = 0.5
) -> Tensor:
    """Return ink (b, H, W) in [0, 1] of random text around the origin of v (down) and u (along).

    Args:
        v: coordinates (b, H, W) across the lines, frame units.
        u: coordinates (b, H, W) along the lines.
        height: height of a line (b, 1, 1), frame units.
        rng: the source of all draws.
        lines: number of lines.
        columns: glyphs in a line; some are blank.
        digits: share of the images with digits only.
    """
    b, size = v.shape[0], v.shape[-1]
    g = len(STROKES)
    top = torch.where(chance(rng, b, digits), 10.0, float(g))
    glyphs = (torch.rand((b, lines, columns), generator=rng, device=rng.device) * top).floor()
    blank = torch.rand((b, lines, columns), generator=rng, device=rng.device) < 0.12
    length = each(rng, b, 0.3, 1.0) * columns
    blank |= torch.arange(columns, device=rng.device).view(1, 1, -1) >= length.clamp(min=1)
    width = 0.7 * height
    at_u, at_v = u / width + length / 2, v / height + lines / 2
    col, row = at_u.floor(), at_v.floor()
    inside = (col >= 0) & (col < columns) & (row >= 0) & (row < lines)
    index = (row * columns + col).clamp(0, lines * columns - 1).long().flatten(1)
    glyph = torch.where(blank, -1.0, glyphs).flatten(1).gather(1, index).view(b, size, size)
    x = (glyph + at_u - col) / g * 2 - 1
    y = (at_v - row) * 2 - 1
    field = F.grid_sample(_atlas(str(rng.device)).expand(b, -1, -1, -1), torch.stack((x, y), -1), align_corners=False)[
        :, 0
    ]
    stroke = each(rng, b, 0.03, 0.085)
    soft = 4 / (size * height)
    return step(stroke - field, soft) * (inside & (glyph >= 0))


def writing(b: int, size: int, rng: Generator) -> Tensor:
    """Return ink (b, H, W) of one or two lines somewhere on the picture: stamped (straight) or by hand (bent)."""
    v, u = rotated(b, size, rng)
    by_hand = chance(rng, b, 0.45)
    height = each(rng, b, 0.07, 0.35, log=True)
    bend = torch.where(by_hand, 0.12 * height, torch.zeros_like(height))
    v = v - each(rng, b, -0.8, 0.8) + bend * smooth_noise(b, size, rng, 9)
    u = u - each(rng, b, -0.7, 0.7) + bend * smooth_noise(b, size, rng, 9) + v * by_hand * each(rng, b, -0.4, 0.4)
    ink = text(v, u, height, rng, lines=1 + int(torch.randint(0, 2, (1,), generator=rng, device=rng.device)))
    # Dot-matrix printers put dots where others draw strokes.
    dots = 0.5 + 0.5 * torch.sign(torch.sin(v / height * 40) * torch.sin(u / height * 40) + 0.4)
    return torch.where(chance(rng, b, 0.15), ink * dots, ink)

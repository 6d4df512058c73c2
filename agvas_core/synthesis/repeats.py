"""What is normal because it is there several times: inlays all over an object, loose copies of an object in rows."""
# coverage alpha (b, H, W), colour rgb (b, 3, H, W), both in [0, 1]; coordinates run from -1 to 1 over the frame

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from agvas_core.synthesis.colors import any_color, mix
from agvas_core.synthesis.noise import (
    chance,
    coordinates,
    each,
    hash01,
    integer,
    rotate,
    rotated,
    seeds,
    smooth_noise,
    step,
)

FILL = (0.72, 0.97)  # reach of a copy, share of half its cell


def inlays(rgb: Tensor, rng: Generator) -> Tensor:
    """Set pieces of one other material into the whole body: chips in dough, seeds, rivets, gravel, printed spots."""
    b, _, size, _ = rgb.shape
    v, u = rotated(b, size, rng)
    pitch = each(rng, b, 0.12, 0.45, log=True)
    seed = seeds(rng, b)
    row = (v / pitch).floor()
    col = (u / pitch + 0.5 * torch.remainder(row, 2)).floor()

    def draw(n: int) -> Tensor:  # a number in [0, 1) of each piece
        return hash01(row, col, seed=seed + 17 * n)

    reach = each(rng, b, 0.2, 0.42) * (1 - each(rng, b, 0, 0.6) * draw(0))  # in pitches
    free = 0.5 - reach
    dv = v / pitch - row - 0.5 - free * (2 * draw(1) - 1)
    du = u / pitch + 0.5 * torch.remainder(row, 2) - col - 0.5 - free * (2 * draw(2) - 1)
    dv, du = rotate(dv, du, 2 * math.pi * draw(3))
    ragged = each(rng, b, 0, 0.3) * smooth_noise(b, size, rng, 24)
    distance = torch.hypot(dv * (1 + each(rng, b, 0, 1.2) * draw(4)), du) / reach - 1 + ragged.clamp(-0.5, 0.5)
    there = draw(5) < each(rng, b, 0.4, 1.0)
    cover = step(-distance, 0.25) * there
    rim = torch.exp(-((distance / 0.2) ** 2)) * there  # where the piece sits in its bed
    facing = (dv * draw(3).sub(0.5) + du) / torch.hypot(dv, du).clamp(min=0.05)
    tone = 1 + each(rng, b, 0, 0.4) * (draw(6) - 0.5)
    piece = (any_color(rng, b, 0.8, (0.03, 0.9)) * tone[:, None]).clamp(0, 1)
    out = mix(rgb, piece.expand_as(rgb), cover * each(rng, b, 0.5, 1.0))
    return (out * (1 + each(rng, b, 0, 0.5) * facing * rim - each(rng, b, 0, 0.35) * rim)[:, None]).clamp(0, 1)


def several(alpha: Tensor, rgb: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Lay copies of each image's object in rows, turned and shifted a little or at will, one sometimes left out.

    An object that reaches the picture's border stays as it is: a copy would be cut off straight.
    """
    b, size, _ = alpha.shape
    y, x = coordinates(size, rng.device)
    seen = alpha > 0.05
    area = alpha.sum((1, 2), keepdim=True).clamp(min=1e-6)
    mid_y, mid_x = (alpha * y).sum((1, 2), keepdim=True) / area, (alpha * x).sum((1, 2), keepdim=True) / area
    radius = (torch.hypot(y - mid_y, x - mid_x) * seen).amax((1, 2), keepdim=True).clamp(min=0.05)
    whole = ~(seen[:, [0, -1]].any(2).any(1) | seen[:, :, [0, -1]].any(2).any(1)).view(b, 1, 1)

    rows, columns = integer(rng, 1, 4), integer(rng, 2, 5)
    at_y, at_x = (y + 1) * rows / 2, (x + 1) * columns / 2
    row, col, seed = at_y.floor(), at_x.floor(), seeds(rng, b)
    cell = 1 / max(rows, columns)  # half of the smaller side of a cell
    fill = each(rng, b, *FILL) * cell
    free = cell - fill
    shift_y, shift_x = (free * (2 * hash01(row, col, seed=seed + n) - 1) for n in (1, 2))
    dy = (at_y - row - 0.5) * 2 / rows - shift_y
    dx = (at_x - col - 0.5) * 2 / columns - shift_x
    # laid out by hand or by a machine; the light turns with a copy, so most turn little
    most = torch.where(chance(rng, b, 0.35), math.pi, each(rng, b, 0, 0.25))
    dy, dx = rotate(dy, dx, most * (2 * hash01(row, col, seed=seed + 3) - 1))
    inside = torch.hypot(dy, dx) <= fill * 1.02
    inside &= hash01(row, col, seed=seed + 4) >= 0.15 * chance(rng, b, 0.3)
    place = torch.stack((mid_x + dx * radius / fill, mid_y + dy * radius / fill), -1)  # (b, H, W, 2)

    shrink = max(1, round(float((radius / fill).mean())))  # averaged first, so that nothing flickers
    layer = F.avg_pool2d(torch.cat((alpha[:, None], rgb), 1), shrink)
    copies = F.grid_sample(layer, place, padding_mode="border", align_corners=False)
    alpha = torch.where(whole, copies[:, 0] * inside, alpha)
    return alpha, torch.where(whole[:, None], copies[:, 1:], rgb)

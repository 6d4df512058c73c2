"""Outlines as signed distances (negative inside): boxes, polygons, and the part that ends at the picture's border."""
# distances are in the units of the coordinates given

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from agvas_core.synthesis.noise import chance, coordinates, each, normal, rotate, smooth_noise, step, uniform


def box(v: Tensor, u: Tensor, half_v: Tensor | float, half_u: Tensor | float, corner: Tensor | float = 0.0) -> Tensor:
    """Return the distance to a rectangle with rounded corners, centred at the origin."""
    dv, du = v.abs() - half_v + corner, u.abs() - half_u + corner
    outer = torch.hypot(dv.clamp(min=0), du.clamp(min=0))
    return outer + torch.maximum(dv, du).clamp(max=0) - corner


def polygon(v: Tensor, u: Tensor, sides: int, radius: Tensor | float) -> Tensor:
    """Return the distance to the sides of a regular polygon whose sides lie `radius` from the origin."""
    angle = torch.remainder(torch.atan2(v, u), 2 * math.pi / sides) - math.pi / sides
    return torch.hypot(v, u) * angle.cos() - radius


def part_border(b: int, size: int, rng: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A part that ends at one to four sides of the picture.

    Returns:
        inside: soft coverage (b, H, W) in [0, 1] of the part.
        rim: its edge, lit (positive) or dark (negative), (b, H, W).
        depth: how far beyond the part a pixel lies, in [0, 1].
    """
    y, x = coordinates(size, rng.device)
    v, u = rotate(y, x, 0.02 * normal(rng, (b, 1, 1)))
    sides = uniform(rng, (b, 4, 1, 1)) < each(rng, b, 0.2, 0.9)[:, None]
    forced = torch.randint(0, 4, (b, 1, 1, 1), generator=rng, device=rng.device)
    sides |= forced == torch.arange(4, device=rng.device).view(1, 4, 1, 1)  # at least one side
    inset = torch.where(sides, 0.02 + 0.45 * uniform(rng, (b, 4, 1, 1)) ** 1.7, -0.6)  # (b, 4, 1, 1)
    top, bottom, left, right = inset.unbind(1)
    bend = 0.012 * smooth_noise(b, size, rng, 5) * chance(rng, b, 0.3)
    corner = each(rng, b, 0.0, 0.5) * chance(rng, b, 0.6)
    center_v, center_u = (top - bottom) / 2, (left - right) / 2
    distance = box(v - center_v, u - center_u, 1 - (top + bottom) / 2, 1 - (left + right) / 2, corner) + bend
    soft = each(rng, b, 3, 16, log=True) / size
    width = each(rng, b, 3, 20, log=True) / size
    amount = each(rng, b, -0.5, 0.8)
    rim = amount * torch.exp(-(((distance + 1.2 * width) / width) ** 2)) * chance(rng, b, 0.6)
    slope = each(rng, b, 0, 0.6) * chance(rng, b, 0.4)  # a chamfer darkens towards the edge
    rim = rim - slope * torch.exp(-((distance.clamp(max=0) / each(rng, b, 0.03, 0.2)) ** 2))
    return step(-distance, soft), rim.clamp(min=-0.9), distance.clamp(0, 1)

"""Surfaces with a pattern that repeats: textiles, grids, dot plates, tiles, boards."""
# every function: (b, size, rng) -> images (b, 3, H, W), before the tone curve of colors.finish

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from agvas_core.synthesis.colors import any_color, color, mix, shade
from agvas_core.synthesis.noise import (
    angles,
    chance,
    coordinates,
    each,
    fractal_noise,
    hash01,
    normal,
    rotate,
    rotated,
    seeds,
    smooth_noise,
    step,
    uniform,
)


def bent(b: int, size: int, rng: Generator, amount: float = 0.01, upright: float = 0.6) -> tuple[Tensor, Tensor]:
    """Return turned coordinates v, u (b, H, W), gently bent: hand-laid patterns are never quite straight."""
    v, u = rotated(b, size, rng, angles(rng, b, upright))
    strength = each(rng, b, 0, amount)
    return v + strength * smooth_noise(b, size, rng, 4), u + strength * smooth_noise(b, size, rng, 4)


def from_center(phase: Tensor) -> Tensor:
    """Return the distance to the middle of each period, 0 to 0.5."""
    return (torch.frac(phase + 1000) - 0.5).abs()


def woven_fabric(b: int, size: int, rng: Generator) -> Tensor:
    """Plain, twill or basket weave: threads over and under, each with its own tone."""
    v, u = bent(b, size, rng, 0.02)
    n = each(rng, b, 7, 36, log=True)
    v, u = v * n, u * n * each(rng, b, 0.6, 1.6, log=True)
    row, col = v.floor(), u.floor()
    kind = torch.randint(0, 3, (b, 1, 1), generator=rng, device=rng.device)
    plain = torch.remainder(row + col, 2) < 1
    twill = torch.remainder(row + col, 4) < 2
    basket = torch.remainder((row / 2).floor() + (col / 2).floor(), 2) < 1
    over = torch.where(kind == 0, plain, torch.where(kind == 1, twill, basket))
    fv, fu = from_center(v), from_center(u)
    weft = (1 - 3.2 * fv * fv) * (1 - 0.9 * fu * fu) + each(rng, b, 0, 0.4) * (hash01(row, seed=seeds(rng, b)) - 0.5)
    warp = (1 - 3.2 * fu * fu) * (1 - 0.9 * fv * fv) + each(rng, b, 0, 0.4) * (hash01(col, seed=seeds(rng, b)) - 0.5)
    one = any_color(rng, b, 0.9)
    other = torch.where(
        chance(rng, b, 0.5)[:, None], one * uniform(rng, (b, 1, 1, 1), 0.6, 1.1), any_color(rng, b, 0.9)
    )
    thread = mix(one, other, over.float())
    light = torch.where(over, warp, weft) - 0.7 + 0.08 * normal(rng, (b, size, size))
    return shade(thread, light, each(rng, b, 0.2, 0.9)).clamp(0, 1)


def knitted_fabric(b: int, size: int, rng: Generator) -> Tensor:
    """Columns of V-shaped stitches, sometimes with coloured stripes."""
    v, u = bent(b, size, rng, 0.03, 0.8)
    n = each(rng, b, 6, 22, log=True)
    u = u * n
    side = from_center(u)
    v = v * n * each(rng, b, 0.8, 1.6) + side * each(rng, b, 1.2, 2.2)
    loop = 1 - 2.2 * from_center(v)
    edge = torch.sin(math.pi * (2 * side).clamp(0, 1))
    stripe = torch.remainder((v / each(rng, b, 2, 12)).floor(), 2) * chance(rng, b, 0.25)
    base = any_color(rng, b, 0.85, (0.15, 0.95))
    images = mix(base, any_color(rng, b, 0.85, (0.1, 0.95)), stripe)
    light = loop * (0.5 + 0.5 * edge) - 0.4 + 0.1 * normal(rng, (b, size, size))
    return shade(images, light, each(rng, b, 0.3, 1.0)).clamp(0, 1)


def metal_grid(b: int, size: int, rng: Generator) -> Tensor:
    """Straight bars crossing, light on dark or dark on light."""
    v, u = bent(b, size, rng, 0.004, 0.5)
    n = each(rng, b, 3, 18, log=True)
    width = each(rng, b, 0.06, 0.2)
    skew = torch.where(chance(rng, b, 0.3), each(rng, b, -0.7, 0.7), torch.zeros(b, 1, 1, device=rng.device))
    soft = 6 * n / size
    bars_v = step(width - from_center(v * n), soft)
    bars_u = step(width - from_center((u + skew * v) * n * each(rng, b, 0.7, 1.4)), soft)
    bars = torch.maximum(bars_v, bars_u)
    crest = torch.maximum(bars_v - from_center(v * n), bars_u - from_center(u * n))
    metal = color(rng, b, (0.35, 0.35, 0.36), (0.85, 0.85, 0.84), 0.15)
    ground = torch.where(
        chance(rng, b, 0.65)[:, None], any_color(rng, b, 0.4, (0.02, 0.25)), any_color(rng, b, 0.4, (0.6, 0.95))
    )
    grain = fractal_noise(b, size, rng, (0.6, 2))
    return mix(ground, shade(metal, 0.3 * crest + 0.05 * grain, 1.0), bars)


def wire_mesh(b: int, size: int, rng: Generator) -> Tensor:
    """Round wires woven over and under each other."""
    v, u = bent(b, size, rng, 0.01)
    n = each(rng, b, 6, 26, log=True)
    v, u = v * n, u * n
    row, col = v.floor(), u.floor()
    wave = each(rng, b, 0, 0.08)
    fv = from_center(v + wave * torch.sin(math.pi * u))
    fu = from_center(u + wave * torch.sin(math.pi * v))
    width = each(rng, b, 0.12, 0.33)
    soft = 6 * n / size
    wire_v, wire_u = step(width - fv, soft), step(width - fu, soft)
    over = torch.remainder(row + col, 2) < 1
    light_v, light_u = (1 - (fv / width).square()).clamp(min=0), (1 - (fu / width).square()).clamp(min=0)
    first, second = (
        torch.where(over, wire_v * light_v, wire_u * light_u),
        torch.where(over, wire_u * light_u, wire_v * light_v),
    )
    light = torch.maximum(first, second * (1 - torch.where(over, wire_v, wire_u)))
    cover = torch.maximum(wire_v, wire_u)
    wire = color(rng, b, (0.35, 0.35, 0.36), (0.9, 0.88, 0.84), 0.2)
    ground = any_color(rng, b, 0.4, (0.02, 0.45))
    return mix(ground, shade(wire, light - 0.55, 0.9), cover).clamp(0, 1)


def dot_plate(b: int, size: int, rng: Generator) -> Tensor:
    """A regular lattice of small dots, square or staggered, as on light guides and printed screens."""
    v, u = bent(b, size, rng, 0.003, 0.9)
    pitch_px = each(rng, b, 7, 44, log=True) * (size / 256)
    n = size / (2 * pitch_px)
    aspect = each(rng, b, 0.5, 2.0, log=True)
    v = v * n * aspect + each(rng, b, 0, 1)
    row = v.floor()
    stagger = torch.where(chance(rng, b, 0.6), each(rng, b, 0.48, 0.52), torch.zeros(b, 1, 1, device=rng.device))
    u = u * n + stagger * torch.remainder(row, 2) + each(rng, b, 0, 1)
    seed = seeds(rng, b)
    jitter = each(rng, b, 0, 0.06)
    dy = (torch.frac(v + 1000) - 0.5 + jitter * (hash01(row, u.floor(), seed=seed) - 0.5)) / (n * aspect)
    dx = (torch.frac(u + 1000) - 0.5 + jitter * (hash01(u.floor(), row, seed=seed + 5) - 0.5)) / n
    radius = each(rng, b, 0.12, 0.34) * torch.minimum(1 / n, 1 / (n * aspect))
    radius = radius.clamp(min=2.2 / size)  # at least a dot of about two pixels
    distance = torch.hypot(dy, dx)
    soft = step(radius - distance, each(rng, b, 2.5, 6) / size)
    ring = torch.where(
        chance(rng, b, 0.12), step(distance - radius * 0.5, 4 / size), torch.ones(b, 1, 1, device=rng.device)
    )
    strength = 1 - each(rng, b, 0, 0.3) * hash01(row, u.floor(), seed=seed + 9)
    dots = soft * ring * strength * (1 + 0.15 * smooth_noise(b, size, rng, 3)).clamp(0, 1.2)
    dark = any_color(rng, b, 0.3, (0.0, 0.12))
    bright = color(rng, b, (0.6, 0.6, 0.6), (0.98, 0.98, 0.98), 0.2)
    inverted = chance(rng, b, 0.3)[:, None]
    ground, dot = torch.where(inverted, bright, dark), torch.where(inverted, dark, bright)
    return mix(ground, dot, dots) + (0.012 * normal(rng, (b, size, size)))[:, None]


def perforated_sheet(b: int, size: int, rng: Generator) -> Tensor:
    """Round, square or slotted holes punched in sheet metal, with a lit rim."""
    v, u = bent(b, size, rng, 0.002, 0.7)
    n = each(rng, b, 3, 15, log=True)
    v = v * n
    u = u * n + 0.5 * torch.remainder(v.floor(), 2) * chance(rng, b, 0.5)
    dy, dx = torch.frac(v + 1000) - 0.5, torch.frac(u + 1000) - 0.5
    slot = (dx.abs() - each(rng, b, 0, 0.2) * chance(rng, b, 0.3)).clamp(min=0)
    square = torch.maximum(dy.abs(), dx.abs())
    distance = torch.where(chance(rng, b, 0.25), square, torch.hypot(dy, slot))
    radius = each(rng, b, 0.16, 0.3)
    soft = 6 * n / size
    hole = step(radius - distance, soft)
    rim = torch.exp(-(((distance - radius) / (0.06 + soft / 4)) ** 2)) * (dy + 0.6 * dx) * 3
    grain = fractal_noise(b, size, rng, (0.4, 1.6), 10.0)
    sheet = color(rng, b, (0.4, 0.4, 0.41), (0.82, 0.82, 0.8), 0.2)
    images = shade(sheet, 0.06 * grain + each(rng, b, 0.1, 0.5) * rim, 1.0)
    ground = torch.where(
        chance(rng, b, 0.8)[:, None], any_color(rng, b, 0.4, (0.01, 0.2)), any_color(rng, b, 0.4, (0.5, 0.95))
    )
    return mix(images.clamp(0, 1), ground, hole)


def checker_plate(b: int, size: int, rng: Generator) -> Tensor:
    """Tread plate: raised bars in alternating directions."""
    v, u = bent(b, size, rng, 0.002, 0.5)
    n = each(rng, b, 3, 9, log=True)
    v, u = v * n, u * n
    turn = torch.where(torch.remainder(v.floor() + u.floor(), 2) < 1, 1.0, -1.0)
    dy, dx = torch.frac(v + 1000) - 0.5, torch.frac(u + 1000) - 0.5
    along, across = (dx + turn * dy) * 0.7, (dy - turn * dx) * 0.7
    distance = torch.hypot(along / each(rng, b, 2.5, 4), across) - 0.12
    bar = step(-distance, 0.08)
    light = each(rng, b, 0.2, 0.7) * bar * (0.4 + 7 * across) + 0.06 * fractal_noise(b, size, rng, (0.6, 2.2), 4.0)
    return shade(color(rng, b, (0.25, 0.25, 0.26), (0.7, 0.7, 0.7), 0.15), light, 1.0).clamp(0, 1)


def ceramic_tile(b: int, size: int, rng: Generator) -> Tensor:
    """Glazed tiles between joints; each tile has its own tone, some a cloudy glaze."""
    return _laid(
        b, size, rng, count=(0.8, 8), aspect=(0.5, 2.0), bond=0.35, joint=(0.006, 0.02), rough=0.05, brick_colors=False
    )


def brick(b: int, size: int, rng: Generator) -> Tensor:
    """Rough bricks in mortar, in running bond."""
    return _laid(
        b, size, rng, count=(2, 7), aspect=(0.3, 0.55), bond=0.95, joint=(0.012, 0.04), rough=0.22, brick_colors=True
    )


def _laid(
    b: int,
    size: int,
    rng: Generator,
    count: tuple[float, float],
    aspect: tuple[float, float],
    bond: float,
    joint: tuple[float, float],
    rough: float,
    brick_colors: bool,
) -> Tensor:
    """Lay pieces in rows; joint is half its width in frame units."""
    v, u = bent(b, size, rng, 0.004, 0.85)
    noise = fractal_noise(b, size, rng, (1.2, 2.4))
    n = each(rng, b, *count, log=True)
    ratio = each(rng, b, *aspect, log=True)
    v = v * n + each(rng, b, 0, 1)
    row = v.floor()
    u = u * n * ratio + 0.5 * torch.remainder(row, 2) * chance(rng, b, bond) + each(rng, b, 0, 1)
    to_joint = torch.minimum((0.5 - from_center(v)) / n, (0.5 - from_center(u)) / (n * ratio))
    body = step(to_joint - each(rng, b, *joint) + 0.02 * rough * noise, 5 / size)
    bevel = torch.exp(-to_joint.clamp(min=0) / each(rng, b, 0.01, 0.05)) * each(rng, b, -0.3, 0.2)
    tone = (hash01(row, u.floor(), seed=seeds(rng, b)) - 0.5) * each(rng, b, 0, 0.35)
    if brick_colors:
        piece = color(rng, b, (0.38, 0.2, 0.14), (0.72, 0.5, 0.38), 0.25)
    else:
        piece = any_color(rng, b, 0.5, (0.2, 0.97))
    mortar = color(rng, b, (0.25, 0.24, 0.23), (0.85, 0.84, 0.8), 0.05)
    light = tone + bevel + each(rng, b, 0.004, rough) * noise
    return mix(shade(mortar, noise, 0.06), shade(piece, light, 1.0), body).clamp(0, 1)


def printed_circuit(b: int, size: int, rng: Generator) -> Tensor:
    """Solder mask with copper tracks, pads, vias and a few dark parts, on a grid."""
    y, x = coordinates(size, rng.device)
    v, u = rotate(y, x, 0.02 * normal(rng, (b, 1, 1)))
    n = each(rng, b, 6, 16, log=True)
    v, u = (v + 1) * n + each(rng, b, 0, 9), (u + 1) * n + each(rng, b, 0, 9)
    row, col, seed = v.floor(), u.floor(), seeds(rng, b)
    dy, dx = torch.frac(v) - 0.5, torch.frac(u) - 0.5
    width, soft, share = each(rng, b, 0.08, 0.2), 5 * n / size, each(rng, b, 0.3, 0.7)
    # A cell is joined to its right and lower neighbour by chance; both cells ask the same number.
    right, left = hash01(row, col, seed=seed) < share, hash01(row, col - 1, seed=seed) < share
    down, up = hash01(row, col, seed=seed + 5) < share * 0.7, hash01(row - 1, col, seed=seed + 5) < share * 0.7
    line_h, line_v = step(width - dy.abs(), soft), step(width - dx.abs(), soft)
    track = torch.where(dx > 0, right, left) * line_h
    track = torch.maximum(track, torch.where(dy > 0, down, up) * line_v)
    radius = torch.hypot(dy, dx)
    node = hash01(row, col, seed=seed + 11)
    pad = step(0.34 - radius, soft) * (node < 0.16)
    hole = step(0.14 - radius, soft) * (node < 0.16)
    mask = color(rng, b, (0.02, 0.22, 0.1), (0.12, 0.42, 0.22), 0.35)
    copper = (mask * uniform(rng, (b, 1, 1, 1), 1.2, 1.8) + 0.03).clamp(0, 1)
    metal = color(rng, b, (0.7, 0.62, 0.4), (0.9, 0.88, 0.82), 0.0)
    images = mix(mask, copper, track)
    images = mix(mix(images, metal, pad), any_color(rng, b, 0.3, (0.01, 0.2)), hole)
    part_row, part_col = (v / 3).floor(), (u / 4).floor()
    box = torch.maximum((torch.frac(v / 3) - 0.5).abs() / 0.36, (torch.frac(u / 4) - 0.5).abs() / 0.4)
    is_part = (hash01(part_row, part_col, seed=seed + 17) < each(rng, b, 0, 0.25)).float()
    legs = step(1.2 - box, 0.08) * (torch.remainder(u * 3, 1.0) < 0.45) * is_part
    body = step(1 - box, 0.08) * is_part
    images = mix(mix(images, metal, legs), any_color(rng, b, 0.2, (0.03, 0.2)), body)
    return shade(images, normal(rng, (b, size, size)), 0.03)


def corrugated_sheet(b: int, size: int, rng: Generator) -> Tensor:
    """Parallel ridges, from soft waves to sharp grooves."""
    v, u = bent(b, size, rng, 0.01)
    n = each(rng, b, 3, 40, log=True)
    wave = torch.sin(v * n * math.pi)
    ridge = torch.tanh(wave * each(rng, b, 0.5, 6, log=True))
    grain = fractal_noise(b, size, rng, (0.6, 2.4), 6.0)
    light = each(rng, b, 0.05, 0.5) * ridge + each(rng, b, 0.01, 0.1) * grain + 0.05 * u
    return shade(any_color(rng, b, 0.6), light, 1.0).clamp(0, 1)


def striped_film(b: int, size: int, rng: Generator) -> Tensor:
    """Printed stripes or checks in two or three flat colours."""
    v, u = bent(b, size, rng, 0.006)
    n = each(rng, b, 2, 14, log=True)
    soft = 5 * n / size
    first = step(each(rng, b, 0.1, 0.35) - from_center(v * n), soft)
    second = step(each(rng, b, 0.05, 0.3) - from_center(u * n), soft) * chance(rng, b, 0.5)
    base, ink = any_color(rng, b, 0.8, (0.3, 0.98)), any_color(rng, b, 0.9)
    blend = each(rng, b, 0.2, 0.9)
    images = mix(mix(base, ink, first * blend), any_color(rng, b, 0.9), second * blend)
    return shade(images, fractal_noise(b, size, rng, (0.4, 2)), each(rng, b, 0.005, 0.05))

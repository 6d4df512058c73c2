"""Surfaces made of grain: stone, metal, wood, paper, skin, food. No pattern repeats exactly in them."""
# every function: (b, size, rng) -> images (b, 3, H, W), before the tone curve of colors.finish

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from agvas_core.synthesis.colors import any_color, color, mix, shade
from agvas_core.synthesis.noise import (
    angles,
    cells,
    chance,
    each,
    emboss,
    fractal_noise,
    hash01,
    normal,
    rotated,
    seeds,
    smooth_noise,
    standardize,
    step,
    stretch,
    uniform,
)


def stone(b: int, size: int, rng: Generator) -> Tensor:
    """Fractal noise between two colours, from sandy to cloudy."""
    values = fractal_noise(b, size, rng, (0.8, 3.0), 4.0, ring=(8, 60), ring_share=0.3)
    base = color(rng, b, (0.25, 0.22, 0.2), (0.75, 0.7, 0.62), 0.3)
    other = (base * each(rng, b, 0.35, 0.8)[:, None] + 0.06 * normal(rng, (b, 3, 1, 1))).clamp(0, 1)
    return mix(base, other, step(values + each(rng, b, -1, 1), each(rng, b, 2, 12, log=True)))


def brushed_metal(b: int, size: int, rng: Generator) -> Tensor:
    """Long fine streaks along one direction on a gray sheen."""
    angle = angles(rng, b, 0.75)
    grain = fractal_noise(b, size, rng, (0.2, 1.2), 40.0, angle, lowest=6)
    base = color(rng, b, (0.3, 0.3, 0.31), (0.75, 0.75, 0.76), 0.08)
    sheen = each(rng, b, 0.0, 0.25) * smooth_noise(b, size, rng, 3)
    return shade(base, grain * each(rng, b, 0.03, 0.2, log=True) + sheen, 1.0)


def cast_metal(b: int, size: int, rng: Generator) -> Tensor:
    """A rough casting skin: fine bumps under slanting light."""
    height = fractal_noise(b, size, rng, (1.6, 3.0), ring=(20, 90), ring_share=0.5)
    relief = emboss(height, each(rng, b, 0, 2 * math.pi))
    base = color(rng, b, (0.18, 0.18, 0.19), (0.6, 0.59, 0.58), 0.05)
    return shade(base, relief * each(rng, b, 0.08, 0.35) + height * each(rng, b, 0, 0.12), 1.0)


def rolled_steel(b: int, size: int, rng: Generator) -> Tensor:
    """Gray strip with faint streaks along the rolling direction, fine sand and clouds."""
    angle = angles(rng, b, 0.9)
    streaks = fractal_noise(b, size, rng, (1.0, 2.4), 14.0, angle, lowest=2)
    sand = normal(rng, (b, size, size))
    bands = smooth_noise(b, size, rng, 5)
    base = color(rng, b, (0.2, 0.2, 0.2), (0.62, 0.62, 0.63), 0.0)
    amount = each(rng, b, 0.03, 0.25, log=True)
    return shade(
        base, amount * streaks + each(rng, b, 0.01, 0.14, log=True) * sand + each(rng, b, 0, 0.12) * bands, 1.0
    )


def machined_metal(b: int, size: int, rng: Generator) -> Tensor:
    """Turned or milled: lines along arcs around a centre, in the frame or far outside of it."""
    v, u = rotated(b, size, rng)
    far = torch.where(chance(rng, b, 0.5), each(rng, b, 0.0, 1.2), each(rng, b, 1.2, 12, log=True))
    radius = torch.hypot(v - far, u - each(rng, b, -0.4, 0.4))
    pitch = each(rng, b, 12, 110, log=True)
    phase = radius * pitch + 0.15 * smooth_noise(b, size, rng, 6)
    lines = torch.sin(phase * math.pi) * 0.5
    track = hash01((phase / 2).floor(), seed=seeds(rng, b)) - 0.5  # each pass of the tool has its own tone
    fine = hash01((phase * 3.7).floor(), seed=seeds(rng, b)) - 0.5
    glare = torch.cos(2 * torch.atan2(v - far, u) + each(rng, b, 0, 6)) * each(rng, b, 0, 0.3)
    base = color(rng, b, (0.25, 0.25, 0.26), (0.7, 0.69, 0.67), 0.06)
    grain = normal(rng, (b, size, size)) * 0.25
    return shade(base, (lines + track + fine + grain) * each(rng, b, 0.04, 0.3, log=True) + glare, 1.0)


def wood(b: int, size: int, rng: Generator) -> Tensor:
    """Growth rings cut lengthwise, fibres along them, sometimes knots."""
    angle = angles(rng, b, 0.8)
    v, u = rotated(b, size, rng, angle)
    bend = smooth_noise(b, size, rng, 4) * each(rng, b, 0.02, 0.15)
    rings = v * each(rng, b, 0.4, 1.5) + bend + 0.12 * u * normal(rng, (b, 1, 1))
    knots = torch.zeros_like(rings)
    for _ in range(2):
        dv, du = v - each(rng, b, -1, 1), (u - each(rng, b, -1, 1)) * 0.55
        close = torch.exp(-(dv * dv + du * du) / each(rng, b, 0.004, 0.04, log=True)) * chance(rng, b, 0.3)
        rings = rings + close * each(rng, b, 0.3, 0.9)
        knots = torch.maximum(knots, close)
    fibre = fractal_noise(b, size, rng, (0.5, 1.6), 30.0, angle, lowest=4)
    phase = rings * each(rng, b, 4, 26, log=True) + 0.08 * fibre
    saw = torch.frac(phase + 100)  # early wood fades into late wood, then starts anew
    late = saw * saw * step(1 - saw - 0.06, 0.12)
    light = color(rng, b, (0.45, 0.28, 0.15), (0.86, 0.68, 0.45), 0.06)
    dark = (
        light
        * uniform(rng, (b, 1, 1, 1), 0.45, 0.85)
        * torch.tensor((1.0, 0.9, 0.8), device=rng.device).view(1, 3, 1, 1)
    )
    images = mix(light, dark, (late * each(rng, b, 0.2, 1.0) + 0.9 * knots**3).clamp(0, 1))
    return shade(images, fibre, each(rng, b, 0.03, 0.12))


def marble(b: int, size: int, rng: Generator) -> Tensor:
    """Clouds crossed by thin veins: ridges of fractal noise."""
    clouds = fractal_noise(b, size, rng, (2.2, 3.2), 3.0)
    other = torch.roll(clouds, (size // 3, size // 2), (1, 2)).flip(2)
    sharp = each(rng, b, 3, 22, log=True)
    veins = torch.exp(-sharp * (other + 0.4 * clouds).abs()) * step(clouds + each(rng, b, -0.5, 1.5), 2.0)
    ground = color(rng, b, (0.6, 0.58, 0.55), (0.93, 0.92, 0.9), 0.3)
    tint = color(rng, b, (0.2, 0.2, 0.2), (0.6, 0.5, 0.4), 0.3)
    images = mix(ground, tint, veins * each(rng, b, 0.3, 0.95))
    return shade(images, clouds, each(rng, b, 0.02, 0.12))


def terrazzo(b: int, size: int, rng: Generator) -> Tensor:
    """Stone chips of several colours in a fine binder."""
    _, border, tone = cells(b, size, rng, (7, 30))
    share = each(rng, b, 0.3, 0.9)
    chip = step(border - each(rng, b, 0.05, 0.3), 0.12) * (tone < share)
    binder = color(rng, b, (0.5, 0.48, 0.45), (0.88, 0.86, 0.82), 0.3)
    images = binder.expand(b, 3, size, size)
    for k in range(3):
        picked = chip * ((tone / share * 3).floor() == k)
        images = mix(images, any_color(rng, b, 0.5, (0.1, 0.9)), picked)
    return shade(images, fractal_noise(b, size, rng, (0.4, 2)), each(rng, b, 0.01, 0.07))


def concrete(b: int, size: int, rng: Generator) -> Tensor:
    """Gray cement: clouds, sand and small round pores."""
    noise = fractal_noise(b, size, rng, (1.0, 2.6), 1.6)
    sand = normal(rng, (b, size, size))
    grain = fractal_noise(b, size, rng, (0.5, 1), ring=(18, 60))
    pores = step(grain - each(rng, b, 2.4, 3.6), 0.4) * each(rng, b, 0.2, 0.7)
    base = color(rng, b, (0.35, 0.34, 0.32), (0.75, 0.74, 0.71), 0.08)
    images = shade(base, each(rng, b, 0.03, 0.15) * noise + each(rng, b, 0.01, 0.1) * sand, 1.0)
    return images * (1 - pores)[:, None]


def asphalt(b: int, size: int, rng: Generator) -> Tensor:
    """Dark binder with light and dark aggregate of one grain size."""
    grain = fractal_noise(b, size, rng, (0.2, 0.8), ring=(30, 100))
    relief = emboss(grain, each(rng, b, 0, 2 * math.pi))
    stones = step(grain - each(rng, b, -0.3, 1.3), each(rng, b, 0.5, 3))
    clouds = smooth_noise(b, size, rng, 5)
    base = color(rng, b, (0.2, 0.2, 0.21), (0.6, 0.59, 0.6), 0.06)
    contrast = each(rng, b, 0.08, 0.4)
    return shade(base, contrast * (stones * 1.2 - 0.4 + 0.5 * relief) + each(rng, b, 0, 0.1) * clouds, 1.0)


def leather(b: int, size: int, rng: Generator) -> Tensor:
    """Grain cells bulging between creases, under slanting light."""
    near, border, tone = cells(b, size, rng, (14, 60), 0.95)
    crease = 1 - step(border - each(rng, b, 0.04, 0.2), each(rng, b, 0.15, 0.5))
    height = -near + 0.3 * smooth_noise(b, size, rng, 12)
    relief = emboss(height - 0.6 * crease, each(rng, b, 0, 2 * math.pi))
    base = color(rng, b, (0.12, 0.07, 0.05), (0.6, 0.42, 0.3), 0.35)
    light = each(rng, b, 0.04, 0.22) * relief - crease * each(rng, b, 0.1, 0.4) + 0.06 * (tone - 0.5)
    return shade(base, light + each(rng, b, 0, 0.1) * smooth_noise(b, size, rng, 5), 1.0)


def paper(b: int, size: int, rng: Generator) -> Tensor:
    """A light, nearly even sheet with faint fibres."""
    fibres = fractal_noise(b, size, rng, (0.8, 2.2), 3.0)
    base = color(rng, b, (0.7, 0.66, 0.58), (0.95, 0.94, 0.92), 0.25)
    flecks = step(normal(rng, (b, size, size)) - each(rng, b, 3.2, 5), 0.3) * 0.3
    return shade(base, fibres * each(rng, b, 0.01, 0.08) - flecks, 1.0)


def cardboard(b: int, size: int, rng: Generator) -> Tensor:
    """Brown board with flutes showing through and fibre flecks."""
    v, _ = rotated(b, size, rng)
    flutes = torch.sin(v * each(rng, b, 15, 90, log=True) + 0.2 * smooth_noise(b, size, rng, 4))
    fibres = fractal_noise(b, size, rng, (0.6, 1.6), 3.0)
    base = color(rng, b, (0.5, 0.36, 0.24), (0.78, 0.62, 0.45), 0.08)
    return shade(base, each(rng, b, 0, 0.06) * flutes + each(rng, b, 0.02, 0.09) * fibres, 1.0)


def tissue(b: int, size: int, rng: Generator) -> Tensor:
    """Moist pink tissue: soft folds, branching vessels, wet highlights."""
    folds = fractal_noise(b, size, rng, (2.8, 3.8), 2.0, lowest=1.2)
    vein_noise = fractal_noise(b, size, rng, (3.2, 3.8), ring=(2.5, 9), ring_share=0.8)
    vessels = torch.exp(-((vein_noise * each(rng, b, 5, 14, log=True)) ** 2))
    vessels = vessels * step(folds + each(rng, b, 0.0, 2.0), 2.0)
    base = color(rng, b, (0.6, 0.3, 0.25), (0.9, 0.62, 0.52), 0.03)
    red = base * torch.tensor((0.75, 0.45, 0.45), device=rng.device).view(1, 3, 1, 1)
    images = shade(mix(base, red, vessels * each(rng, b, 0.2, 0.9)), folds, each(rng, b, 0.06, 0.22))
    relief = emboss(folds + 0.15 * vein_noise, each(rng, b, 0, 2 * math.pi))
    wet = step(relief - each(rng, b, 1.8, 3.2), 0.5) * each(rng, b, 0.2, 0.9)
    return mix(images, torch.full_like(base, 0.97), wet)


def plastic(b: int, size: int, rng: Generator) -> Tensor:
    """A moulded face in one colour with faint erosion texture."""
    height = fractal_noise(b, size, rng, (0.6, 1.6), ring=(35, 110), ring_share=0.7)
    relief = emboss(height, each(rng, b, 0, 2 * math.pi))
    light = each(rng, b, 0.0, 0.2) * smooth_noise(b, size, rng, 3)
    return shade(any_color(rng, b, 0.95), relief * each(rng, b, 0.004, 0.12, log=True) + light, 1.0)


def rubber(b: int, size: int, rng: Generator) -> Tensor:
    """Dark, dull, a little dusty."""
    dust = fractal_noise(b, size, rng, (0.8, 2.2), 2.0)
    base = color(rng, b, (0.06, 0.06, 0.06), (0.25, 0.25, 0.26), 0.15)
    specks = step(normal(rng, (b, size, size)) - each(rng, b, 2.8, 4.5), 0.4) * 0.12
    return shade(base, dust * each(rng, b, 0.04, 0.2), 1.0) + specks[:, None]


def painted_metal(b: int, size: int, rng: Generator) -> Tensor:
    """Lacquer with orange peel and a broad reflection; sometimes metallic flakes."""
    peel = emboss(fractal_noise(b, size, rng, (1, 2), ring=(18, 70)), each(rng, b, 0, 2 * math.pi))
    flakes = normal(rng, (b, size, size)) * chance(rng, b, 0.35) * each(rng, b, 0.02, 0.12)
    sheen = smooth_noise(b, size, rng, 3) * each(rng, b, 0.02, 0.25)
    return shade(any_color(rng, b, 0.95), peel * each(rng, b, 0.005, 0.07, log=True) + flakes + sheen, 1.0)


def glass(b: int, size: int, rng: Generator) -> Tensor:
    """Smooth and nearly empty: soft reflections of the room, a few straight edges of light."""
    v, u = rotated(b, size, rng, each(rng, b, 0, math.pi))
    soft = smooth_noise(b, size, rng, 3) * each(rng, b, 0.02, 0.2)
    edge = step(v - each(rng, b, -0.8, 0.8), each(rng, b, 0.1, 1.5, log=True)) * each(rng, b, -0.3, 0.3)
    base = color(rng, b, (0.08, 0.1, 0.11), (0.85, 0.9, 0.88), 0.15)
    return shade(base, soft + edge + 0.1 * u * normal(rng, (b, 1, 1)) + 0.01 * normal(rng, (b, size, size)), 1.0)


def carpet(b: int, size: int, rng: Generator) -> Tensor:
    """Tufts of yarn in two or three mixed colours."""
    tufts = fractal_noise(b, size, rng, (0.3, 1.0), 2.0, ring=(25, 90))
    relief = emboss(tufts, each(rng, b, 0, 2 * math.pi))
    base = any_color(rng, b, 0.8, (0.12, 0.8))
    other = (base + 0.12 * normal(rng, (b, 3, 1, 1))).clamp(0.02, 1)
    blend = step(smooth_noise(b, size, rng, 40) + each(rng, b, -1, 1), 1.0)
    return shade(mix(base, other, blend), each(rng, b, 0.08, 0.3) * (0.7 * tufts + 0.5 * relief), 1.0)


def biscuit(b: int, size: int, rng: Generator) -> Tensor:
    """Baked dough: bumps, browned heights, crumbs, sometimes chocolate chips."""
    dough = fractal_noise(b, size, rng, (1.8, 2.6), lowest=4)
    relief = emboss(dough, each(rng, b, 0, 2 * math.pi))
    base = color(rng, b, (0.62, 0.42, 0.22), (0.88, 0.7, 0.46), 0.04)
    brown = base * torch.tensor((0.72, 0.58, 0.45), device=rng.device).view(1, 3, 1, 1)
    images = mix(base, brown, step(dough - each(rng, b, 0, 1), 2.5) * each(rng, b, 0.2, 0.9))
    near, _, tone = cells(b, size, rng, (4, 9))
    chips = (
        step(each(rng, b, 0.18, 0.34) - near - 0.04 * dough, 0.06)
        * (tone < each(rng, b, 0.1, 0.5))
        * chance(rng, b, 0.5)
    )
    images = mix(images, color(rng, b, (0.12, 0.07, 0.05), (0.3, 0.18, 0.12), 0.0), chips)
    return shade(images, relief, each(rng, b, 0.05, 0.2))


def bread(b: int, size: int, rng: Generator) -> Tensor:
    """Crumb with open pores of many sizes; also foam and sponge."""
    noise = fractal_noise(b, size, rng, (1.2, 2.2), 2.0, ring=(10, 40), ring_share=0.6)
    pores = step(noise - each(rng, b, 0.6, 1.6), each(rng, b, 0.3, 1.0))
    relief = emboss(noise, each(rng, b, 0, 2 * math.pi))
    base = color(rng, b, (0.65, 0.55, 0.38), (0.93, 0.87, 0.74), 0.15)
    light = relief * each(rng, b, 0.03, 0.15) - pores * each(rng, b, 0.15, 0.5)
    return shade(base, light, 1.0)


def cork(b: int, size: int, rng: Generator) -> Tensor:
    """Pressed granules of many browns."""
    _, border, tone = cells(b, size, rng, (15, 50))
    fine = fractal_noise(b, size, rng, (0.6, 1.8))
    base = color(rng, b, (0.5, 0.34, 0.2), (0.78, 0.6, 0.42), 0.06)
    gap = 1 - step(border - 0.06, 0.2)
    return shade(base, each(rng, b, 0.1, 0.45) * (tone - 0.5) - each(rng, b, 0.05, 0.4) * gap + 0.06 * fine, 1.0)


def plaster(b: int, size: int, rng: Generator) -> Tensor:
    """A trowelled wall: broad strokes of relief."""
    height = standardize(fractal_noise(b, size, rng, (2.0, 3.2), 8.0) + 0.1 * normal(rng, (b, size, size)))
    relief = emboss(height, each(rng, b, 0, 2 * math.pi))
    base = color(rng, b, (0.6, 0.57, 0.5), (0.93, 0.92, 0.88), 0.25)
    return shade(base, relief * each(rng, b, 0.02, 0.15) + stretch(height) * each(rng, b, -0.1, 0.1), 1.0)

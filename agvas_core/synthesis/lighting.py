"""Normal disturbances: of the scene, before a defect is planted, and of the camera, after it."""
# images (b, 3, H, W) in [0, 1]

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from agvas_core.synthesis.camera import CAMERA, Nuisance
from agvas_core.synthesis.colors import any_color, luminance, mix
from agvas_core.synthesis.lettering import writing
from agvas_core.synthesis.noise import (
    angles,
    chance,
    coordinates,
    each,
    fractal_noise,
    normal,
    rotate,
    rotated,
    smooth_noise,
    step,
    uniform,
)
from agvas_core.synthesis.outlines import part_border


def uneven_light(images: Tensor, rng: Generator) -> Tensor:
    """Light falls off across the picture, by a slope and soft clouds."""
    b, _, size, _ = images.shape
    _, u = rotated(b, size, rng, each(rng, b, 0, 2 * math.pi))
    light = u * each(rng, b, 0, 0.45) + smooth_noise(b, size, rng, 4) * each(rng, b, 0, 0.15)
    return images * (1 + light).clamp(min=0.15)[:, None]


def shadow(images: Tensor, rng: Generator) -> Tensor:
    """A soft or rather sharp shadow with a bent edge, or the stripe of one."""
    b, _, size, _ = images.shape
    v, _ = rotated(b, size, rng, each(rng, b, 0, 2 * math.pi))
    edge = v + 0.15 * smooth_noise(b, size, rng, 4) - each(rng, b, -0.9, 0.9)
    edge = torch.where(chance(rng, b, 0.35), each(rng, b, 0.1, 0.5) - edge.abs(), edge)
    return images * (1 - step(edge, each(rng, b, 0.06, 1.0, log=True)) * each(rng, b, 0.15, 0.65))[:, None]


def broad_highlight(images: Tensor, rng: Generator) -> Tensor:
    """One or two soft bright spots or bands, up to white."""
    b, _, size, _ = images.shape
    out = images
    for share in (1.0, 0.3):
        v, u = rotated(b, size, rng)
        spread = each(rng, b, 0.15, 0.7, log=True)
        stretch = each(rng, b, 1, 12, log=True)
        dv, du = v - each(rng, b, -1, 1), u - each(rng, b, -1, 1)
        glow = torch.exp(-((dv / spread) ** 2 + (du / (spread * stretch)) ** 2))
        out = mix(out, torch.ones_like(out), glow * each(rng, b, 0.08, 0.75) * chance(rng, b, share))
    return out


def grain_angle(images: Tensor, rng: Generator) -> Tensor:
    """Return the angle (b, 1, 1) of least change (structure tensor); a free one if there is none."""
    gray = F.avg_pool2d(luminance(images)[:, 0], 2)
    # Central differences: one-sided ones share a pixel, which makes noise look diagonal.
    dy, dx = gray[:, 2:, 1:-1] - gray[:, :-2, 1:-1], gray[:, 1:-1, 2:] - gray[:, 1:-1, :-2]
    double, level = 2 * (dx * dy).mean((1, 2)), (dx * dx - dy * dy).mean((1, 2))
    energy = (dx * dx + dy * dy).mean((1, 2)).clamp(min=1e-9)
    along = (0.5 * torch.atan2(double, level) + math.pi / 2).view(-1, 1, 1)
    coherent = (torch.hypot(double, level) / energy > 0.2).view(-1, 1, 1)
    return torch.where(coherent, along, angles(rng, len(images), 0.85))


def specular_streaks(images: Tensor, rng: Generator) -> Tensor:
    """Bright (sometimes dark) bands and fine lines along the grain, as under a line light."""
    b, _, size, _ = images.shape
    y, x = coordinates(size, images.device)
    v, u = rotate(y, x, grain_angle(images, rng) + 0.03 * normal(rng, (b, 1, 1)))
    center, width = each(rng, b, -0.9, 0.9), each(rng, b, 0.1, 0.7, log=True)
    band = torch.exp(-(((v - center) / width) ** 2))
    frequency = each(rng, b, 15, 90, log=True)
    fine = (
        torch.sin(v * frequency + each(rng, b, 0, 6))
        + torch.sin(v * frequency * 2.63)
        + torch.sin(v * frequency * 0.41 + 2)
    )
    fade = 0.5 + 0.5 * torch.sin(u * each(rng, b, 0.3, 2.5) + each(rng, b, 0, 6))
    light = band * (0.6 + each(rng, b, 0, 0.35) * fine).clamp(min=0) * (0.3 + 0.7 * fade) * each(rng, b, 0.1, 0.8)
    dark = images * (1 - 0.6 * light)[:, None]
    return torch.where(chance(rng, b, 0.2)[:, None], dark, mix(images, torch.ones_like(images), light.clamp(max=1)))


def dark_border(images: Tensor, rng: Generator) -> Tensor:
    """The part ends near the picture's border: strips beyond it, rounded corners, a lit rim."""
    b, _, size, _ = images.shape
    inside, rim, depth = part_border(b, size, rng)
    bright = chance(rng, b, 0.12)[:, None]
    ground = torch.where(bright, any_color(rng, b, 0.3, (0.75, 1.0)), any_color(rng, b, 0.4, (0.0, 0.22)))
    ground = ground * (1 + 0.1 * smooth_noise(b, size, rng, 3) - 0.15 * depth)[:, None]
    return mix(
        ground.clamp(0, 1),
        mix(images, torch.ones_like(images), rim.clamp(0, 1)) * (1 + rim.clamp(max=0))[:, None],
        inside,
    )


def seam(images: Tensor, rng: Generator) -> Tensor:
    """A joint, weld or fold that runs straight through the whole picture: line, pair of lines, or step of tone."""
    b, _, size, _ = images.shape
    v, _ = rotated(b, size, rng, angles(rng, b, 0.93))
    v = v - each(rng, b, -0.85, 0.85)
    width = each(rng, b, 2, 12, log=True) / size
    groove = torch.exp(-((v / width) ** 2))
    light = torch.exp(-(((v - 1.6 * width) / width) ** 2))
    pair = torch.exp(-(((v - each(rng, b, 0.04, 0.3)) / width) ** 2)) * chance(rng, b, 0.3)
    level = step(v, 2 * width) * each(rng, b, -0.25, 0.25) * chance(rng, b, 0.5)
    depth = each(rng, b, 0.1, 0.8)
    change = level - depth * (groove + pair) + each(rng, b, 0, 0.4) * light
    return images * (1 + change).clamp(min=0.03)[:, None]


def lettering(images: Tensor, rng: Generator) -> Tensor:
    """Stamped, printed or handwritten numbers and letters."""
    b, _, size, _ = images.shape
    ink = writing(b, size, rng)
    strength = each(rng, b, 0.1, 0.85)
    tone = torch.where(
        chance(rng, b, 0.65)[:, None], any_color(rng, b, 0.8, (0.0, 0.3)), any_color(rng, b, 0.8, (0.7, 1.0))
    )
    printed = mix(images, tone, ink * strength)
    # Engraved: the lower right flank of the stroke is lit, the other one dark.
    lower = torch.roll(ink, (1, 1), (1, 2)) - torch.roll(ink, (-1, -1), (1, 2))
    engraved = images * (1 + strength * (0.6 * lower - 0.35 * ink)).clamp(min=0.05)[:, None]
    return torch.where(chance(rng, b, 0.35)[:, None], engraved, printed)


def speckle(images: Tensor, rng: Generator) -> Tensor:
    """Faint natural specks all over, of one size."""
    b, _, size, _ = images.shape
    grain = fractal_noise(b, size, rng, (0.2, 0.8), ring=(25, 110))
    specks = step(grain - each(rng, b, 1.8, 3.0), 0.5) * each(rng, b, 0.04, 0.22)
    sign = torch.where(chance(rng, b, 0.6), -1.0, 1.0)
    return images * (1 + sign * specks)[:, None]


def mottling(images: Tensor, rng: Generator) -> Tensor:
    """Faint clouds of tone, as in a bare or lightly oiled skin."""
    b, _, size, _ = images.shape
    clouds = fractal_noise(b, size, rng, (2.2, 3.2), 6.0, grain_angle(images, rng))
    return images * (1 + clouds * each(rng, b, 0.01, 0.06))[:, None]


def reflection(images: Tensor, rng: Generator) -> Tensor:
    """The straight bright reflection of a lamp or window, with soft ends."""
    b, _, size, _ = images.shape
    v, u = rotated(b, size, rng)
    v, u = v - each(rng, b, -0.9, 0.9), u - each(rng, b, -0.8, 0.8)
    soft = each(rng, b, 0.02, 0.3, log=True)
    pane = step(each(rng, b, 0.07, 0.3) - v.abs(), soft) * step(each(rng, b, 0.2, 1.4) - u.abs(), soft)
    return mix(images, torch.ones_like(images), pane * each(rng, b, 0.06, 0.5))


# name for sentences -> (function, share of the images that get it)
SCENE: dict[str, tuple[Nuisance, float]] = {
    "mottling": (mottling, 0.08),
    "speckle": (speckle, 0.1),
    "a seam": (seam, 0.08),
    "lettering": (lettering, 0.12),
    "a dark border": (dark_border, 0.12),
    "specular streaks": (specular_streaks, 0.1),
    "uneven light": (uneven_light, 0.35),
    "a shadow": (shadow, 0.1),
    "a broad highlight": (broad_highlight, 0.15),
    "a reflection": (reflection, 0.06),
}
NUISANCES: dict[str, Nuisance] = {name: entry[0] for name, entry in {**SCENE, **CAMERA}.items()}


def apply_scene(images: Tensor, rng: Generator) -> tuple[Tensor, list[tuple[str, ...]]]:
    """Disturb a random subset of the scenes (before the defect); return the images and each one's nuisances."""
    return _apply(SCENE, images, rng)


def apply_camera(images: Tensor, rng: Generator) -> tuple[Tensor, list[tuple[str, ...]]]:
    """Disturb a random subset as cameras do (after the defect); return the images and each one's nuisances."""
    return _apply(CAMERA, images, rng)


def _apply(
    table: dict[str, tuple[Nuisance, float]], images: Tensor, rng: Generator
) -> tuple[Tensor, list[tuple[str, ...]]]:
    out = images.clone()
    names: list[list[str]] = [[] for _ in range(len(images))]
    draws = uniform(rng, (len(table), len(images))).cpu()  # one transfer for all
    for (name, (nuisance, share)), row in zip(table.items(), draws, strict=True):
        chosen = (row < share).nonzero()[:, 0]
        if len(chosen):
            at = chosen.to(images.device)
            out[at] = nuisance(out[at], rng).clamp(0, 1)
            for i in chosen.tolist():
                names[i].append(name)
    return out, [tuple(n) for n in names]

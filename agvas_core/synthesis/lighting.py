"""Normal disturbances: of the scene, before a defect is planted (light, seams, writing), and of the camera, after it."""
# images (b, 3, H, W) in [0, 1]

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from agvas_core.synthesis.colors import any_color, luminance, mix
from agvas_core.synthesis.lettering import writing
from agvas_core.synthesis.noise import (
    angles,
    blur,
    chance,
    coordinates,
    each,
    fractal_noise,
    log_uniform,
    normal,
    rotate,
    rotated,
    smooth_noise,
    step,
    uniform,
)
from agvas_core.synthesis.outlines import part_border

Nuisance = Callable[[Tensor, Generator], Tensor]


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
    """Return the direction (b, 1, 1) along which the picture changes least (structure tensor), any where there is none."""
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
    fine = torch.sin(v * frequency + each(rng, b, 0, 6)) + torch.sin(v * frequency * 2.63) + torch.sin(v * frequency * 0.41 + 2)
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
    return mix(ground.clamp(0, 1), mix(images, torch.ones_like(images), rim.clamp(0, 1)) * (1 + rim.clamp(max=0))[:, None], inside)


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
    tone = torch.where(chance(rng, b, 0.65)[:, None], any_color(rng, b, 0.8, (0.0, 0.3)), any_color(rng, b, 0.8, (0.7, 1.0)))
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


def defocus(images: Tensor, rng: Generator) -> Tensor:
    """Gaussian blur, sigma up to 2 px."""
    return blur(images, each(rng, len(images), 0.4, 2.0, log=True), reach=6)


def motion_blur(images: Tensor, rng: Generator) -> Tensor:
    """The mean of copies shifted along a line of up to 9 px; a call shares the direction."""
    angle = float(uniform(rng, (1,), 0, math.pi))
    reach = float(uniform(rng, (1,), 1.0, 4.5))
    pad, size = 5, images.shape[-1]
    padded = F.pad(images, (pad,) * 4, mode="replicate")
    steps = torch.linspace(-reach, reach, 7).tolist()
    places = [(pad + round(t * math.sin(angle)), pad + round(t * math.cos(angle))) for t in steps]
    return sum((padded[:, :, y : y + size, x : x + size] for y, x in places), torch.zeros_like(images)) / len(places)


def sensor_noise(images: Tensor, rng: Generator) -> Tensor:
    """Gray noise, stronger where there is more light, plus a floor."""
    b, _, h, w = images.shape
    noise = normal(rng, (b, 1, h, w))
    sigma = each(rng, b, 0.004, 0.045, log=True)[:, None]
    return images + noise * sigma * (0.5 + images)


def chroma_noise(images: Tensor, rng: Generator) -> Tensor:
    """Coloured noise of two-pixel grain, as left by demosaicking."""
    b, _, h, w = images.shape
    coarse = F.interpolate(normal(rng, (b, 3, (h + 1) // 2, (w + 1) // 2)), (h, w), mode="bilinear")
    return images + coarse * each(rng, b, 0.005, 0.035)[:, None]


def sharpening(images: Tensor, rng: Generator) -> Tensor:
    """An unsharp mask with visible halos."""
    b = len(images)
    return images + (images - blur(images, each(rng, b, 0.7, 2.0), reach=5)) * each(rng, b, 0.4, 2.0)[:, None]


@lru_cache(maxsize=4)
def _dct(device: str) -> Tensor:
    """Return the orthonormal 8-point DCT matrix (8, 8)."""
    k, n = torch.arange(8.0).view(8, 1), torch.arange(8.0).view(1, 8)
    rows = torch.cos(math.pi * (2 * n + 1) * k / 16) * 0.5
    rows[0] *= math.sqrt(0.5)
    return rows.to(device)


def _blockwise(planes: Tensor, matrix: Tensor) -> Tensor:
    """Return matrix @ block @ matrix.T of every 8 x 8 block of (b, c, h, w)."""
    across = planes.unflatten(3, (-1, 8)) @ matrix.T  # (b, c, h, w / 8, 8)
    return torch.einsum("kn,bcinw->bcikw", matrix, across.flatten(3).unflatten(2, (-1, 8))).flatten(2, 3)


def jpeg(images: Tensor, rng: Generator) -> Tensor:
    """Quantise 8 x 8 cosine blocks as JPEG does, quality about 20 to 90; chroma more coarsely."""
    b, _, h, w = images.shape
    device, dct = images.device, _dct(str(images.device))
    to_ycc = torch.tensor(((0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081)), device=device)
    padded = F.pad(images, (0, -w % 8, 0, -h % 8), mode="replicate")
    ycc = torch.einsum("ij,bjhw->bihw", to_ycc, padded)
    k = torch.arange(8.0, device=device)
    table = 10 + 5 * (k.view(8, 1) + k.view(1, 8)) + 2 * k.view(8, 1) * k.view(1, 8)
    channel = torch.tensor((1.0, 1.8, 1.8), device=device).view(1, 3, 1, 1)
    quantum = table / 255 * channel * log_uniform(rng, (b, 1, 1, 1), 0.2, 2.2)  # (b, 3, 8, 8)
    quantum = quantum.repeat(1, 1, ycc.shape[2] // 8, ycc.shape[3] // 8)
    ycc = _blockwise(torch.round(_blockwise(ycc, dct) / quantum) * quantum, dct.T)
    back = torch.tensor(((1.0, 0.0, 1.402), (1.0, -0.344, -0.714), (1.0, 1.772, 0.0)), device=device)
    return torch.einsum("ij,bjhw->bihw", back, ycc)[:, :, :h, :w]


def gamma(images: Tensor, rng: Generator) -> Tensor:
    """Another tone curve."""
    return images.clamp(1e-4, 1) ** each(rng, len(images), 0.55, 1.8, log=True)[:, None]


def low_contrast(images: Tensor, rng: Generator) -> Tensor:
    """Haze or flare: the range shrinks towards a gray."""
    b = len(images)
    keep = each(rng, b, 0.4, 0.9)[:, None]
    return images * keep + (1 - keep) * each(rng, b, 0.1, 0.9)[:, None]


def color_cast(images: Tensor, rng: Generator) -> Tensor:
    """Wrong white balance."""
    return images * (1 + 0.08 * normal(rng, (len(images), 3, 1, 1)))


def vignette(images: Tensor, rng: Generator) -> Tensor:
    """Corners darker than the centre."""
    b, _, size, _ = images.shape
    y, x = coordinates(size, images.device)
    radius2 = (y - each(rng, b, -0.2, 0.2)) ** 2 + (x - each(rng, b, -0.2, 0.2)) ** 2
    return images * (1 - each(rng, b, 0.08, 0.5) * (radius2 / 2).clamp(max=1))[:, None]


def gray_picture(images: Tensor, rng: Generator) -> Tensor:
    """A monochrome camera."""
    return luminance(images).expand_as(images)


def exposure(images: Tensor, rng: Generator) -> Tensor:
    """More or less light, mostly less."""
    return images * each(rng, len(images), 0.45, 1.3, log=True)[:, None]


def line_noise(images: Tensor, rng: Generator) -> Tensor:
    """Rows (or columns) of a line camera with slightly different gain."""
    b, _, size, _ = images.shape
    rows = normal(rng, (b, size, 1)) * each(rng, b, 0.004, 0.03)
    return images * (1 + torch.where(chance(rng, b, 0.5), rows, rows.mT))[:, None]


def low_resolution(images: Tensor, rng: Generator) -> Tensor:
    """Taken with fewer pixels and enlarged; a call shares the factor."""
    h, w = images.shape[-2:]
    factor = float(uniform(rng, (1,), 0.4, 0.85))
    small = F.interpolate(images, (max(8, int(h * factor)), max(8, int(w * factor))), mode="area")
    return F.interpolate(small, (h, w), mode="bilinear")


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
CAMERA: dict[str, tuple[Nuisance, float]] = {
    "a vignette": (vignette, 0.2),
    "color cast": (color_cast, 0.15),
    "low resolution": (low_resolution, 0.08),
    "defocus": (defocus, 0.2),
    "motion blur": (motion_blur, 0.05),
    "dim or strong exposure": (exposure, 0.15),
    "another tone curve": (gamma, 0.2),
    "low contrast": (low_contrast, 0.1),
    "sensor noise": (sensor_noise, 0.4),
    "chroma noise": (chroma_noise, 0.1),
    "line noise": (line_noise, 0.06),
    "sharpening": (sharpening, 0.12),
    "JPEG blocks": (jpeg, 0.25),
    "gray picture": (gray_picture, 0.1),
}
NUISANCES: dict[str, Nuisance] = {name: entry[0] for name, entry in {**SCENE, **CAMERA}.items()}


def apply_scene(images: Tensor, rng: Generator) -> tuple[Tensor, list[tuple[str, ...]]]:
    """Disturb a random subset of the scenes (before the defect); return the images and each one's nuisances."""
    return _apply(SCENE, images, rng)


def apply_camera(images: Tensor, rng: Generator) -> tuple[Tensor, list[tuple[str, ...]]]:
    """Disturb a random subset as cameras do (after the defect); return the images and each one's nuisances."""
    return _apply(CAMERA, images, rng)


def _apply(table: dict[str, tuple[Nuisance, float]], images: Tensor, rng: Generator) -> tuple[Tensor, list[tuple[str, ...]]]:
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

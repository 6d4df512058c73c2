"""Defects that are lines: scratches, cracks, fibers, misprints and faulty threads."""
# images (b, 3, H, W) in [0, 1]; allowed bool (b, H, W); alpha, soft mask (b, H, W) in [0, 1]; widths in px at 256 px

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from agvas_core.synthesis.defect_fills import (
    blend,
    coin,
    either,
    largest,
    mix_rows,
    moved,
    random_color,
    smooth,
    soften,
    tone,
    unit,
)
from agvas_core.synthesis.defect_shapes import branches, field, make_site, paint, pick_pixels, soft_step, walk
from agvas_core.synthesis.defects_form import element, ground
from agvas_core.synthesis.lighting import grain_angle
from agvas_core.synthesis.noise import chance, each, uniform

LINE_GAIN = 2.2  # a line's label includes its faint middle and its edge, where the opacity exceeds 0.5 / 2.2


def _stroke(
    images: Tensor, allowed: Tensor, rng: Generator, length: tuple[float, float], width: tuple[float, float],
    bend: float, jag: tuple[float, float], fade: float, forks: int = 0, angle: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the coverage (b, H, W) of one walk per image and its points; lengths as shares of the image.

    angle: where each walk heads (b,), radians; any way where it is None.
    """
    b, _, h, w = images.shape
    start = pick_pixels(allowed, rng)[:, 0]
    reach = uniform(rng, (b,), math.log(length[0]), math.log(length[1])).exp() * h
    n = int(1.2 * h * length[1])
    if angle is None:
        angle = uniform(rng, (b,), 0, 2 * math.pi)
    points = walk(start, angle, reach, uniform(rng, (b,), -bend, bend), uniform(rng, (b,), *jag), n, rng)
    half = uniform(rng, (b, 1), math.log(width[0]), math.log(width[1])).exp() * unit(images) / 2
    waver = torch.randn(b, 1, max(4, n // 12), generator=rng, device=images.device)
    waver = F.interpolate(waver, n, mode="linear")[:, 0]
    ends = (1 - torch.linspace(-1, 1, n, device=images.device).abs() ** 6).clamp(min=0)
    half_width = half * (1 + 0.3 * waver).clamp(0.35, 1.8)
    strength = (1 - fade * (0.4 + 0.4 * waver).clamp(0, 1)) * ends
    if forks:
        side, alive = branches(points, forks, reach, n // 3, rng)
        points = torch.cat([points, side], 1)
        half_width = torch.cat([half_width, (0.75 * half).expand(b, side.shape[1])], 1)
        strength = torch.cat([strength, 0.85 * alive], 1)
    return paint(points, half_width, strength, (h, w)) * allowed, points


def _stripes(images: Tensor, allowed: Tensor, rng: Generator) -> Tensor:
    """Return the coverage (b, H, W) of one to three almost straight stripes through much of the picture.

    Guides and rolls leave them, as a rule along a side of the picture, narrow or broad, often from border to border;
    a broad one may be a band of fine scores.
    """
    b, u = len(images), unit(images)
    upright = torch.where(chance(rng, b, 0.5), 0.0, math.pi / 2) + each(rng, b, -0.05, 0.05)
    angle = torch.where(chance(rng, b, 0.7), upright, each(rng, b, 0, math.pi))
    site = make_site(allowed, rng, (0.005, 0.02), angle=angle)
    across = site.v + each(rng, b, -0.15, 0.15) * site.u.square() / images.shape[-1]
    rough = field(site, rng)
    half = each(rng, b, 0.6, 10.0, log=True) * u
    d = across.abs() - half
    for _ in range(2):
        gap = each(rng, b, -30, 30) * u
        beside = (across - gap).abs() - half * each(rng, b, 0.3, 1.0)
        d = torch.where(chance(rng, b, 0.3), torch.minimum(d, beside), d)
    d = torch.maximum(
        d + each(rng, b, 0, 0.35) * half * rough, site.u.abs() - each(rng, b, 0.15, 1.5) * images.shape[-1]
    )
    faint = 1 - each(rng, b, 0, 0.4) * (0.5 + 0.5 * rough).clamp(0, 1)
    if coin(rng, 0.4):
        faint = faint * _scores(across / u, rng)
    return soft_step(d, 1.5 * u) * faint * allowed


def _scores(across: Tensor, rng: Generator) -> Tensor:
    """Return how strong a band of fine parallel lines is, in [0.55, 1], at `across` (b, H, W) px at 256 px."""
    b, cells = len(across), 64
    lines = torch.randn(b, 1, 1, cells, generator=rng, device=across.device)
    at = torch.stack([across / each(rng, b, 16, 48), torch.zeros_like(across)], -1)
    strength = F.grid_sample(lines, at, padding_mode="reflection", align_corners=False)[:, 0]
    return (0.8 + 0.35 * strength).clamp(0.55, 1)


def scratch(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Thin, straight or gently bent, bright or dark, sometimes with a lit edge or a parallel twin; or long stripes."""
    if coin(rng, 0.4):
        alpha = _stripes(images, allowed, rng)
        return tone(images, alpha, rng, 0.12, 0.75, dark=0.4), (1.6 * alpha).clamp(0, 1)
    along = None  # what rubs on a part as it moves, rubs along its grain, and again and again
    if coin(rng, 0.4):
        along = (grain_angle(images, rng) + each(rng, len(images), -0.25, 0.25)).flatten()
    alpha, points = _stroke(images, allowed, rng, (0.06, 1.2), (0.9, 3.6), 0.5, (0.0, 0.03), 0.5, angle=along)
    if coin(rng, 0.25):
        gap = uniform(rng, (len(images), 1, 2), -9, 9) * unit(images)
        n = points.shape[1]
        half = each(rng, len(images), 0.45, 1.0)[:, :, 0] * unit(images)
        twin = paint(points[:, n // 5 : -n // 8] + gap, half.expand(-1, n)[:, n // 5 : -n // 8],
                     torch.full((1, 1), 0.8, device=images.device), images.shape[-2:])  # fmt: skip
        alpha = torch.maximum(alpha, twin * allowed)
    out = tone(images, alpha, rng, 0.15, 0.75, dark=0.5)
    if coin(rng, 0.35):  # a groove: the other edge catches the light
        out = blend(out, 1 - (1 - out) * 0.7, (alpha.roll(1, 1) - alpha).clamp(0, 1) * allowed)
    return out, (LINE_GAIN * alpha).clamp(0, 1)


def crack(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Thin, jagged and branching, dark (seldom bright), faint in places; or gaping, so that the ground is seen."""
    if coin(rng, 0.2):
        alpha, _ = _stroke(images, allowed, rng, (0.2, 1.4), (3.0, 6.4), 1.0, (0.3, 0.9), 0.0)
        return blend(images, ground(images, allowed, rng), alpha), alpha
    forks = int(torch.randint(0, 6, (), generator=rng, device=rng.device))
    alpha, _ = _stroke(images, allowed, rng, (0.15, 1.6), (0.9, 4.0), 1.2, (0.25, 0.9), 0.6, forks)
    return tone(images, alpha, rng, 0.2, 0.9, dark=0.93), (LINE_GAIN * alpha).clamp(0, 1)


def fiber(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A smooth, evenly thin, curled hair or thread lying on top, with a faint shadow."""
    b = len(images)
    alpha, _ = _stroke(images, allowed, rng, (0.2, 1.1), (1.0, 2.6), 6.0, (0.0, 0.02), 0.0)
    step = max(1, round(1.5 * unit(images)))
    shadow = soften(alpha[:, None].roll((step, step), (2, 3)), 0.8 * unit(images))[:, 0] * allowed
    out = images * (1 - 0.3 * shadow[:, None] * each(rng, b, 0, 1)[:, None])
    around = (images * allowed[:, None]).sum((2, 3), keepdim=True) / allowed.sum((1, 2)).view(b, 1, 1, 1).clamp(min=1)
    gray = around.mean(1, keepdim=True)
    plain = torch.where(gray > 0.5, 0.15 * torch.ones_like(around), 0.92 * torch.ones_like(around))
    colored = random_color(rng, b, (0.4, 0.95))
    fill = torch.where(chance(rng, b, 0.6)[:, None], plain, colored)
    return blend(out, fill.expand_as(images), alpha * each(rng, b, 0.55, 1.0)), alpha


def misprint(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Wrong characters: printed twice, smeared or struck askew."""
    b, _, h, w = images.shape
    u = unit(images)
    center = pick_pixels(allowed, rng)  # (b, 1, 2)
    glyphs, strokes, n = int(torch.randint(1, 6, (), generator=rng, device=rng.device)), 3, 14
    tall = each(rng, b, 9, 26, log=True)[:, 0] * u  # (b, 1) height of a character, px
    ends = uniform(rng, (b, glyphs, strokes + 1, 2), -0.5, 0.5)
    ends = (ends * 2).round() / 2 * torch.tensor([1.0, 0.6], device=rng.device)
    t = torch.linspace(0, 1, n, device=rng.device).view(1, 1, 1, n, 1)
    line = ends[:, :, :-1, None] * (1 - t) + ends[:, :, 1:, None] * t  # (b, G, 3, n, 2)
    place = (torch.arange(glyphs, device=rng.device) - (glyphs - 1) / 2) * 0.95
    line[..., 1] += place.view(1, -1, 1, 1)
    points = line.flatten(1, 3) * tall[..., None]
    angle = each(rng, b, -0.3, 0.3) + (chance(rng, b, 0.2) * math.pi / 2)
    y, x = points[..., 0], points[..., 1]
    points = torch.stack(
        [y * angle[:, 0].cos() + x * angle[:, 0].sin(), x * angle[:, 0].cos() - y * angle[:, 0].sin()], -1
    )
    half = (tall * 0.07).clamp(0.7 * u, 1.6 * u).expand(b, points.shape[1])
    ink = paint(points + center, half, torch.ones_like(half), (h, w))
    ghost = each(rng, b, 1.5, 5.0) * u, each(rng, b, -4.0, 4.0) * u
    double = moved(ink[:, None], *ghost)[:, 0] * each(rng, b, 0.4, 0.8)
    smear = soften(ink[:, None], 1.6 * u)[:, 0] * 0.9
    alpha = torch.maximum(ink, either(double, smear, rng)) * allowed * each(rng, b, 0.6, 1.0)
    return tone(images, alpha, rng, 0.45, 0.9, dark=0.7), alpha


def weave_fault(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A thread or pattern line is broken, thick, missing or displaced, along one direction of the pattern."""
    if coin(rng, 0.4):
        return element(images, allowed, rng)
    b = len(images)
    u = unit(images)
    angle = torch.where(chance(rng, b, 0.5), 0.0, math.pi / 2) + each(rng, b, -0.06, 0.06)
    site = make_site(allowed, rng, (0.001, 0.02), angle=angle)
    half = each(rng, b, 1.0, 4.0, log=True) * u
    reach = each(rng, b, 0.04, 0.5, log=True) * images.shape[-1]
    waver = 0.4 * u * field(site, rng)
    d = torch.maximum(site.v.abs() - half + waver, site.u.abs() - reach)
    alpha = soft_step(d, 1.3 * u) * allowed
    shift = each(rng, b, 2.0, 6.0) * u
    slid = moved(images, shift * angle.cos(), shift * angle.sin())
    k = 2 * max(1, round(2 * u)) + 1
    thick = mix_rows(largest(images, k), -largest(-images, k), rng)
    fill = mix_rows(slid, mix_rows(thick, smooth(images, k), rng), rng, 0.4)
    out = blend(images, fill, alpha)
    shaded = tone(out, alpha, rng, 0.1, 0.5)
    return mix_rows(shaded, out, rng, 0.6), alpha

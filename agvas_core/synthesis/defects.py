"""Every kind of defect: DEFECTS[kind](images, allowed, rng) -> (images with one defect each, its soft mask)."""
# images (b, 3, H, W) in [0, 1]; allowed bool (b, H, W); alpha, soft mask (b, H, W) in [0, 1]; widths in px at 256 px

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from agvas_core.synthesis.defect_fills import (
    blend,
    grain,
    largest,
    moved,
    other_texture,
    palette,
    random_color,
    relief,
    smooth,
    soften,
    tint,
    tone,
)
from agvas_core.synthesis.defect_shapes import (
    REFERENCE_SIZE,
    Site,
    blob,
    branches,
    field,
    make_site,
    paint,
    pick_pixels,
    polygon,
    soft_step,
    specks,
    walk,
)
from agvas_core.synthesis.noise import chance, each, uniform

LINE_GAIN = 2.2  # a line's label includes its faint middle and its antialiased edge, where the opacity exceeds 0.5 / 2.2
DefectFn = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]


def _unit(images: Tensor) -> float:
    """Return the px at this size that make one px at 256 px."""
    return images.shape[-1] / REFERENCE_SIZE


def _coin(rng: Generator, p: float) -> bool:
    """Return one yes or no for the whole call."""
    return bool(torch.rand((), generator=rng, device=rng.device) < p)


def _pick(a: Tensor, b: Tensor, rng: Generator, p: float = 0.5) -> Tensor:
    """Return a for a share p of the images, b for the others."""
    return torch.where(chance(rng, len(a), p), a, b)


def _stroke(
    images: Tensor, allowed: Tensor, rng: Generator, length: tuple[float, float], width: tuple[float, float],
    bend: float, jag: tuple[float, float], fade: float, forks: int = 0,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the coverage (b, H, W) of one walk per image and its points; lengths as shares of the image."""
    b, _, h, w = images.shape
    start = pick_pixels(allowed, rng)[:, 0]
    reach = uniform(rng, (b,), math.log(length[0]), math.log(length[1])).exp() * h
    n = int(1.2 * h * length[1])
    angle = uniform(rng, (b,), 0, 2 * math.pi)
    points = walk(start, angle, reach, uniform(rng, (b,), -bend, bend), uniform(rng, (b,), *jag), n, rng)
    half = uniform(rng, (b, 1), math.log(width[0]), math.log(width[1])).exp() * _unit(images) / 2
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


def scratch(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Thin, straight or gently bent, bright or dark, sometimes with a lit edge or a parallel twin."""
    alpha, points = _stroke(images, allowed, rng, (0.06, 0.8), (0.9, 3.6), 0.5, (0.0, 0.03), 0.5)
    if _coin(rng, 0.25):
        gap = uniform(rng, (len(images), 1, 2), -9, 9) * _unit(images)
        n = points.shape[1]
        half = each(rng, len(images), 0.45, 1.0)[:, :, 0] * _unit(images)
        twin = paint(points[:, n // 5 : -n // 8] + gap, half.expand(-1, n)[:, n // 5 : -n // 8],
                     torch.full((1, 1), 0.8, device=images.device), images.shape[-2:])  # fmt: skip
        alpha = torch.maximum(alpha, twin * allowed)
    out = tone(images, alpha, rng, 0.15, 0.75, dark=0.5)
    if _coin(rng, 0.35):  # a groove: the other edge catches the light
        out = blend(out, 1 - (1 - out) * 0.7, (alpha.roll(1, 1) - alpha).clamp(0, 1) * allowed)
    return out, (LINE_GAIN * alpha).clamp(0, 1)


def crack(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Thin, jagged and branching, dark (seldom bright), faint in places."""
    forks = int(torch.randint(0, 6, (), generator=rng, device=rng.device))
    alpha, _ = _stroke(images, allowed, rng, (0.15, 1.1), (0.9, 4.0), 1.2, (0.25, 0.9), 0.6, forks)
    return tone(images, alpha, rng, 0.2, 0.9, dark=0.93), (LINE_GAIN * alpha).clamp(0, 1)


def fiber(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A smooth, evenly thin, curled hair or thread lying on top, with a faint shadow."""
    b = len(images)
    alpha, _ = _stroke(images, allowed, rng, (0.2, 1.1), (1.0, 2.6), 6.0, (0.0, 0.02), 0.0)
    step = max(1, round(1.5 * _unit(images)))
    shadow = soften(alpha[:, None].roll((step, step), (2, 3)), 0.8 * _unit(images))[:, 0] * allowed
    out = images * (1 - 0.3 * shadow[:, None] * each(rng, b, 0, 1)[:, None])
    ground = (images * allowed[:, None]).sum((2, 3), keepdim=True) / allowed.sum((1, 2)).view(b, 1, 1, 1).clamp(min=1)
    gray = ground.mean(1, keepdim=True)
    plain = torch.where(gray > 0.5, 0.15 * torch.ones_like(ground), 0.92 * torch.ones_like(ground))
    colored = random_color(rng, b, (0.4, 0.95))
    fill = torch.where(chance(rng, b, 0.6)[:, None], plain, colored)
    return blend(out, fill.expand_as(images), alpha * each(rng, b, 0.55, 1.0)), alpha


def hole(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A deep, dark, round opening; its rim catches the light."""
    b = len(images)
    site = make_site(allowed, rng, (0.0006, 0.03))
    d = blob(site, rng, 1.5, (0.02, 0.14))
    u = _unit(images)
    rim = each(rng, b, 1.0, 2.6) * u
    inside = soft_step(d, 1.5 * u) * allowed
    ring = soft_step((d - rim).abs() - rim, 1.5 * u) * allowed * chance(rng, b, 0.6)
    lit = 1 - (1 - images) * each(rng, b, 0.4, 0.9)[:, None]
    out = blend(images, torch.where(chance(rng, b, 0.5)[:, None], lit, images * 0.7), ring * (1 - inside))
    depth = (1 + d / site.radius).clamp(0, 1)[:, None]  # 0 in the middle, 1 at the edge
    deep = images.mean((2, 3), keepdim=True) * each(rng, b, 0.02, 0.25)[:, None]
    deep = deep * (0.6 + 0.6 * depth) + 0.02 * grain(b, images.shape[-2:], rng, 40)[:, None] * deep
    return blend(out, deep, inside), torch.maximum(inside, ring)


def pit(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """One small dark cavity or a cluster of pores."""
    b = len(images)
    site = make_site(allowed, rng, (0.0004, 0.012))
    n = 1 if _coin(rng, 0.35) else 14
    alpha = specks(site, rng, n, (2.2, 4.5) if n == 1 else (0.9, 3.2), 1.3) * allowed
    out = images * (1 - alpha * each(rng, b, 0.35, 0.95))[:, None]
    lower = (alpha.roll(max(1, round(_unit(images))), 1) - alpha).clamp(0, 1) * allowed * chance(rng, b, 0.5)
    return blend(out, 1 - (1 - out) * 0.65, lower), alpha


def _raised(images: Tensor, allowed: Tensor, rng: Generator, sign: float) -> tuple[Tensor, Tensor]:
    b = len(images)
    site = make_site(allowed, rng, (0.001, 0.06))
    d = blob(site, rng, 2.2, (0.02, 0.2), octaves=1)
    width = site.radius * each(rng, b, 0.9, 1.9)
    height = sign * soft_step(d + 0.3 * width, width)
    amount = each(rng, b, 0.18, 0.75)
    lit, size = relief(images, height, amount, rng)
    mask = torch.maximum((size * 2.5).clamp(0, 1), soft_step(d + 0.4 * site.radius, 2.0)) * allowed
    return blend(images, lit, allowed.float()), mask


def dent(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A soft hollow: dark where it falls away from the light above, bright where it rises again."""
    return _raised(images, allowed, rng, -1.0)


def bump(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A soft bulge or blister: bright towards the light, dark behind, never cut off from the ground."""
    return _raised(images, allowed, rng, 1.0)


def stain(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A spill: darker, lighter or tinted, edge hard or soft, sometimes with a dried rim."""
    b = len(images)
    site = make_site(allowed, rng, (0.0008, 0.15))
    d = blob(site, rng, 3.0, (0.1, 0.45))
    softness = each(rng, b, 0.02, 0.9, log=True) * site.radius
    alpha = soft_step(d, softness.clamp(min=1.3)) * allowed
    liquid = palette(rng, b, (0.25, 0.18, 0.1), (0.85, 0.8, 0.7))
    liquid = torch.where(chance(rng, b, 0.25)[:, None], random_color(rng, b, (0.3, 0.8)), liquid)
    strength = alpha * each(rng, b, 0.3, 1.0) * (1 + 0.15 * field(site, rng)).clamp(0.6, 1)
    out = _mix(tint(images, liquid, strength), tone(images, strength, rng, 0.12, 0.7), rng)
    ring = soft_step(d.abs() - 0.06 * site.radius - 0.6, 1.5) * allowed * chance(rng, b, 0.3)
    return out * (1 - 0.3 * (ring * alpha)[:, None]), alpha


def _mix(a: Tensor, b: Tensor, rng: Generator, p: float = 0.5) -> Tensor:
    return torch.where(chance(rng, len(a), p)[:, None], a, b)


def discoloration(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A large, weak change of tone or hue with a soft edge; the texture goes on unbroken."""
    b = len(images)
    site = make_site(allowed, rng, (0.01, 0.3), skew=1.0)
    d = blob(site, rng, 3.0, (0.1, 0.5))
    alpha = soft_step(d, (each(rng, b, 0.15, 0.8) * site.radius)) * allowed
    shift = random_color(rng, b, (0.5, 1.0))
    shift = shift / shift.amax(1, keepdim=True).clamp(min=1e-3)
    colored = blend(images, images * shift, alpha * each(rng, b, 0.15, 0.6))
    return _mix(colored, tone(images, alpha, rng, 0.08, 0.35, dark=0.55), rng), alpha


def contamination(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Foreign particles or a smear of other material lying on top, opaque, with a shadow."""
    b, _, h, w = images.shape
    u = _unit(images)
    site = make_site(allowed, rng, (0.0005, 0.03))
    lump = soft_step(blob(site, rng, 2.5, (0.15, 0.6)), 1.5 * u)
    alpha = _pick(lump, specks(site, rng, 9, (1.6, 3.2), 1.6), rng, 0.6) * allowed
    step = max(1, round(2 * u))
    shadow = soften(alpha[:, None].roll((step, step), (2, 3)), 1.5 * u)[:, 0] * allowed
    out = images * (1 - 0.35 * shadow[:, None] * each(rng, b, 0, 1)[:, None])
    material = random_color(rng, b, (0.0, 0.9)) + 0.07 * grain(b, (h, w), rng, 48)[:, None]
    dy = soften(alpha[:, None], 1.5 * u)[:, 0]
    shine = (dy - dy.roll(step, 1)) * 0.8
    return blend(out, (material + shine[:, None]).clamp(0, 1), alpha * each(rng, b, 0.8, 1.0)), alpha


def _ground(images: Tensor, allowed: Tensor, rng: Generator) -> Tensor:
    """Return what is behind the object (b, 3, H, W): its mean colour, or black or white when nothing else is seen."""
    b = len(images)
    behind = (~allowed)[:, None]
    count = behind.sum((2, 3), keepdim=True)
    mean = (images * behind).sum((2, 3), keepdim=True) / count.clamp(min=1)
    dark = images.mean((1, 2, 3)).view(b, 1, 1, 1) > each(rng, b, 0.25, 0.6)[:, None]
    plain = torch.where(dark, each(rng, b, 0.01, 0.12)[:, None], each(rng, b, 0.85, 1.0)[:, None])
    tone_ = torch.where(count > 0.02 * images.shape[-1] ** 2, mean, plain.expand_as(mean))
    return (tone_ + 0.015 * grain(b, images.shape[-2:], rng, 32)[:, None]).clamp(0, 1)


def _bitten(images: Tensor, allowed: Tensor, site: Site, rng: Generator) -> tuple[Tensor, Tensor]:
    """Take the site's angular shape away from the object and show the ground, with a thin broken face."""
    b = len(images)
    u = _unit(images)
    d = torch.where(chance(rng, b, 0.5), polygon(site, rng), blob(site, rng, 2.2, (0.05, 0.35)))
    d = d + field(site, rng) * 0.06 * site.radius
    gone = soft_step(d, 1.3 * u) * allowed
    face = soft_step(d - 2.2 * u, 1.3 * u) * allowed * chance(rng, b, 0.6)
    lit = torch.where(chance(rng, b, 0.5)[:, None], 1 - (1 - images) * 0.6, images * 0.6)
    return blend(blend(images, lit, face), _ground(images, allowed, rng), gone), torch.maximum(gone, face)


def missing_part(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A region of the object is gone, or elements of a pattern are wiped out."""
    if _coin(rng, 0.4):
        return _element(images, allowed, rng, erase=True)
    return _bitten(images, allowed, make_site(allowed, rng, (0.002, 0.1), skew=1.0), rng)


def _rim(allowed: Tensor) -> Tensor:
    """Return the pixels within 2 px of the allowed region's edge; the picture's border counts as one."""
    inner = -F.max_pool2d(-F.pad(allowed[:, None].float(), (2, 2, 2, 2)), 5, stride=1)[:, 0]
    return allowed & (inner < 0.5)


def chipped_edge(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A bite out of the edge of the object, or of the picture when the surface fills it."""
    return _bitten(images, allowed, make_site(_rim(allowed), rng, (0.0008, 0.02), skew=1.0), rng)


def deformation(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """The pattern or outline is warped: swirled, pinched, bulged or pushed aside."""
    b = len(images)
    edge = _rim(allowed)
    on_object = (~allowed).flatten(1).any(1).view(b, 1, 1)  # an outline shows the bend better than grain does
    site = make_site(torch.where(on_object & chance(rng, b, 0.7), edge, allowed), rng, (0.006, 0.12), skew=1.0)
    d = blob(site, rng, 2.0, (0.02, 0.15))
    inside = soft_step(d + 0.35 * site.radius, 0.7 * site.radius)
    choice = uniform(rng, (b, 1, 1), 0, 3).floor()
    y, x = site.u * site.angle.sin() + site.v * site.angle.cos(), site.u * site.angle.cos() - site.v * site.angle.sin()
    side = torch.where(chance(rng, b, 0.5), -1.0, 1.0)
    turn = each(rng, b, 0.5, 1.3) * side
    scale = each(rng, b, 0.3, 0.6) * side
    push = each(rng, b, 0.25, 0.5) * site.radius
    dy = torch.where(choice == 0, turn * x, torch.where(choice == 1, scale * y, push * site.angle.cos()))
    dx = torch.where(choice == 0, -turn * y, torch.where(choice == 1, scale * x, push * site.angle.sin()))
    bent = moved(images, dy * inside, dx * inside)
    alpha = soft_step(d, 0.15 * site.radius)
    return blend(images, bent, alpha), (inside > 0.12) * alpha


def misprint(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Wrong characters: printed twice, smeared or struck askew."""
    b, _, h, w = images.shape
    u = _unit(images)
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
    alpha = torch.maximum(ink, _pick(double, smear, rng)) * allowed * each(rng, b, 0.6, 1.0)
    return tone(images, alpha, rng, 0.45, 0.9, dark=0.7), alpha


def _element(images: Tensor, allowed: Tensor, rng: Generator, erase: bool = False) -> tuple[Tensor, Tensor]:
    """One element of a regular pattern is wiped out, swollen or displaced."""
    b = len(images)
    u = _unit(images)
    site = make_site(allowed, rng, (0.0008, 0.012), skew=1.0)
    d = _pick(blob(site, rng, 1.3, (0.0, 0.08)), polygon(site, rng, 4, 0.1), rng)
    alpha = soft_step(d, 1.5 * u) * allowed
    k = 2 * max(1, round(float(torch.randint(1, 7, (), generator=rng, device=rng.device)) * u)) + 1
    grown = largest(images, k)
    shrunk = -largest(-images, k)
    if erase or _coin(rng, 0.35):  # opening takes bright elements away, closing dark ones
        opened = largest(shrunk, k)
        closed = -largest(-grown, k)
        changed_more = (images - opened).abs().mean((1, 2, 3)) < (closed - images).abs().mean((1, 2, 3))
        fill = torch.where((changed_more.view(b, 1, 1, 1)) ^ chance(rng, b, 0.25)[:, None], closed, opened)
        fill = torch.where(chance(rng, b, 0.25)[:, None], smooth(images, max(4, round(24 * u))), fill)
    elif _coin(rng, 0.5):
        fill = _mix(grown, shrunk, rng)
    else:
        theta = each(rng, b, 0, 2 * math.pi)
        shift = each(rng, b, 2.5, 9.0) * u
        fill = moved(images, shift * theta.sin(), shift * theta.cos())
    out = blend(images, fill, alpha)
    change = (out - images).abs().mean(1)
    touched = change > 0.3 * change.amax((1, 2), keepdim=True)  # the element, not the ground between
    return out, alpha * largest(touched[:, None].float(), 2 * max(1, round(u)) + 1)[:, 0]


def weave_fault(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A thread or pattern line is broken, thick, missing or displaced, along one direction of the pattern."""
    if _coin(rng, 0.4):
        return _element(images, allowed, rng)
    b = len(images)
    u = _unit(images)
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
    thick = _mix(largest(images, k), -largest(-images, k), rng)
    fill = _mix(slid, _mix(thick, smooth(images, k), rng), rng, 0.4)
    out = blend(images, fill, alpha)
    shaded = tone(out, alpha, rng, 0.1, 0.5)
    return _mix(shaded, out, rng, 0.6), alpha


def corrosion(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Rust: a rough, speckled, reddish-brown patch with a ragged edge."""
    b, _, h, w = images.shape
    site = make_site(allowed, rng, (0.001, 0.12))
    d = blob(site, rng, 2.5, (0.45, 1.1))
    alpha = soft_step(d, 2.5 * _unit(images)) * allowed
    rough = grain(b, (h, w), rng, 24, 4)[:, None]
    rust = palette(rng, b, (0.3, 0.13, 0.05), (0.72, 0.38, 0.16))
    rust = (rust * (1 + 0.28 * rough)).clamp(0, 1)
    light = images.mean(1, keepdim=True)
    rust = rust * (0.65 + 0.6 * light)
    opacity = (each(rng, b, 0.65, 1.0) + 0.2 * rough[:, 0]).clamp(0.35, 1)
    return blend(images, rust.clamp(0, 1), alpha * opacity), alpha


def burn(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A brown-black scorch mark with a soft, brownish halo; the mask ends at half the effect."""
    b = len(images)
    site = make_site(allowed, rng, (0.0015, 0.08))
    d = blob(site, rng, 2.0, (0.1, 0.4))
    core = soft_step(d + 0.35 * site.radius, 0.6 * site.radius) * allowed
    halo = soft_step(d, 1.0 * site.radius) * allowed
    brown = palette(rng, b, (0.35, 0.2, 0.08), (0.65, 0.45, 0.28))
    out = tint(images, brown, halo * each(rng, b, 0.5, 0.95))
    char = palette(rng, b, (0.02, 0.015, 0.01), (0.13, 0.09, 0.06)) * (1 + 0.3 * grain(b, images.shape[-2:], rng, 40))[:, None]
    out = blend(out, char.clamp(0, 1), core * each(rng, b, 0.6, 1.0))
    return out, halo


def blur(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A smeared or over-polished patch: the texture is gone, the tone stays (almost)."""
    b = len(images)
    site = make_site(allowed, rng, (0.002, 0.15), skew=1.0)
    d = blob(site, rng, 4.0, (0.05, 0.35))
    alpha = soft_step(d, each(rng, b, 2.0, 8.0) * _unit(images)) * allowed
    sigma = float(torch.rand((), generator=rng, device=rng.device) * 3.5 + 2.0) * _unit(images)
    wiped = smooth(images, max(2, round(1.5 * sigma))) if _coin(rng, 0.5) else soften(images, sigma)
    wiped = (wiped * each(rng, b, 0.9, 1.12)[:, None]).clamp(0, 1)
    return blend(images, wiped, alpha), alpha


def foreign_patch(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A patch of another texture, or of the same picture from elsewhere, turned or shifted."""
    b = len(images)
    u = _unit(images)
    site = make_site(allowed, rng, (0.002, 0.12), skew=1.0)
    d = _pick(polygon(site, rng, 4 + int(_coin(rng, 0.5))), blob(site, rng, 2.2, (0.05, 0.5)), rng)
    alpha = soft_step(d, each(rng, b, 1.2, 4.0) * u) * allowed
    return blend(images, other_texture(images, rng), alpha * each(rng, b, 0.6, 1.0)), alpha


DEFECTS: dict[str, DefectFn] = {
    "scratch": scratch,
    "crack": crack,
    "hole": hole,
    "pit": pit,
    "dent": dent,
    "bump": bump,
    "stain": stain,
    "discoloration": discoloration,
    "contamination": contamination,
    "fiber": fiber,
    "missing part": missing_part,
    "chipped edge": chipped_edge,
    "deformation": deformation,
    "misprint": misprint,
    "weave fault": weave_fault,
    "corrosion": corrosion,
    "burn": burn,
    "blur": blur,
    "foreign patch": foreign_patch,
}

"""Defects of the material's look: stains, colour, foreign matter, rust, burns, blur and patches."""
# images (b, 3, H, W) in [0, 1]; allowed bool (b, H, W); alpha, soft mask (b, H, W) in [0, 1]; widths in px at 256 px

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from agvas_core.synthesis.defect_fills import (
    blend,
    coin,
    either,
    grain,
    mix_rows,
    other_texture,
    palette,
    random_color,
    smooth,
    soften,
    tint,
    tone,
    unit,
)
from agvas_core.synthesis.defect_shapes import blob, field, make_site, polygon, soft_step, specks
from agvas_core.synthesis.noise import chance, each

LARGE = 0.25  # share of zones that take up much of the picture: rolled, coated and grown material spoils by the area


def stain(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A spill: darker, lighter or tinted, its edge hard or soft, some with a dried rim; at times drawn out or large."""
    b = len(images)
    drawn = coin(rng, 0.3)  # along a side of the picture, as a belt or a roll moves
    angle = torch.where(chance(rng, b, 0.5), 0.0, math.pi / 2) + each(rng, b, -0.1, 0.1) if drawn else None
    site = make_site(allowed, rng, (0.0008, 0.12), angle=angle, large=LARGE)
    d = blob(site, rng, 9.0 if drawn else 3.0, (0.1, 0.45))
    softness = each(rng, b, 0.02, 0.9, log=True) * site.radius
    alpha = soft_step(d, softness.clamp(min=1.3)) * allowed
    liquid = palette(rng, b, (0.25, 0.18, 0.1), (0.85, 0.8, 0.7))
    liquid = torch.where(chance(rng, b, 0.25)[:, None], random_color(rng, b, (0.3, 0.8)), liquid)
    strength = alpha * each(rng, b, 0.3, 1.0) * (1 + 0.15 * field(site, rng)).clamp(0.6, 1)
    out = mix_rows(tint(images, liquid, strength), tone(images, strength, rng, 0.12, 0.7), rng)
    ring = soft_step(d.abs() - 0.06 * site.radius - 0.6, 1.5) * allowed * chance(rng, b, 0.3)
    return out * (1 - 0.3 * (ring * alpha)[:, None]), alpha


def discoloration(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A large, weak change of tone or hue with a soft edge; the texture goes on unbroken."""
    b = len(images)
    site = make_site(allowed, rng, (0.006, 0.15), skew=1.0, large=LARGE)
    d = blob(site, rng, 3.0, (0.1, 0.5))
    alpha = soft_step(d, (each(rng, b, 0.15, 0.8) * site.radius)) * allowed
    shift = random_color(rng, b, (0.5, 1.0))
    shift = shift / shift.amax(1, keepdim=True).clamp(min=1e-3)
    colored = blend(images, images * shift, alpha * each(rng, b, 0.15, 0.6))
    return mix_rows(colored, tone(images, alpha, rng, 0.08, 0.35, dark=0.55), rng), alpha


def contamination(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Foreign particles or a smear of other material lying on top, opaque, with a shadow."""
    b, _, h, w = images.shape
    u = unit(images)
    site = make_site(allowed, rng, (0.0005, 0.03), large=LARGE / 3)
    lump = soft_step(blob(site, rng, 2.5, (0.15, 0.6)), 1.5 * u)
    alpha = either(lump, specks(site, rng, 9, (1.6, 3.2), 1.6), rng, 0.6) * allowed
    step = max(1, round(2 * u))
    shadow = soften(alpha[:, None].roll((step, step), (2, 3)), 1.5 * u)[:, 0] * allowed
    out = images * (1 - 0.35 * shadow[:, None] * each(rng, b, 0, 1)[:, None])
    material = random_color(rng, b, (0.0, 0.9)) + 0.07 * grain(b, (h, w), rng, 48)[:, None]
    dy = soften(alpha[:, None], 1.5 * u)[:, 0]
    shine = (dy - dy.roll(step, 1)) * 0.8
    return blend(out, (material + shine[:, None]).clamp(0, 1), alpha * each(rng, b, 0.8, 1.0)), alpha


def corrosion(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Rust: a rough, speckled, reddish-brown patch with a ragged edge."""
    b, _, h, w = images.shape
    site = make_site(allowed, rng, (0.001, 0.12), large=LARGE)
    d = blob(site, rng, 2.5, (0.45, 1.1))
    alpha = soft_step(d, 2.5 * unit(images)) * allowed
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
    site = make_site(allowed, rng, (0.0015, 0.08), large=LARGE / 2)
    d = blob(site, rng, 2.0, (0.1, 0.4))
    core = soft_step(d + 0.35 * site.radius, 0.6 * site.radius) * allowed
    halo = soft_step(d, 1.0 * site.radius) * allowed
    brown = palette(rng, b, (0.35, 0.2, 0.08), (0.65, 0.45, 0.28))
    out = tint(images, brown, halo * each(rng, b, 0.5, 0.95))
    char = (
        palette(rng, b, (0.02, 0.015, 0.01), (0.13, 0.09, 0.06))
        * (1 + 0.3 * grain(b, images.shape[-2:], rng, 40))[:, None]
    )
    out = blend(out, char.clamp(0, 1), core * each(rng, b, 0.6, 1.0))
    return out, halo


def blur(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A smeared or over-polished patch: the texture is gone, the tone stays (almost)."""
    b = len(images)
    site = make_site(allowed, rng, (0.002, 0.1), skew=1.0, large=LARGE)
    d = blob(site, rng, 4.0, (0.05, 0.35))
    alpha = soft_step(d, each(rng, b, 2.0, 8.0) * unit(images)) * allowed
    sigma = float(torch.rand((), generator=rng, device=rng.device) * 3.5 + 2.0) * unit(images)
    wiped = smooth(images, max(2, round(1.5 * sigma))) if coin(rng, 0.5) else soften(images, sigma)
    wiped = (wiped * each(rng, b, 0.9, 1.12)[:, None]).clamp(0, 1)
    return blend(images, wiped, alpha), alpha


def foreign_patch(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A patch of another texture, or of the same picture from elsewhere, turned or shifted."""
    b = len(images)
    u = unit(images)
    site = make_site(allowed, rng, (0.002, 0.1), skew=1.0, large=LARGE)
    d = either(polygon(site, rng, 4 + int(coin(rng, 0.5))), blob(site, rng, 2.2, (0.05, 0.5)), rng)
    alpha = soft_step(d, each(rng, b, 1.2, 4.0) * u) * allowed
    return blend(images, other_texture(images, rng), alpha * each(rng, b, 0.6, 1.0)), alpha

"""Defects of form: holes, pits, dents, bumps, what is missing, chipped, bent or out of the pattern."""
# images (b, 3, H, W) in [0, 1]; allowed bool (b, H, W); alpha, soft mask (b, H, W) in [0, 1]; widths in px at 256 px

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from agvas_core.synthesis.defect_fills import blend, coin, either, grain, largest, mix_rows, moved, relief, smooth, unit
from agvas_core.synthesis.defect_shapes import Site, blob, field, make_site, polygon, soft_step, specks
from agvas_core.synthesis.noise import chance, each, smooth_noise, uniform


def hole(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A deep, dark, round opening; its rim catches the light."""
    b = len(images)
    site = make_site(allowed, rng, (0.0006, 0.03))
    d = blob(site, rng, 1.5, (0.02, 0.14))
    u = unit(images)
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
    """One small dark cavity or a cluster of pores, round or drawn out along a side of the picture, as by rolling."""
    b = len(images)
    if coin(rng, 0.2):
        return _drawn_out(images, allowed, rng)
    site = make_site(allowed, rng, (0.0004, 0.012))
    n = 1 if coin(rng, 0.35) else 14
    alpha = specks(site, rng, n, (2.2, 4.5) if n == 1 else (0.9, 3.2), 1.3) * allowed
    out = images * (1 - alpha * each(rng, b, 0.35, 0.95))[:, None]
    lower = (alpha.roll(max(1, round(unit(images))), 1) - alpha).clamp(0, 1) * allowed * chance(rng, b, 0.5)
    return blend(out, 1 - (1 - out) * 0.65, lower), alpha


def _drawn_out(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Return a few long, pointed, dark spots side by side, all in one direction."""
    b = len(images)
    angle = torch.where(chance(rng, b, 0.5), 0.0, math.pi / 2) + each(rng, b, -0.05, 0.05)
    long, thin = (each(rng, b, low, high, log=True) * unit(images) for low, high in ((6, 40), (1.0, 4.0)))
    alpha = torch.zeros_like(allowed, dtype=images.dtype)
    first = make_site(allowed, rng, (0.001, 0.01), angle=angle)
    for i in range(5):
        aside, ahead = (0.0, 0.0) if i == 0 else (each(rng, b, -7, 7) * thin, each(rng, b, -3, 3) * long)
        size = each(rng, b, 0.4, 1.0)
        u, v = (first.u - ahead) / (long * size), (first.v - aside) / (thin * size)
        spot = soft_step((u.square() + v.square() + 0.1 * field(first, rng)).clamp(min=0).sqrt() - 1, 1.0)
        there = 1.0 if i == 0 else chance(rng, b, 0.6)
        alpha = torch.maximum(alpha, spot * there)
    alpha = alpha * allowed
    return images * (1 - alpha * each(rng, b, 0.25, 0.8))[:, None], alpha


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


def ground(images: Tensor, allowed: Tensor, rng: Generator) -> Tensor:
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
    u = unit(images)
    d = torch.where(chance(rng, b, 0.5), polygon(site, rng), blob(site, rng, 2.2, (0.05, 0.35)))
    d = d + field(site, rng) * 0.06 * site.radius
    gone = soft_step(d, 1.3 * u) * allowed
    face = soft_step(d - 2.2 * u, 1.3 * u) * allowed * chance(rng, b, 0.6)
    lit = torch.where(chance(rng, b, 0.5)[:, None], 1 - (1 - images) * 0.6, images * 0.6)
    return blend(blend(images, lit, face), ground(images, allowed, rng), gone), torch.maximum(gone, face)


def _broken(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Break the object open from its edge: a ragged gap that narrows towards the inside and shows the ground."""
    b, u = len(images), unit(images)
    edge = _rim(allowed)
    size = allowed.flatten(1).sum(1).view(b, 1, 1).float().sqrt()
    middle = _middle(allowed)
    site = make_site(edge, rng, (0.002, 0.004))
    toward = torch.atan2(middle[:, 0] - site.center_yx[:, 0], middle[:, 1] - site.center_yx[:, 1]).view(b, 1, 1)
    turn = toward - site.angle + each(rng, b, -0.5, 0.5)
    along = site.u * turn.cos() + site.v * turn.sin()  # px inwards from the edge
    across = site.v * turn.cos() - site.u * turn.sin()
    length = size * each(rng, b, 0.2, 1.1)
    bend = each(rng, b, 0.02, 0.1) * length * smooth_noise(b, images.shape[-1], rng, 8)
    rough = u * each(rng, b, 0.5, 3.0) * smooth_noise(b, images.shape[-1], rng, 40)
    mouth = size * each(rng, b, 0.02, 0.2)
    half = mouth * (1 - along / length).clamp(0, 1.3) ** each(rng, b, 0.6, 1.4)
    d = torch.maximum((across + bend).abs() - half + rough, along - length)
    gone = soft_step(d, 1.3 * u) * allowed * (half > 0.5 * u)
    face = soft_step(d - each(rng, b, 1, 4) * u, 1.3 * u) * allowed * chance(rng, b, 0.6)
    lit = torch.where(chance(rng, b, 0.4)[:, None], 1 - (1 - images) * 0.7, images * 0.65)
    return blend(blend(images, lit, face), ground(images, allowed, rng), gone), gone


def _middle(allowed: Tensor) -> Tensor:
    """Return the mean place (b, 2) as y, x of the allowed pixels."""
    weight = allowed.float()
    total = weight.sum((1, 2)).clamp(min=1)
    y = torch.arange(allowed.shape[1], device=allowed.device).float()
    x = torch.arange(allowed.shape[2], device=allowed.device).float()
    return torch.stack([(weight.sum(2) * y).sum(1) / total, (weight.sum(1) * x).sum(1) / total], -1)


def missing_part(images: Tensor, allowed: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A region of the object is gone, its edge is broken open, or elements of a pattern are wiped out."""
    if coin(rng, 0.35):
        return element(images, allowed, rng, erase=True)
    if not bool(allowed.flatten(1).all(1).any()) and coin(rng, 0.4):
        return _broken(images, allowed, rng)
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


def element(images: Tensor, allowed: Tensor, rng: Generator, erase: bool = False) -> tuple[Tensor, Tensor]:
    """One element of a regular pattern is wiped out, swollen or displaced."""
    b = len(images)
    u = unit(images)
    site = make_site(allowed, rng, (0.0008, 0.012), skew=1.0)
    d = either(blob(site, rng, 1.3, (0.0, 0.08)), polygon(site, rng, 4, 0.1), rng)
    alpha = soft_step(d, 1.5 * u) * allowed
    k = 2 * max(1, round(float(torch.randint(1, 7, (), generator=rng, device=rng.device)) * u)) + 1
    grown = largest(images, k)
    shrunk = -largest(-images, k)
    if erase or coin(rng, 0.35):  # opening takes bright elements away, closing dark ones
        opened = largest(shrunk, k)
        closed = -largest(-grown, k)
        changed_more = (images - opened).abs().mean((1, 2, 3)) < (closed - images).abs().mean((1, 2, 3))
        fill = torch.where((changed_more.view(b, 1, 1, 1)) ^ chance(rng, b, 0.25)[:, None], closed, opened)
        fill = torch.where(chance(rng, b, 0.25)[:, None], smooth(images, max(4, round(24 * u))), fill)
    elif coin(rng, 0.5):
        fill = mix_rows(grown, shrunk, rng)
    else:
        theta = each(rng, b, 0, 2 * math.pi)
        shift = each(rng, b, 2.5, 9.0) * u
        fill = moved(images, shift * theta.sin(), shift * theta.cos())
    out = blend(images, fill, alpha)
    change = (out - images).abs().mean(1)
    touched = change > 0.3 * change.amax((1, 2), keepdim=True)  # the element, not the ground between
    return out, alpha * largest(touched[:, None].float(), 2 * max(1, round(u)) + 1)[:, 0]

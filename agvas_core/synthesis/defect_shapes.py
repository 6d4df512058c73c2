"""Outlines of defects as soft masks in [0, 1]: blobs, polygons, strokes and specks, all batched."""
# b images, H, W pixels, P points of a stroke; lengths in px of the image at hand

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from agvas_core.synthesis.noise import chance, each, uniform

REFERENCE_SIZE = 256  # stroke widths are given in px at this image size
LARGE_AREA = (0.04, 0.35)  # of a zone that takes up much of the picture, as share of it


@dataclass(frozen=True, eq=False)
class Site:
    """Where a defect lies: its own frame, turned by `angle` about its centre.

    Attributes:
        u: (b, H, W) px along the long axis.
        v: (b, H, W) px across.
        radius: (b, 1, 1) px, of the circle of equal area.
        center_yx: (b, 2) px.
        angle: (b, 1, 1) radians.
    """

    u: Tensor
    v: Tensor
    radius: Tensor
    center_yx: Tensor
    angle: Tensor


def pick_pixels(where: Tensor, rng: Generator, n: int = 1) -> Tensor:
    """Return n random pixels (b, n, 2) as y, x of each bool map (b, H, W); anywhere when a map is empty."""
    b, h, w = where.shape
    cell = max(1, h // 64)
    small = F.max_pool2d(where[:, None].float(), cell).flatten(1)  # (b, cells)
    small = torch.where(small.sum(1, keepdim=True) > 0, small, torch.ones_like(small))
    index = torch.multinomial(small, n, replacement=True, generator=rng)  # (b, n)
    cols = w // cell
    yx = torch.stack([index // cols, index % cols], -1).float()  # (b, n, 2)
    return (yx + uniform(rng, (b, n, 2))) * cell


def make_site(
    where: Tensor, rng: Generator, area: tuple[float, float], skew: float = 1.1, angle: Tensor | None = None,
    large: float = 0.0,
) -> Site:  # fmt: skip
    """Choose a centre in `where` and a size: a share of the image's area between two bounds, mostly small.

    large: how many of the images have a zone of LARGE_AREA instead.
    """
    b, h, w = where.shape
    yx = pick_pixels(where, rng)[:, 0]  # (b, 2)
    if angle is None:
        angle = each(rng, b, 0.0, 2 * math.pi)
    low, high = math.log(area[0]), math.log(area[1])
    share = (low + (high - low) * uniform(rng, (b, 1, 1)) ** skew).exp()
    if large:
        share = torch.where(chance(rng, b, large), each(rng, b, *LARGE_AREA, log=True), share)
    radius = (share * h * w / math.pi).sqrt().clamp(min=3.2)
    y = torch.arange(h, device=where.device)[None, :, None] + 0.5 - yx[:, :1, None]  # (b, H, 1)
    x = torch.arange(w, device=where.device)[None, None, :] + 0.5 - yx[:, 1:, None]  # (b, 1, W)
    u = x * angle.cos() + y * angle.sin()
    v = y * angle.cos() - x * angle.sin()
    return Site(u, v, radius, yx, angle)


def field(site: Site, rng: Generator, cells: int = 9, octaves: int = 3, reach: float = 1.7) -> Tensor:
    """Return noise (b, H, W), about unit variance, that scales and turns with the defect."""
    b = len(site.u)
    n = cells * 2 ** (octaves - 1)
    table = torch.zeros(b, 1, n, n, device=site.u.device)
    for i in range(octaves):
        m = cells * 2**i
        noise = torch.randn(b, 1, m, m, generator=rng, device=site.u.device)
        table += F.interpolate(noise, (n, n), mode="bicubic", align_corners=False) * 0.6**i
    table /= math.sqrt(sum(0.36**i for i in range(octaves))) * 0.85
    scale = reach * site.radius
    return F.grid_sample(
        table, torch.stack([site.u / scale, site.v / scale], -1), padding_mode="reflection", align_corners=False
    )[:, 0]


def soft_step(distance: Tensor, softness: Tensor | float) -> Tensor:
    """Return 1 inside (distance < 0) and 0 outside, over a ramp `softness` px wide."""
    x = (0.5 - distance / softness).clamp(0, 1)
    return x * x * (3 - 2 * x)


def blob(
    site: Site, rng: Generator, aspect: float = 2.5, rough: tuple[float, float] = (0.05, 0.4), octaves: int = 3
) -> Tensor:
    """Return a signed distance in px (b, H, W), negative inside a noisy-edged ellipse; much roughness makes a cloud."""
    b = len(site.u)
    stretch = each(rng, b, 1.0, aspect, log=True).sqrt()
    r = ((site.u / stretch) ** 2 + (site.v * stretch) ** 2).sqrt() / site.radius
    return (r - 1 + each(rng, b, *rough) * field(site, rng, 4 if octaves == 1 else 9, octaves)) * site.radius


def polygon(site: Site, rng: Generator, sides: int = 5, jitter: float = 0.35) -> Tensor:
    """Return a signed distance in px (b, H, W), negative inside a convex polygon."""
    b = len(site.u)
    distance = torch.full_like(site.u, -1e6)
    for k in range(sides):
        theta = 2 * math.pi * (k + uniform(rng, (b, 1, 1), -0.5, 0.5) * jitter * 2) / sides
        reach = site.radius * each(rng, b, 0.6, 1.2)
        distance = torch.maximum(distance, site.u * theta.cos() + site.v * theta.sin() - reach)
    return distance


def paint(points_yx: Tensor, half_width: Tensor, strength: Tensor, size_hw: Sequence[int]) -> Tensor:
    """Return antialiased coverage (b, H, W) in [0, 1] of discs along points (b, P, 2) of radius half_width (b, P)."""
    h, w = size_hw
    reach = 1 + math.ceil(3.2 * max(h, w) / REFERENCE_SIZE)
    span = torch.arange(-reach, reach + 1, device=points_yx.device)
    dy, dx = torch.meshgrid(span, span, indexing="ij")
    window = torch.stack([dy.flatten(), dx.flatten()], -1)  # (K, 2)
    pixel = points_yx.floor().long()[:, :, None] + window  # (b, P, K, 2)
    distance = (pixel + 0.5 - points_yx[:, :, None]).norm(dim=-1)  # (b, P, K)
    cover = (half_width[..., None] - distance + 0.5).clamp(0, 1) * strength[..., None]
    cover = cover * (2 * half_width[..., None]).clamp(max=1)  # below one px wide: fainter instead of thinner
    y, x = pixel[..., 0], pixel[..., 1]
    cover = cover * ((y >= 0) & (y < h) & (x >= 0) & (x < w))
    index = (y.clamp(0, h - 1) * w + x.clamp(0, w - 1)).flatten(1)
    canvas = torch.zeros(len(points_yx), h * w, device=points_yx.device)
    return canvas.scatter_reduce(1, index, cover.flatten(1), "amax").view(-1, h, w)


def walk(start_yx: Tensor, angle: Tensor, length: Tensor, bend: Tensor, jag: Tensor, n: int, rng: Generator) -> Tensor:
    """Return points (b, n, 2) of a walk: heading `angle` plus a steady `bend` plus a random `jag`, all (b,)."""
    b = len(start_yx)
    kinks = torch.randn(b, max(4, n // 6), generator=rng, device=start_yx.device)
    drift = F.interpolate(kinks[:, None], n, mode="nearest")[:, 0] * jag.view(
        b, 1
    )  # jagged: piecewise constant heading
    slow = F.interpolate(kinks[:, None, : max(3, n // 40)], n, mode="linear")[:, 0]
    t = torch.linspace(0, 1, n, device=start_yx.device)
    heading = angle.view(b, 1) + bend.view(b, 1) * (t - 0.5 + 0.6 * slow) + drift
    step = length.view(b, 1, 1) / n
    delta = torch.stack([heading.sin(), heading.cos()], -1) * step
    path = delta.cumsum(1)
    return start_yx[:, None] + path - path[:, n // 2 : n // 2 + 1]  # (b, n, 2), centred on the start


def branches(trunk: Tensor, count: int, reach: Tensor, n: int, rng: Generator) -> tuple[Tensor, Tensor]:
    """Return points (b, count * n, 2) of side walks that leave the trunk, and which of them exist (b, count * n)."""
    b, total = trunk.shape[:2]
    points, alive = [], []
    for _ in range(count):
        at = torch.randint(total // 6, total - 3, (b,), generator=rng, device=trunk.device)
        rows = torch.arange(b, device=trunk.device)
        origin = trunk[rows, at]
        ahead = trunk[rows, at + 2] - trunk[rows, at - 2]
        side = torch.where(uniform(rng, (b,)) < 0.5, -1.0, 1.0)
        angle = torch.atan2(ahead[:, 0], ahead[:, 1]) + side * uniform(rng, (b,), 0.4, 1.2)
        length = reach.view(b) * uniform(rng, (b,), 0.12, 0.4)
        path = walk(origin, angle, length, uniform(rng, (b,), -0.8, 0.8), uniform(rng, (b,), 0.3, 0.9), n, rng)
        points.append(path + (origin[:, None] - path[:, :1]))
        alive.append((uniform(rng, (b, 1)) < 0.6).float().expand(b, n))
    return torch.cat(points, 1), torch.cat(alive, 1)


def specks(site: Site, rng: Generator, n: int, half_width: tuple[float, float], spread: float = 1.0) -> Tensor:
    """Return coverage (b, H, W) of 1..n discs scattered about the site."""
    b, h, w = site.u.shape
    offset = torch.randn(b, n, 2, generator=rng, device=site.u.device) * site.radius * spread
    offset[:, 0] = 0
    scale = h / REFERENCE_SIZE
    width = uniform(rng, (b, n), math.log(half_width[0]), math.log(half_width[1])).exp() * scale
    count = uniform(rng, (b, 1), 1, n + 1).floor()
    alive = (torch.arange(n, device=site.u.device)[None] < count).float()
    return paint(site.center_yx[:, None] + offset, width, alive, (h, w))

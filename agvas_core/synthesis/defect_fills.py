"""What fills a defect: tone, colour, tint, relief, blur, warp and other texture, all batched."""
# images (b, 3, H, W) in [0, 1]; alpha (b, H, W) in [0, 1]

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from agvas_core.synthesis.defect_shapes import REFERENCE_SIZE
from agvas_core.synthesis.noise import chance, each, uniform


def unit(images: Tensor) -> float:
    """Return the px at this size that make one px at 256 px."""
    return images.shape[-1] / REFERENCE_SIZE


def coin(rng: Generator, p: float) -> bool:
    """Return one yes or no for the whole call."""
    return bool(torch.rand((), generator=rng, device=rng.device) < p)


def either(a: Tensor, b: Tensor, rng: Generator, p: float = 0.5) -> Tensor:
    """Return the maps a (b, H, W) for a share p of the images, b for the others."""
    return torch.where(chance(rng, len(a), p), a, b)


def mix_rows(a: Tensor, b: Tensor, rng: Generator, p: float = 0.5) -> Tensor:
    """Return the pictures a (b, 3, H, W) for a share p of the images, b for the others."""
    return torch.where(chance(rng, len(a), p)[:, None], a, b)


def blend(images: Tensor, fill: Tensor, alpha: Tensor) -> Tensor:
    """Return the images with `fill` laid over them by alpha."""
    return images + alpha[:, None] * (fill - images)


def tone(images: Tensor, alpha: Tensor, rng: Generator, low: float, high: float, dark: float = 0.65) -> Tensor:
    """Darken (share `dark` of the images) or brighten by a share of what is left, low to high; texture stays."""
    b = len(images)
    k = each(rng, b, low, high)[:, None]
    down = images * (1 - k)
    up = images + (1 - images) * k
    # A tone that cannot be seen on its ground (dark on black) goes the other way.
    mean = (images * alpha[:, None]).sum((1, 2, 3)) / (3 * alpha.sum((1, 2)) + 1e-6)
    is_dark = (chance(rng, b, dark)[:, 0, 0] | (mean > 0.85)) & (mean > 0.15)
    return blend(images, torch.where(is_dark.view(b, 1, 1, 1), down, up), alpha)


def random_color(rng: Generator, b: int, saturation: tuple[float, float] = (0.0, 0.8)) -> Tensor:
    """Return one colour per image (b, 3, 1, 1)."""
    hue = torch.rand(b, 3, 1, 1, generator=rng, device=rng.device)
    value = each(rng, b, 0.08, 0.95)[:, None]
    return value * (1 - each(rng, b, *saturation)[:, None] * (hue.amax(1, keepdim=True) - hue))


def palette(rng: Generator, b: int, low: tuple[float, float, float], high: tuple[float, float, float]) -> Tensor:
    """Return one colour per image (b, 3, 1, 1) between two RGB triples, channels moving together."""
    t = torch.rand(b, 1, 1, 1, generator=rng, device=rng.device)
    a, c = (torch.tensor(x, device=rng.device).view(1, 3, 1, 1) for x in (low, high))
    return (a + (c - a) * t + 0.04 * torch.randn(b, 3, 1, 1, generator=rng, device=rng.device)).clamp(0, 1)


def tint(images: Tensor, color: Tensor, alpha: Tensor) -> Tensor:
    """Multiply by a colour like a transparent liquid; keeps the texture."""
    return images * (1 - alpha[:, None] * (1 - color))


def gradient(height: Tensor) -> tuple[Tensor, Tensor]:
    """Return the slopes dy, dx (b, H, W) of a height map by central differences."""
    padded = F.pad(height[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    return (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2, (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2


def relief(images: Tensor, height: Tensor, amount: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Shade a height map (b, H, W) with light from above; return the images and the size of the shading in [0, 1]."""
    b = len(images)
    theta = each(rng, b, -0.8, 0.8) - math.pi / 2  # the light comes from the top, more or less
    dy, dx = gradient(height)
    slope = -(dx * theta.cos() + dy * theta.sin())  # what faces the light is bright
    slope = slope / slope.abs().amax((1, 2), keepdim=True).clamp(min=1e-6)
    shade = (amount * slope)[:, None]
    ground = images.mean((1, 2, 3), keepdim=True).clamp(0.15, 0.85)
    lit = torch.where(shade > 0, images + (1 - images) * shade * ground * 1.4, images * (1 + shade))
    return lit.clamp(0, 1), slope.abs()


def soften(images: Tensor, sigma: float) -> Tensor:
    """Return a gaussian blur with sigma in px, separable, reflecting at the border."""
    reach = min(max(1, math.ceil(2.5 * sigma)), min(images.shape[-2:]) - 1)
    x = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
    shape, flat = images.shape, images.reshape(-1, 1, *images.shape[-2:])
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), mode="reflect"), kernel.view(1, 1, -1, 1))
    return F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1)).view(shape)


def smooth(images: Tensor, cell: int) -> Tensor:
    """Return a cheap heavy blur: averaged over cells of `cell` px and enlarged again."""
    small = F.avg_pool2d(images, cell, ceil_mode=True)
    return F.interpolate(small, images.shape[-2:], mode="bilinear", align_corners=False)


def largest(images: Tensor, k: int) -> Tensor:
    """Return the largest value of each channel in a square of k px (odd), rows then columns."""
    return F.max_pool2d(F.max_pool2d(images, (k, 1), 1, (k // 2, 0)), (1, k), 1, (0, k // 2))


def moved(images: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
    """Return the images sampled at (y + dy, x + dx), offsets (b, H, W) or (b, 1, 1) in px, reflecting at the border."""
    h, w = images.shape[-2:]
    y = torch.arange(h, device=images.device)[None, :, None] + 0.5 + dy
    x = torch.arange(w, device=images.device)[None, None, :] + 0.5 + dx
    y, x = torch.broadcast_tensors(2 * y / h - 1, 2 * x / w - 1)
    grid = torch.stack([x, y], -1).expand(len(images), h, w, 2)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def grain(b: int, size_hw: Sequence[int], rng: Generator, cells: int = 16, octaves: int = 3) -> Tensor:
    """Return fractal noise (b, H, W), about unit variance, with `cells` lumps across at the coarsest."""
    out = torch.zeros(b, 1, *size_hw, device=rng.device)
    for i in range(octaves):
        n = min(cells * 2**i, min(size_hw))
        noise = torch.randn(b, 1, n, n, generator=rng, device=rng.device)
        out += F.interpolate(noise, tuple(size_hw), mode="bilinear", align_corners=False) * 0.75**i
    return out[:, 0] / out[:, 0].std().clamp(min=1e-6)


def other_texture(images: Tensor, rng: Generator) -> Tensor:
    """Return another picture for each image: the batch's neighbour, itself turned, itself moved, or fresh noise."""
    b, _, h, w = images.shape
    choice = uniform(rng, (b, 1, 1, 1), 0, 4).floor()
    offset = [each(rng, b, 0.2, 0.6) * s for s in (h, w)]
    out = moved(images, offset[0], offset[1])
    out = torch.where(choice == 1, images.transpose(2, 3) if h == w else images.flip(2), out)
    if b > 1:
        out = torch.where(choice == 2, images.roll(1, 0), out)
    noise = grain(b, (h, w), rng, cells=h // 12)[:, None] * each(rng, b, 0.03, 0.2)[:, None]
    return torch.where(choice == 3, (random_color(rng, b, (0.0, 0.4)) + noise).clamp(0, 1), out)

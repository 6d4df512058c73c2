"""Colours and tones: random colours, gray-to-colour ramps, and the tone curve that ends every surface."""
# images (b, 3, H, W) in [0, 1]; a colour is (b, 3, 1, 1)

from __future__ import annotations

import torch
from torch import Generator, Tensor

from agvas_core.synthesis.noise import chance, each, log_uniform, normal, uniform

Rgb = tuple[float, float, float]


def luminance(images: Tensor) -> Tensor:
    """Return the gray value (b, 1, H, W)."""
    weights = torch.tensor((0.299, 0.587, 0.114), device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def any_color(rng: Generator, b: int, saturation: float = 0.8, value: tuple[float, float] = (0.08, 0.95)) -> Tensor:
    """Return any colour (b, 3, 1, 1), up to a saturation."""
    hue = uniform(rng, (b, 3, 1, 1))
    hue = hue / hue.amax(1, keepdim=True).clamp(min=1e-3)
    return uniform(rng, (b, 1, 1, 1), *value) * (1 - uniform(rng, (b, 1, 1, 1), 0, saturation) * (1 - hue))


def color(rng: Generator, b: int, low: Rgb, high: Rgb, free: float = 0.2) -> Tensor:
    """Return a colour (b, 3, 1, 1) between two typical ones; a share `free` of the images takes any colour."""
    a, c = (torch.tensor(rgb, device=rng.device).view(1, 3, 1, 1) for rgb in (low, high))
    typical = (a + (c - a) * uniform(rng, (b, 1, 1, 1)) + 0.03 * normal(rng, (b, 3, 1, 1))).clamp(0.01, 0.99)
    return torch.where(chance(rng, b, free)[:, None], any_color(rng, b), typical)


def shade(base: Tensor, values: Tensor, contrast: Tensor | float) -> Tensor:
    """Return base * (1 + contrast * values): a colour (b, 3, 1, 1) or image lit unevenly by values (b, H, W)."""
    return base * (1 + contrast * values)[:, None]


def mix(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Return first where share (b, H, W) is 0 and second where it is 1."""
    return first + (second - first) * share[:, None]


def finish(images: Tensor, rng: Generator, gray: float = 0.33) -> Tensor:
    """Expose like a camera: random mean tone and contrast, a third of the images gray; clamps to [0, 1]."""
    b = len(images)
    is_gray = chance(rng, b, gray)[:, None]
    images = torch.where(is_gray, luminance(images), images)
    # A picture keeps its typical tone most of the time, else it is exposed anew.
    mean = images.mean((1, 2, 3), keepdim=True)
    aim = torch.where(chance(rng, b, 0.3)[:, None], uniform(rng, (b, 1, 1, 1), 0.08, 0.88), mean.clamp(0.03, 0.88))
    gain = log_uniform(rng, (b, 1, 1, 1), 0.5, 1.7)
    dark = (aim / mean.clamp(min=1e-3)).clamp(max=1.0)  # darker: less light, so less contrast
    return (aim + (images - mean) * gain * dark.clamp(min=0.35)).clamp(0, 1)


def sensor_grain(images: Tensor, rng: Generator, high: float = 0.02) -> Tensor:
    """Return images with fine gray grain of a deviation up to `high` per image."""
    b, _, h, w = images.shape
    return images + (each(rng, b, 0.0, high) * normal(rng, (b, h, w)))[:, None]

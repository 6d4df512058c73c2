"""What cameras do to a picture, after the defect: blur, noise, tone curves, sharpening, JPEG."""
# images (b, 3, H, W) in [0, 1]; a result may leave the range, lighting.apply_camera clamps it

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from agvas_core.synthesis.colors import luminance
from agvas_core.synthesis.noise import blur, chance, coordinates, each, log_uniform, normal, uniform

Nuisance = Callable[[Tensor, Generator], Tensor]


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

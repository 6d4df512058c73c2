"""Building blocks of all pictures: seeded draws, coordinates, fractal and smooth noise, warps, blurs, cells."""
# b images, H = W = size; a per-image parameter is (b, 1, 1); coordinates run from -1 to 1 over the frame

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Angle = Tensor | None


def uniform(rng: Generator, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Tensor:
    """Return uniform draws in [low, high) on the generator's device."""
    return low + (high - low) * torch.rand(shape, generator=rng, device=rng.device)


def normal(rng: Generator, shape: tuple[int, ...]) -> Tensor:
    """Return standard normal draws on the generator's device."""
    return torch.randn(shape, generator=rng, device=rng.device)


def log_uniform(rng: Generator, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """Return draws whose logarithm is uniform between log(low) and log(high)."""
    return uniform(rng, shape, math.log(low), math.log(high)).exp()


def each(rng: Generator, b: int, low: float, high: float, log: bool = False) -> Tensor:
    """Return one draw per image (b, 1, 1)."""
    return log_uniform(rng, (b, 1, 1), low, high) if log else uniform(rng, (b, 1, 1), low, high)


def chance(rng: Generator, b: int, p: float) -> Tensor:
    """Return one coin per image, bool (b, 1, 1), true with probability p."""
    return uniform(rng, (b, 1, 1)) < p


def integer(rng: Generator, low: int, high: int) -> int:
    """Return one whole number, both ends included."""
    return int(torch.randint(low, high + 1, (1,), generator=rng, device=rng.device))


def angles(rng: Generator, b: int, upright: float = 0.6) -> Tensor:
    """Return angles (b, 1, 1): a share `upright` near 0 or 90 degrees, as cameras are mounted, the rest free."""
    near = torch.randint(0, 2, (b, 1, 1), generator=rng, device=rng.device) * (math.pi / 2) + 0.02 * normal(
        rng, (b, 1, 1)
    )
    return torch.where(chance(rng, b, upright), near, each(rng, b, 0, math.pi))


def coordinates(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return y (1, H, 1) and x (1, 1, W) of the pixel centres in [-1, 1]."""
    t = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
    return t.view(1, size, 1), t.view(1, 1, size)


def rotate(y: Tensor, x: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coordinates v (across) and u (along) of axes turned by `angle`."""
    c, s = angle.cos(), angle.sin()
    return y * c - x * s, x * c + y * s


def rotated(b: int, size: int, rng: Generator, angle: Angle = None) -> tuple[Tensor, Tensor]:
    """Return v, u (b, H, W): the frame's coordinates turned per image (by `angles` when none is given)."""
    y, x = coordinates(size, rng.device)
    return rotate(y, x, angles(rng, b) if angle is None else angle)


def standardize(values: Tensor) -> Tensor:
    """Return maps (b, H, W) with zero mean and unit deviation each."""
    values = values - values.mean((1, 2), keepdim=True)
    return values / values.square().mean((1, 2), keepdim=True).sqrt().clamp(min=1e-6)


def fractal_noise(
    b: int,
    size: int,
    rng: Generator,
    exponent: tuple[float, float] = (0.6, 3.2),
    anisotropy: float = 1.0,
    angle: Angle = None,
    ring: tuple[float, float] | None = None,
    ring_share: float = 1.0,
    lowest: float = 1.5,
) -> Tensor:
    """Return noise (b, H, W) of zero mean and unit deviation with the power spectrum f ** -exponent.

    Args:
        b: number of images.
        size: height and width in px.
        rng: the source of all draws.
        exponent: range of the spectral slope; 0.6 is sandy, 3.2 cloudy.
        anisotropy: the grain is up to this many times longer than wide, along `angle`.
        angle: direction of the grain (b, 1, 1), or None for a random one.
        ring: range of a preferred frequency in cycles per frame, which makes grains of one size.
        ring_share: share of the images that get the ring.
        lowest: cycles per frame below which the spectrum is flat.
    """
    device = rng.device
    fy = torch.fft.fftfreq(size, 1 / size, device=device).view(1, size, 1)
    fx = torch.fft.rfftfreq(size, 1 / size, device=device).view(1, 1, -1)
    if anisotropy > 1:
        fy, fx = rotate(fy, fx, angles(rng, b) if angle is None else angle)
        fx = fx * each(rng, b, 1, anisotropy, log=True)
    power = (fy * fy + fx * fx).clamp(min=lowest**2)  # (b | 1, H, W // 2 + 1)
    gain = torch.exp(power.log() * (-each(rng, b, *exponent) / 4))
    if ring is not None:
        center, width = each(rng, b, *ring, log=True), each(rng, b, 0.15, 0.45)
        radius = power.sqrt() / center
        peak = torch.exp(-(((radius - 1) / width) ** 2))
        # Mostly the ring, with a floor of the broad noise.
        ringed = peak + 0.02 * (gain / gain.mean((1, 2), keepdim=True))
        gain = torch.where(chance(rng, b, ring_share), ringed, gain)
    white = torch.view_as_complex(normal(rng, (b, size, size // 2 + 1, 2)))
    return standardize(torch.fft.irfft2(white * gain, s=(size, size)))


def smooth_noise(b: int, size: int, rng: Generator, cells: int = 4) -> Tensor:
    """Return low-frequency noise (b, H, W), about unit deviation: a cubic B-spline over a grid of normal draws."""
    grid = normal(rng, (b, cells + 3, cells + 3))
    rows = _spline(size, cells, rng.device)  # (H, cells + 3)
    return 2.0 * (rows @ grid @ rows.T)  # (b, H, W)


def _spline(size: int, cells: int, device: torch.device) -> Tensor:
    """Return weights (size, cells + 3) of a uniform cubic B-spline with `cells` intervals over the frame."""
    at = (torch.arange(size, device=device) + 0.5) * (cells / size) + 1
    d = (at.view(size, 1) - torch.arange(cells + 3, device=device).view(1, -1)).abs()
    near, far = (4 - 6 * d * d + 3 * d**3) / 6, (2 - d).clamp(min=0) ** 3 / 6
    return torch.where(d < 1, near, far)


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Return images (b, C, H, W) read at their own place plus flow (b, H, W, 2): x then y, in frame coordinates."""
    y, x = coordinates(images.shape[-1], images.device)
    at = torch.stack(torch.broadcast_tensors(x, y), -1) + flow
    return F.grid_sample(images, at, mode="bilinear", padding_mode="reflection", align_corners=False)


def blur(values: Tensor, sigma: Tensor | float, reach: int | None = None) -> Tensor:
    """Return a gaussian blur of (b, H, W) or (b, C, H, W).

    Args:
        values: maps or images.
        sigma: px; one number or b of them, in any shape.
        reach: cut the gaussian at so many px (cheaper while it is small); None keeps it whole.
    """
    planes = values if values.dim() == 4 else values[:, None]
    h, w = planes.shape[-2:]
    sigma = torch.as_tensor(sigma, dtype=planes.dtype, device=planes.device).reshape(-1, 1, 1).clamp(min=0.05)
    if reach is None:
        across, down = gaussian_rows(w, sigma)[:, None], gaussian_rows(h, sigma)[:, None]
        return (down @ planes @ across.mT).view(values.shape)
    taps = torch.arange(-reach, reach + 1, device=planes.device).view(1, 1, -1)
    weights = torch.exp(-0.5 * (taps / sigma) ** 2)
    tap = (weights / weights.sum(2, keepdim=True))[..., None, None].unbind(2)  # 2 * reach + 1 of (b | 1, 1, 1, 1)
    for dim, n in ((2, h), (3, w)):
        pad = (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0)
        padded = F.pad(planes, pad, mode="replicate")
        planes = padded.narrow(dim, 0, n) * tap[0]
        for k in range(1, 2 * reach + 1):
            planes = torch.addcmul(planes, padded.narrow(dim, k, n), tap[k])
    return planes.view(values.shape)


def gaussian_rows(n: int, sigma: Tensor, shift: Tensor | float = 0.0) -> Tensor:
    """Return the matrices (b | 1, n, n) that blur n values and move them by `shift`; rows sum to one."""
    at = torch.arange(n, device=sigma.device, dtype=sigma.dtype)
    weights = torch.exp(-0.5 * ((at.view(1, n, 1) - at.view(1, 1, n) - shift) / sigma) ** 2)
    return weights / weights.sum(2, keepdim=True).clamp(min=1e-9)


def hash01(*indices: Tensor, seed: Tensor) -> Tensor:
    """Return a repeatable number in [0, 1) for whole-numbered tensors: a tone for each thread, tile or dot."""
    mixed = seed
    for index, prime in zip(indices, (12.9898, 78.233, 37.719), strict=False):
        mixed = mixed + index * prime
    return torch.frac(torch.sin(mixed) * 4375.8545).abs()


def seeds(rng: Generator, b: int) -> Tensor:
    """Return one seed per image (b, 1, 1) for hash01."""
    return each(rng, b, 0, 100)


def emboss(height: Tensor, angle: Tensor) -> Tensor:
    """Return the shading (b, H, W) of a height map under light from `angle`: its slope, of unit deviation."""
    padded = F.pad(height[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    dy = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    dx = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    return standardize(dx * angle.cos() + dy * angle.sin())


def step(values: Tensor, softness: Tensor | float) -> Tensor:
    """Return a soft step in [0, 1]: 0 below zero, 1 above, over about `softness`."""
    return torch.sigmoid(values * (4 / softness))


def stretch(values: Tensor, low: float = 0.02, high: float = 0.98) -> Tensor:
    """Return maps (b, H, W) scaled so that nearly all of the range lies in [0, 1] (quantiles of every fourth pixel)."""
    probe = values[:, ::4, ::4].flatten(1)
    ends = torch.quantile(probe, torch.tensor([low, high], device=values.device), dim=1)[:, :, None, None]
    return ((values - ends[0]) / (ends[1] - ends[0]).clamp(min=1e-6)).clamp(0, 1)


def cells(
    b: int, size: int, rng: Generator, count: tuple[float, float], jitter: float = 0.9
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a Voronoi mosaic: distance to the nearest centre, to the border (in cells), and a tone per cell.

    Each is (b, H, W). Computed at half size, as the edges are blurred anyway.
    """
    half = max(1, size // 2)
    n = each(rng, b, *count, log=True)
    y, x = coordinates(half, rng.device)
    seed, shift = seeds(rng, b), uniform(rng, (b, 2, 1, 1), 0, 50)
    y, x = (y + 1) * n / 2 + shift[:, 0], (x + 1) * n / 2 + shift[:, 1]  # (b, H / 2, 1), (b, 1, W / 2)
    row, col = y.floor(), x.floor()
    first = second = torch.full((b, half, half), 9.0, device=rng.device)
    tone = torch.zeros_like(first)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            r, c = row + dy, col + dx
            cy = r + 0.5 + jitter * (hash01(r, c, seed=seed) - 0.5)
            cx = c + 0.5 + jitter * (hash01(c, r, seed=seed + 3) - 0.5)
            distance = torch.hypot(y - cy, x - cx)
            nearer = distance < first
            second = torch.where(nearer, first, torch.minimum(second, distance))
            tone = torch.where(nearer, hash01(r, c, seed=seed + 7), tone)
            first = torch.minimum(first, distance)
    full = F.interpolate(torch.stack((first, second - first), 1), (size, size), mode="bilinear")
    return full[:, 0], full[:, 1], F.interpolate(tone[:, None], (size, size), mode="nearest")[:, 0]

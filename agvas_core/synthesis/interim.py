"""Interim scenes, until surfaces, objects and lighting are in."""
import torch
from agvas_core.synthesis.noise import each, fractal_noise, uniform, blur, coordinates, chance, rotated

TextureBank = object


def make_surface(b, size, rng, textures=None):
    v, u = rotated(b, size, rng)
    gray = fractal_noise(b, size, rng, anisotropy=8.0) * each(rng, b, 0.01, 0.12)
    n = each(rng, b, 8, 40)
    dots = (torch.cos(v * n * 3.14) * torch.cos(u * n * 3.14)) * each(rng, b, 0.05, 0.2)
    gray = gray + torch.where(chance(rng, b, 0.3), dots, torch.zeros_like(dots))
    return (uniform(rng, (b, 3, 1, 1), 0.2, 0.8) + gray[:, None]).clamp(0, 1), "noise"


def make_object_scene(b, size, rng, textures=None):
    images, name = make_surface(b, size, rng)
    y, x = coordinates(size, rng.device)
    r = each(rng, b, 0.5, 0.85)
    mask = (y.abs() ** 4 + x.abs() ** 4) ** 0.25 < r
    ground, _ = make_surface(b, size, rng)
    return torch.where(mask[:, None], images, ground), mask, name, "plate"


def apply_scene(images, rng):
    return images, [()] * len(images)


def apply_camera(images, rng):
    noise = torch.randn(images.shape, generator=rng, device=rng.device) * each(rng, len(images), 0, 0.02)[:, None]
    return images + noise, [("sensor noise",)] * len(images)

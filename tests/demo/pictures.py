"""Small photos for the page's tests."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def spotted(spots: int = 2, *, size_hw: tuple[int, int] = (360, 480), seed: int = 0) -> Image.Image:
    """Return a grey brushed sheet with some dark spots."""
    rng = np.random.default_rng(seed)
    h, w = size_hw
    brushed = rng.normal(0, 1, (h, 1)) * 4 + rng.normal(0, 1, (h, w)) * 3 + np.linspace(-8, 8, w)[None]
    image = Image.fromarray((168 + brushed).clip(0, 255).astype(np.uint8)).convert("RGB")
    draw = ImageDraw.Draw(image)
    for n in range(spots):
        x, y, r = w * (0.25 + 0.5 * (n % 2)), h * (0.3 + 0.4 * (n // 2 % 2)), 0.05 * w * (1 + 0.6 * n)
        draw.ellipse((x - r, y - 0.6 * r, x + r, y + 0.6 * r), fill=(70, 52, 40))
    return image.filter(ImageFilter.GaussianBlur(1))

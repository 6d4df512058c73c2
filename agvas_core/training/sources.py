"""Where training images come from: synthesis, synthesis on real textures, and real labelled defects, by step number."""

# A batch depends only on (seed, step): a resumed run sees exactly the images that an unbroken one would see

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch

from agvas_core.synthesis.facts import SyntheticBatch
from agvas_core.synthesis.generator import SceneGenerator
from agvas_core.synthesis.textures import TextureBank

_SEED_STRIDE = 1_000_003  # keeps the streams of different run seeds apart


@dataclass(frozen=True)
class SourceOptions:
    """What the images are made of.

    Attributes:
        sizes_px: square sizes of the training images; one is drawn for each batch.
        size_weights: how often each size is drawn.
        textures: folder of real photographs of normal surfaces, or None.
        real: folder of real labelled defects in MVTec layout, or None.
        real_share: share of batches that come from `real`.
        normal_share: share of synthetic images without a defect.
    """

    sizes_px: tuple[int, ...] = (192, 256, 320)
    size_weights: tuple[float, ...] = (0.3, 0.45, 0.25)
    textures: Path | None = None
    real: Path | None = None
    real_share: float = 0.12
    normal_share: float = 0.42


class ImageSource:
    """Batches of images with their labels and facts."""

    def __init__(self, options: SourceOptions, *, seed: int) -> None:
        self.options, self.seed = options, seed
        textures = TextureBank(options.textures) if options.textures else None
        self.real = None
        if options.real:
            from agvas_core.synthesis.real import RealDefects

            self.real = RealDefects(options.real)
        self.generators = {
            size: SceneGenerator(size=size, textures=textures, normal_share=options.normal_share)
            for size in options.sizes_px
        }

    def batch(self, step: int, count: int, device: str = "cpu") -> SyntheticBatch:
        """Return the batch of a step, the same on every call."""
        seed = self.seed * _SEED_STRIDE + step
        draw = random.Random(seed)
        size = draw.choices(self.options.sizes_px, self.options.size_weights)[0]
        # a larger picture counts as more pixels, so fewer of them keep a step's cost alike
        count = max(2, round(count * (min(self.options.sizes_px[-1], 256) / size) ** 2 / 2) * 2)
        if self.real is not None and draw.random() < self.options.real_share:
            return self.real.batch(count, size, torch.Generator().manual_seed(seed))
        return self.generators[size].batch(count, seed, device)

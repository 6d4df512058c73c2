"""Where training images come from: synthesis, synthesis on real textures, and real labelled defects, by step number."""

# A batch depends only on (seed, step): a resumed run sees exactly the images that an unbroken one would see

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from agvas_core.data.real_defects import RealDefects
from agvas_core.regions import place_of
from agvas_core.synthesis.facts import DefectFacts, SyntheticBatch
from agvas_core.synthesis.generator import SceneGenerator
from agvas_core.synthesis.textures import TextureBank

SEED_STRIDE = 1_000_003  # keeps the streams of different run seeds apart
OTHER_WAY_UP = {"dent": "bump", "bump": "dent"}  # told apart by their shading alone: light comes from above


@dataclass(frozen=True)
class SourceOptions:
    """What the images are made of.

    Attributes:
        sizes_px: square sizes of the training images; one is drawn for each batch, all alike often.
        textures: folder of real photographs of normal surfaces, or None.
        texture_share: share of the synthetic surfaces that such a photograph takes the place of.
        real: folder of real labelled defects in MVTec layout, or None.
        real_share: share of batches that come from `real`.
        normal_share: share of synthetic images without a defect.
        crowded: one to five defects in an image alike often, instead of mostly one.
        passes: how often an image is used, each time turned and mirrored anew: making one costs as much as learning
            from it.
        block: batches between two uses of the same one.
    """

    sizes_px: tuple[int, ...] = (192, 256, 320)
    textures: Path | None = None
    texture_share: float = 0.4
    real: Path | None = None
    real_share: float = 0.12
    normal_share: float = 0.42
    crowded: bool = False
    passes: int = 3
    block: int = 12


class Source(Protocol):
    """Batches of images by their number."""

    def batch(self, step: int, count: int) -> SyntheticBatch:
        """Return the batch of a step, the same on every call."""


class ImageSource:
    """Batches of images with their labels and facts."""

    def __init__(self, options: SourceOptions, *, seed: int) -> None:
        self.options, self.seed = options, seed
        self._made: dict[int, SyntheticBatch] = {}
        textures = TextureBank(options.textures, share=options.texture_share) if options.textures else None
        self.real = RealDefects(options.real) if options.real else None
        self.generators = {
            size: SceneGenerator(
                size=size, textures=textures, normal_share=options.normal_share, crowded=options.crowded
            )
            for size in options.sizes_px
        }

    def batch(self, step: int, count: int, device: str = "cpu") -> SyntheticBatch:
        """Return the batch of a step, the same on every call: fresh in the first pass of a block, then turned."""
        o = self.options
        block, within = divmod(step, o.block * o.passes)
        number = block * o.block + within % o.block
        if number not in self._made:
            # only one block is kept, also where a worker sees every second step
            self._made = {n: made for n, made in self._made.items() if n // o.block == block}
            self._made[number] = self._make(number, count, device)
        made = self._made[number]
        return turned(made, random.Random(self.seed * SEED_STRIDE + step)) if o.passes > 1 else made

    def _make(self, number: int, count: int, device: str) -> SyntheticBatch:
        seed = self.seed * SEED_STRIDE + number
        draw = random.Random(seed)
        size = draw.choice(self.options.sizes_px)
        # a larger picture counts as more pixels, so fewer of them keep a step's cost alike
        count = max(2, round(count * (256 / size) ** 2 / 2) * 2)
        if self.real is not None and draw.random() < self.options.real_share:
            return self.real.batch(count, size, torch.Generator().manual_seed(seed))
        return self.generators[size].batch(count, seed, device)


def turned(batch: SyntheticBatch, draw: random.Random) -> SyntheticBatch:
    """Return the batch turned by quarter turns and mirrored, all its images alike, with the facts of what is then seen.

    Upside down a dent is a bump; where one is shown, there are no turns to the side, whence no light comes.
    """
    shaded = any(d.kind in OTHER_WAY_UP for f in batch.facts for d in f.defects)
    quarters, mirror = draw.randrange(0, 4, 2 if shaded else 1), draw.random() < 0.5
    images, labels = batch.images.rot90(quarters, (2, 3)), batch.labels.rot90(quarters, (1, 2))
    if mirror:
        images, labels = images.flip(3), labels.flip(2)
    facts = [replace(f, defects=tuple(_turn(d, f.size_hw, quarters, mirror) for d in f.defects)) for f in batch.facts]
    return SyntheticBatch(images.contiguous(), labels.contiguous(), facts)


def _turn(defect: DefectFacts, size_hw: tuple[int, int], quarters: int, mirror: bool) -> DefectFacts:
    """Return a defect's facts after quarter turns against the clock and a mirror left to right; images are square."""
    (y, x), (left, top, right, bottom) = defect.centroid_yx, defect.box_xyxy
    side = size_hw[0]
    for _ in range(quarters):  # a pixel (y, x) goes to (side - 1 - x, y)
        y, x = side - 1 - x, y
        left, top, right, bottom = top, side - right, bottom, side - left
    if mirror:
        x, left, right = side - 1 - x, side - right, side - left
    place = place_of(y, x, *size_hw)
    kind = OTHER_WAY_UP.get(defect.kind, defect.kind) if quarters == 2 else defect.kind
    return replace(defect, kind=kind, centroid_yx=(y, x), box_xyxy=(left, top, right, bottom), place=place)

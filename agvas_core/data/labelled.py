"""Labelled images of one's own, in MVTec layout, as training batches with the facts that words are made from."""

# S: side of the square training images, px

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from agvas_core.data.mvtec_folder import GOOD, Sample, find_samples, load_sample, train_samples
from agvas_core.processing import fit
from agvas_core.synthesis.facts import DEFECT_KINDS, SceneFacts, SyntheticBatch
from agvas_core.synthesis.measure import measure
from agvas_core.synthesis.real import KIND_OF_FOLDER, jitter, number_parts

PLAIN_NAMES = ("anomaly", "anomalous", "abnormal", "bad", "broken", "combined", "defect", "defective", "ng")
MASK_SHARE = 0.25  # of a pixel of the training image that has to be anomalous, so that thin scratches stay


@dataclass(frozen=True, eq=False)
class LabelledBatch(SyntheticBatch):
    """A batch of photographs: the facts are measured on masks, and the kinds are the folders' names."""


class LabelledImages:
    """Training images from a folder in MVTec layout, test and train images alike.

    Args:
        root: a category, a set of categories, or a folder of sets.
        good_share: share of the draws that start from a normal image, where there are any.
        whole_share: share of the images that are shown whole, as in serving; the others are crops about a defect.

    Raises:
        FileNotFoundError: when the folder holds no images, or a defect image has no mask.
    """

    def __init__(self, root: str | Path, good_share: float = 0.35, whole_share: float = 0.5) -> None:
        self.good_share, self.whole_share = good_share, whole_share
        self.groups: dict[tuple[str, str], list[Sample]] = {}  # (category, defect) -> images
        for sample in [*find_samples(root), *train_samples(root)]:
            self.groups.setdefault((sample.category, sample.defect), []).append(sample)

    def __len__(self) -> int:
        return sum(map(len, self.groups.values()))

    def batch(self, count: int, size: int, seed: int) -> LabelledBatch:
        """Return count images of S x S px; every category and defect comes about equally often."""
        dice = np.random.default_rng(seed)
        made = [self._draw(size, dice) for _ in range(count)]
        images, labels, facts = zip(*made, strict=True)
        return LabelledBatch(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels)), list(facts))

    def _draw(self, size: int, dice: np.random.Generator) -> tuple[NDArray, NDArray, SceneFacts]:
        """Return uint8 (3, S, S), labels uint8 (S, S) and the facts of one image."""
        good = dice.random() < self.good_share
        keys = [k for k in self.groups if (k[1] == GOOD) == good] or list(self.groups)
        group = self.groups[keys[dice.integers(len(keys))]]
        sample = group[dice.integers(len(group))]
        image, gt_mask = load_sample(sample)
        if dice.random() < self.whole_share:
            rgb, mask = _whole(image.rgb, gt_mask, size)
        else:
            rgb, mask = _crop(image.rgb, gt_mask, size, dice)
        if dice.random() < 0.5:
            rgb, mask = rgb[:, ::-1], mask[:, ::-1]
        chw = np.ascontiguousarray(jitter(rgb, dice).transpose(2, 0, 1))
        labels = number_parts(mask)
        kinds = [spoken_kind(sample.defect)] * int(labels.max())
        labels, defects = measure(chw.astype(np.float32) / 255, labels, kinds)
        name = sample.category.rsplit("/", 1)[-1].replace("_", " ")
        return chw, labels, SceneFacts(name, name, (), defects, (size, size))


def spoken_kind(folder_name: str) -> str:
    """Return how a defect folder's name is spoken: a known kind, "defect" when it says no more, or its own words."""
    spoken = " ".join(folder_name.lower().replace("_", " ").replace("-", " ").split())
    if spoken in DEFECT_KINDS:
        return spoken
    return "defect" if spoken in PLAIN_NAMES else KIND_OF_FOLDER.get(folder_name.lower(), spoken)


def _whole(rgb: NDArray, gt_mask: NDArray, size: int) -> tuple[NDArray, NDArray]:
    """Return the image as it is served, uint8 (S, S, 3), and its mask; both go on into the canvas's fill."""
    canvas, letterbox = fit(rgb, size)
    height, width = letterbox.content_hw
    small = _shrink(gt_mask, (width, height))
    return canvas, np.pad(small, ((0, size - height), (0, size - width)), mode="edge")


def _crop(rgb: NDArray, gt_mask: NDArray, size: int, dice: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Return a square of half to all of the short side, about an anomalous pixel if there is one."""
    side = max(1, int(min(rgb.shape[:2]) * dice.uniform(0.5, 1.0)))
    marked = np.argwhere(gt_mask)
    at = marked[dice.integers(len(marked))] if len(marked) else [dice.integers(n) for n in rgb.shape[:2]]
    top, left = (
        int(dice.integers(max(0, p - side + 1), min(n - side, p) + 1)) for p, n in zip(at, rgb.shape[:2], strict=True)
    )
    cut = Image.fromarray(np.ascontiguousarray(rgb[top : top + side, left : left + side]))
    mask = gt_mask[top : top + side, left : left + side]
    return np.asarray(cut.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)), _shrink(
        mask, (size, size)
    )


def _shrink(mask: NDArray, size_wh: tuple[int, int]) -> NDArray:
    share = Image.fromarray(mask.astype(np.uint8) * 255).resize(size_wh, Image.Resampling.BOX)
    return np.asarray(share) >= 255 * MASK_SHARE

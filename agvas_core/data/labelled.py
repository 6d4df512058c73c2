"""Labelled images of one's own, in MVTec layout, as training batches with the facts that words are made from."""

# S: side of the square training images, px

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from agvas_core.data.mvtec_folder import GOOD, Sample, find_samples, load_sample, train_samples
from agvas_core.data.real_defects import KIND_OF_FOLDER, jitter, number_parts
from agvas_core.processing import fit
from agvas_core.synthesis.facts import DEFECT_KINDS, SceneFacts, SyntheticBatch
from agvas_core.synthesis.measure import measure

PLAIN_NAMES = ("anomaly", "anomalous", "abnormal", "bad", "broken", "combined", "defect", "defective", "ng")
PHOTO_PX = 2304  # the largest grid of LLaVA-OneVision's tiles
MASK_SHARE = 0.25  # of a pixel of the training image that has to be anomalous, so that thin scratches stay


@dataclass(frozen=True, eq=False)
class LabelledBatch(SyntheticBatch):
    """A batch of photographs: the facts are measured on masks, and the kinds are the folders' names.

    Attributes:
        content_hw: of each image, its height and width in the upper left corner of its canvas, px.
        photos: uint8 (H, W, 3) each, at their own resolution, where they were asked for.
    """

    content_hw: tuple[tuple[int, int], ...] = ()
    photos: tuple[NDArray[np.uint8], ...] = ()


class LabelledImages:
    """Training images from a folder in MVTec layout, test and train images alike.

    Args:
        root: a category, a set of categories, or a folder of sets.
        good_share: share of the draws that start from a normal image, where there are any.
        whole_share: share of the images that are shown whole, as in serving; the others are crops about a defect.
        bilinear: scale as pretrained pixel encoders are served (processing.fit), and leave what lies beyond the image
            normal; else the image's border goes on there, as for the bundled encoder, and masks with it.
        keep_photos: batches have the images at their own resolution, too, up to PHOTO_PX.

    Raises:
        FileNotFoundError: when the folder holds no images, or a defect image has no mask.
    """

    def __init__(
        self,
        root: str | Path,
        good_share: float = 0.35,
        whole_share: float = 0.5,
        *,
        bilinear: bool = False,
        keep_photos: bool = False,
    ) -> None:
        self.good_share, self.whole_share = good_share, whole_share
        self.bilinear, self.keep_photos = bilinear, keep_photos
        self.groups: dict[tuple[str, str], list[Sample]] = {}  # (category, defect) -> images
        for sample in [*find_samples(root), *train_samples(root)]:
            self.groups.setdefault((sample.category, sample.defect), []).append(sample)

    def __len__(self) -> int:
        return sum(map(len, self.groups.values()))

    def batch(self, count: int, size: int, seed: int) -> LabelledBatch:
        """Return count images of S x S px; every category and defect comes about equally often."""
        dice = np.random.default_rng(seed)
        made = [self._draw(size, dice) for _ in range(count)]
        images, labels, facts, photos = zip(*made, strict=True)
        return LabelledBatch(
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(np.stack(labels)),
            list(facts),
            tuple(scene.size_hw for scene in facts),
            photos if self.keep_photos else (),
        )

    def _draw(self, size: int, dice: np.random.Generator) -> tuple[NDArray, NDArray, SceneFacts, NDArray | None]:
        """Return uint8 (3, S, S), labels uint8 (S, S), the facts of one image, and it at its own resolution."""
        good = dice.random() < self.good_share
        keys = [k for k in self.groups if (k[1] == GOOD) == good] or list(self.groups)
        group = self.groups[keys[dice.integers(len(keys))]]
        sample = group[dice.integers(len(group))]
        image, mask = load_sample(sample)
        rgb = image.rgb
        if dice.random() >= self.whole_share:
            rgb, mask = _crop(rgb, mask, dice)
        if dice.random() < 0.5:
            rgb, mask = rgb[:, ::-1], mask[:, ::-1]
        photo = jitter(_limit(rgb), copy.deepcopy(dice)) if self.keep_photos else None
        canvas, letterbox = fit(np.ascontiguousarray(rgb), size, bilinear=self.bilinear)
        height, width = letterbox.content_hw
        chw = np.ascontiguousarray(jitter(canvas, dice).transpose(2, 0, 1))
        labels = number_parts(_shrink(mask, (width, height)))
        kinds = [spoken_kind(sample.defect)] * int(labels.max())
        labels, defects = measure(chw[:, :height, :width].astype(np.float32) / 255, labels, kinds)
        beyond = ((0, size - height), (0, size - width))
        labels = np.pad(labels, beyond, mode="constant" if self.bilinear else "edge")
        name = sample.category.rsplit("/", 1)[-1].replace("_", " ")
        return chw, labels, SceneFacts(name, name, (), defects, (height, width)), photo


def spoken_kind(folder_name: str) -> str:
    """Return how a defect folder's name is spoken: a known kind, "defect" when it says no more, or its own words."""
    spoken = " ".join(folder_name.lower().replace("_", " ").replace("-", " ").split())
    if spoken in DEFECT_KINDS:
        return spoken
    return "defect" if spoken in PLAIN_NAMES else KIND_OF_FOLDER.get(folder_name.lower(), spoken)


def _crop(rgb: NDArray, gt_mask: NDArray, dice: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Return a square of half to all of the short side, about an anomalous pixel if there is one, and its mask."""
    side = max(1, int(min(rgb.shape[:2]) * dice.uniform(0.5, 1.0)))
    marked = np.argwhere(gt_mask)
    at = marked[dice.integers(len(marked))] if len(marked) else [dice.integers(n) for n in rgb.shape[:2]]
    top, left = (
        int(dice.integers(max(0, p - side + 1), min(n - side, p) + 1)) for p, n in zip(at, rgb.shape[:2], strict=True)
    )
    return rgb[top : top + side, left : left + side], gt_mask[top : top + side, left : left + side]


def _limit(rgb: NDArray) -> NDArray:
    """Return an image whose longer side is at most PHOTO_PX."""
    if max(rgb.shape[:2]) <= PHOTO_PX:
        return rgb
    canvas, letterbox = fit(np.ascontiguousarray(rgb), PHOTO_PX)
    height, width = letterbox.content_hw
    return canvas[:height, :width]


def _shrink(mask: NDArray, size_wh: tuple[int, int]) -> NDArray:
    share = Image.fromarray(mask.astype(np.uint8) * 255).resize(size_wh, Image.Resampling.BOX)
    return np.asarray(share) >= 255 * MASK_SHARE

"""Labelled images one by one, from held-out synthesis or from a folder, in one form for every measurement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agvas_core.data.mvtec_folder import find_samples, load_sample
from agvas_core.evaluation.held_out import held_out_images
from agvas_core.evaluation.protocol import spread
from agvas_core.structures import InspectionImage, Prediction
from agvas_core.synthesis.facts import SceneFacts

SURFACE, OBJECT = "synthesis, surfaces", "synthesis, objects"


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image and its truth.

    Attributes:
        category: its category's path below the root; of synthesis, SURFACE or OBJECT.
        name: what it is, in a few words or as a file's name.
        image: the picture.
        gt_mask: bool (H, W).
        scene: the facts of a synthetic image, None of a photograph.
    """

    category: str
    name: str
    image: InspectionImage
    gt_mask: NDArray[np.bool_]
    scene: SceneFacts | None = None


def without_maps(prediction: Prediction, *, keep_fused: bool = False) -> Prediction:
    """Return a prediction with its maps let go, so that a thousand of them fit into memory; the fused one may stay."""
    nothing = np.empty((0, 0), dtype=np.float32)
    fused = prediction.anomaly_map if keep_fused else nothing
    return replace(prediction, p_seg=nothing, p_nor=nothing, p_ano=nothing, anomaly_map=fused)


def synthetic_items(count: int, size: int = 256) -> Iterator[LabelledImage]:
    """Yield the first `count` held-out images, normal ones among them; the same ones every time."""
    for held_out in held_out_images(count, size):
        scene = held_out.scene
        shown = scene.surface if scene.object is None else f"{scene.object} on {scene.surface}"
        kinds = ", ".join(dict.fromkeys(defect.kind for defect in scene.defects)) or "normal"
        category = SURFACE if scene.object is None else OBJECT
        yield LabelledImage(category, f"{kinds}: {shown}", held_out.image, held_out.gt_mask, scene)


def folder_items(root: str | Path, limit: int | None = None, *, only_good: bool = False) -> Iterator[LabelledImage]:
    """Yield the images of a folder in MVTec layout, category by category.

    Args:
        root: see data.mvtec_folder.find_samples, with its errors.
        limit: at most so many images of each <category>/test/<defect>, spread evenly over its names.
        only_good: the normal images alone.
    """
    samples = [s for s in find_samples(root) if s.mask_path is None or not only_good]
    for sample in spread(samples, limit):
        image, gt_mask = load_sample(sample)
        yield LabelledImage(sample.category, f"{sample.defect}/{sample.image_path.name}", image, gt_mask)

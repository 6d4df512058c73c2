"""Folders that tests of training read."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_data(root: Path) -> Path:
    """Write a category of labelled images in MVTec layout: two normal ones, two with a dark square; return its root."""
    rng = np.random.default_rng(0)
    for i in range(2):
        for where, defect in (("train", "good"), ("test", "good"), ("test", "bent_lead")):
            image = rng.integers(150, 180, (80, 80, 3), dtype=np.uint8)
            if defect != "good":
                mask = np.zeros((80, 80), np.uint8)
                mask[20 + 5 * i : 50, 30:60] = 255
                image[mask > 0] = 20
                save(root / "nut" / "ground_truth" / defect / f"{i}_mask.png", mask)
            save(root / "nut" / where / defect / f"{i}.png", image)
    return root


def save(path: Path, array: np.ndarray) -> None:
    """Write an image, and its folders if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)

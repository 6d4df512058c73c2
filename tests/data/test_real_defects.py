"""Photographs of real defects as training crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from agvas_core.data.real_defects import RealDefects, kind_of


def test_real_photographs_come_with_the_same_facts(tmp_path) -> None:
    category = tmp_path / "set" / "plate"
    for sub in ("test/good", "test/pitting", "ground_truth/pitting"):
        (category / sub).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(2):
        pixels = rng.integers(100, 140, (160, 200, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(category / "test/good" / f"{i}.png")
        mask = np.zeros((160, 200), np.uint8)
        mask[60:100, 70:120] = 255
        pixels[mask > 0] = 20
        Image.fromarray(pixels).save(category / "test/pitting" / f"{i}.png")
        Image.fromarray(mask).save(category / "ground_truth/pitting" / f"{i}_mask.png")
    real = RealDefects(tmp_path)
    batch = real.batch(12, 64, 1)
    assert batch.images.shape == (12, 3, 64, 64)
    found = [d for scene in batch.facts for d in scene.defects]
    assert found and all(d.kind == "pit" and d.area_px >= 12 and d.color in ("dark", "black") for d in found)
    assert torch.equal(real.batch(12, 64, 1).images, batch.images)
    assert kind_of("weave_fault") == "weave fault"
    with pytest.raises(FileNotFoundError):
        RealDefects(tmp_path / "set" / "plate" / "test")


def test_a_lone_category_other_suffixes_and_masks_of_zero_and_one_are_read_too(tmp_path) -> None:
    for sub in ("test/crack", "ground_truth/crack"):
        (tmp_path / sub).mkdir(parents=True)
    pixels = np.full((80, 90, 3), 120, np.uint8)
    pixels[20:60, 30:60] = 10
    mask = np.zeros((80, 90), np.uint8)
    mask[20:60, 30:60] = 1
    Image.fromarray(pixels).save(tmp_path / "test/crack/1.bmp")
    Image.fromarray(mask).save(tmp_path / "ground_truth/crack/1_mask.png")
    batch = RealDefects(tmp_path).batch(3, 48, 2)
    assert batch.gt_mask.flatten(1).any(1).all()
    assert {d.kind for scene in batch.facts for d in scene.defects} == {"crack"}

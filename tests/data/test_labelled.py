"""Labelled photographs become training images: masks keep to their pixels, folders' names become words."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from agvas_core.data.labelled import LabelledBatch, LabelledImages, spoken_kind
from agvas_core.prompts import ANCHOR_TEXT
from agvas_core.synthesis.words import make_exchange


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A wide gray part with one red square, and normal ones that differ in brightness."""
    root = tmp_path_factory.mktemp("data")
    image, mask = np.full((60, 90, 3), 120, np.uint8), np.zeros((60, 90), np.uint8)
    image[20:32, 40:56] = (220, 30, 30)
    mask[20:32, 40:56] = 255
    save(root / "steel_part" / "test" / "bent_lead" / "0.png", image)
    save(root / "steel_part" / "ground_truth" / "bent_lead" / "0_mask.png", mask)
    save(root / "steel_part" / "test" / "good" / "0.png", np.full((60, 90, 3), 100, np.uint8))
    save(root / "steel_part" / "train" / "good" / "0.png", np.full((60, 90, 3), 140, np.uint8))
    return root


def test_normal_images_come_from_train_and_test(root):
    images = LabelledImages(root)
    assert {key: len(group) for key, group in images.groups.items()} == {
        ("steel_part", "bent_lead"): 1,
        ("steel_part", "good"): 2,
    }
    assert len(images) == 3


@pytest.mark.parametrize("whole_share", [0.0, 1.0])
def test_masks_lie_on_their_pixels(root, whole_share):
    batch = LabelledImages(root, good_share=0.0, whole_share=whole_share).batch(12, 64, 5)
    assert isinstance(batch, LabelledBatch)
    assert batch.images.shape == (12, 3, 64, 64) and batch.images.dtype == torch.uint8
    contrast = (batch.images[:, 0].float() - batch.images[:, 1].float()).abs()
    coloured = 0
    for one, mask in zip(contrast, batch.gt_mask, strict=True):
        assert bool(mask.any())
        if one.max() > 60:  # a fifth of the images are gray
            coloured += 1
            found = one > 60
            # borders are soft where a crop is enlarged
            assert float((found & mask).sum() / (found | mask).sum()) > 0.7
    assert coloured >= 5


def test_whole_images_show_all_of_the_part(root):
    batch = LabelledImages(root, good_share=0.0, whole_share=1.0).batch(3, 90, 1)
    assert batch.gt_mask.sum((1, 2)).tolist() == [12 * 16] * 3


def test_folders_names_become_words(root):
    facts = LabelledImages(root, good_share=0.0).batch(1, 64, 2).facts[0]
    assert [d.kind for d in facts.defects] == ["bent lead"]
    words = make_exchange("describe", facts, random.Random(0))
    assert "bent lead" in words.answer and "steel part" in words.answer and ANCHOR_TEXT in words.answer


@pytest.mark.parametrize(
    ("folder", "kind"), [("bent_lead", "bent lead"), ("Scratches", "scratch"), ("hole", "hole"), ("NG", "defect")]
)
def test_kinds_are_spoken(folder, kind):
    assert spoken_kind(folder) == kind


def test_the_same_seed_gives_the_same_batch(root):
    images = LabelledImages(root)
    a, b, c = images.batch(4, 32, 1), images.batch(4, 32, 1), images.batch(4, 32, 2)
    assert torch.equal(a.images, b.images) and a.facts == b.facts
    assert not torch.equal(a.images, c.images)


def test_a_thin_scratch_stays(tmp_path):
    image, mask = np.full((256, 256, 3), 120, np.uint8), np.zeros((256, 256), np.uint8)
    mask[100:102, 20:200] = 255
    save(tmp_path / "nut" / "test" / "scratch" / "0.png", image)
    save(tmp_path / "nut" / "ground_truth" / "scratch" / "0_mask.png", mask)
    batch = LabelledImages(tmp_path, whole_share=1.0).batch(1, 64, 0)
    assert int(batch.gt_mask.sum()) > 30


def test_an_empty_folder_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="No images"):
        LabelledImages(tmp_path)

"""Folders in MVTec layout are found at three depths; every mask fits its image; mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from agvas_core.data.mvtec_folder import find_samples, load_mask, load_sample


def _save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def _category(folder, mask_name="{}_mask.png", suffix=".png"):
    image, mask = np.full((20, 30, 3), 128, np.uint8), np.zeros((20, 30), np.uint8)
    mask[5:9, 10:20] = 255
    for name in ("001", "000"):
        _save(folder / "test" / "good" / f"{name}{suffix}", image)
        _save(folder / "test" / "hole" / f"{name}{suffix}", image)
        _save(folder / "ground_truth" / "hole" / mask_name.format(name), mask)
    return folder


@pytest.mark.parametrize(("depth", "category"), [("", "nut"), ("nut", "nut"), ("set/nut", "set/nut")])
def test_a_category_a_set_and_a_folder_of_sets(tmp_path, depth, category):
    root = tmp_path / "nut" if not depth else tmp_path / "root"
    _category(root / depth)
    samples = find_samples(root)
    assert [(s.category, s.defect, s.image_path.stem) for s in samples] == [
        (category, "good", "000"), (category, "good", "001"), (category, "hole", "000"), (category, "hole", "001"),
    ]  # fmt: skip
    assert samples[0].mask_path is None and samples[2].mask_path.name == "000_mask.png"


def test_masks_may_have_the_images_own_name_and_another_suffix(tmp_path):
    _category(tmp_path / "nut", mask_name="{}.bmp", suffix=".jpg")
    sample = find_samples(tmp_path)[-1]
    image, gt_mask = load_sample(sample)
    assert image.size_hw == gt_mask.shape == (20, 30)
    assert gt_mask.sum() == 40 and gt_mask.dtype == bool


def test_good_images_have_an_empty_mask(tmp_path):
    _category(tmp_path / "nut")
    _, gt_mask = load_sample(find_samples(tmp_path)[0])
    assert gt_mask.shape == (20, 30) and not gt_mask.any()


def test_a_mask_of_another_size_is_resized_nearest(tmp_path):
    mask = np.zeros((10, 15), np.uint8)
    mask[2:4, 3:5] = 1  # 0/1 masks count as well as 0/255
    _save(tmp_path / "m.png", mask)
    resized = load_mask(tmp_path / "m.png", (20, 30))
    assert resized.shape == (20, 30) and resized[4:8, 6:10].all() and resized.sum() == 16


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA", "LA", "I;16"])
def test_masks_of_any_mode(tmp_path, mode):
    mask = Image.fromarray(np.array([[0, 255]], np.uint8))
    if mode == "I;16":
        mask = Image.fromarray(np.array([[0, 65535]], np.uint16))
    else:
        mask = mask.convert(mode)
    mask.save(tmp_path / "m.png")
    assert load_mask(tmp_path / "m.png", (1, 2)).tolist() == [[False, True]]


def test_mistakes_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        find_samples(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="expected <category>/test/good"):
        find_samples(tmp_path)
    folder = _category(tmp_path / "nut")
    (folder / "ground_truth" / "hole" / "001_mask.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"001.png has no mask: expected .*001_mask.png"):
        find_samples(tmp_path)


def test_a_broken_image_is_named_with_its_path(tmp_path):
    folder = _category(tmp_path / "nut")
    (folder / "test" / "good" / "000.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"000.png: This file is empty"):
        load_sample(find_samples(tmp_path)[0])


def test_a_mask_far_too_large_is_refused_in_a_sentence(tmp_path):
    """It once ended in Pillow's own DecompressionBombError."""
    Image.new("1", (20_000, 20_000)).save(tmp_path / "m.png")
    with pytest.raises(ValueError, match=r"m\.png is not a readable mask: This image .* the limit is 40"):
        load_mask(tmp_path / "m.png", (20, 30))


def test_a_mask_is_turned_upright_as_its_image_is(tmp_path):
    """Masks once ignored the orientation that images follow: the truth lay beside the defect."""
    exif = Image.Exif()
    exif[0x0112] = 6
    mask = np.zeros((20, 30), np.uint8)
    mask[:5, :10] = 255
    Image.fromarray(mask).save(tmp_path / "m.png", exif=exif)
    upright = load_mask(tmp_path / "m.png", (30, 20))
    assert upright[:10, 15:].all() and upright.sum() == 50

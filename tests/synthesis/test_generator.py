"""The generator: what it promises about shapes, seeds, shares, labels and facts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Generator

from agvas_core.regions import place_of
from agvas_core.synthesis import defects_lines, generator
from agvas_core.synthesis.defect_shapes import LARGE_AREA, make_site
from agvas_core.synthesis.defects import DEFECTS
from agvas_core.synthesis.facts import DEFECT_KINDS, SyntheticBatch
from agvas_core.synthesis.generator import SceneGenerator, even, still_seen, visible
from agvas_core.synthesis.measure import COLOR_WORDS, SHAPE_WORDS, shape_word
from agvas_core.synthesis.surfaces import SURFACES

SIZE = 128


@pytest.fixture(scope="module")
def batch() -> SyntheticBatch:
    return SceneGenerator(SIZE).batch(48, seed=3)


def test_shapes_types_and_order(batch: SyntheticBatch) -> None:
    assert batch.images.shape == (48, 3, SIZE, SIZE) and batch.images.dtype == torch.uint8
    assert batch.labels.shape == (48, SIZE, SIZE) and batch.labels.dtype == torch.uint8
    assert len(batch.facts) == 48
    for scene in batch.facts:
        areas = [d.area_px for d in scene.defects]
        assert areas == sorted(areas, reverse=True)


def test_the_same_seed_gives_the_same_batch() -> None:
    make = SceneGenerator(SIZE)
    one, two, other = make.batch(6, 11), make.batch(6, 11), make.batch(6, 12)
    assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels) and one.facts == two.facts
    assert not torch.equal(one.images, other.images)


def test_facts_are_those_of_the_labels(batch: SyntheticBatch) -> None:
    seen = 0
    for labels, scene in zip(batch.labels.numpy(), batch.facts, strict=True):
        assert labels.max() == len(scene.defects)
        for i, defect in enumerate(scene.defects):
            y, x = np.nonzero(labels == i + 1)
            assert defect.area_px == len(y)
            assert defect.box_xyxy == (x.min(), y.min(), x.max() + 1, y.max() + 1)
            assert defect.centroid_yx == pytest.approx((y.mean(), x.mean()))
            assert defect.place == place_of(*defect.centroid_yx, SIZE, SIZE)
            assert defect.kind in DEFECT_KINDS
            assert defect.color in COLOR_WORDS and defect.shape in SHAPE_WORDS
            assert defect.contrast > 0.005
            seen += 1
    assert seen > 20


def test_share_of_normal_images_follows_the_setting() -> None:
    assert not SceneGenerator(SIZE, normal_share=1.0).batch(4, 0).gt_mask.any()
    defective = SceneGenerator(SIZE, normal_share=0.0).batch(32, 0).gt_mask.flatten(1).any(1)
    assert defective.float().mean() > 0.85  # a defect that nobody can see is not planted


def test_more_defects_than_allowed_are_refused() -> None:
    with pytest.raises(ValueError, match="max_defects"):
        SceneGenerator(SIZE, max_defects=9)


def test_crowded_images_have_up_to_nine_defects_others_up_to_five() -> None:
    """A mask of eight findings was once put into words as five: no talk of training had more."""
    assert SceneGenerator(SIZE).max_defects == 5
    crowded = SceneGenerator(192, normal_share=0.0, crowded=True).batch(48, 0)
    assert 5 < max(len(scene.defects) for scene in crowded.facts) <= 9


@pytest.mark.parametrize("kind", DEFECT_KINDS)
def test_every_kind_is_visible_inside_what_is_allowed_and_quiet_outside(kind: str) -> None:
    rng = Generator().manual_seed(5)
    images = SURFACES["dot plate"](8, SIZE, rng)
    allowed = torch.zeros(8, SIZE, SIZE, dtype=torch.bool)
    allowed[:, 20:-20, 20:-20] = True
    good_once = False
    for _ in range(4):
        after, soft = DEFECTS[kind](images, allowed, rng)
        after = after.clamp(0, 1)
        assert after.shape == images.shape and soft.shape == allowed.shape
        assert torch.isfinite(after).all()
        if kind != "deformation":  # an outline that is bent leaves the object
            assert not (soft > 0.5)[~allowed].any()
        mask, good = visible(images, after, soft, torch.zeros_like(allowed))
        good_once |= bool(good.any())
        change = (after - images).abs().amax(1)
        outside = torch.nn.functional.max_pool2d(mask[:, None].float(), 5, 1, 2)[:, 0] == 0
        for i in torch.nonzero(good)[:, 0]:
            assert mask[i].any()
            assert change[i][mask[i]].mean() > 3 * change[i][outside[i]].mean()
    assert good_once


def test_an_invisible_change_is_refused() -> None:
    images = torch.full((1, 3, SIZE, SIZE), 0.5)
    soft = torch.zeros(1, SIZE, SIZE)
    soft[:, 40:60, 40:60] = 1
    nothing = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    assert not visible(images, images + 0.01 * soft[:, None], soft, nothing)[1]
    mask, good = visible(images, images + 0.2 * soft[:, None], soft, nothing)
    assert good and torch.equal(mask, soft > 0.5)


def test_what_the_camera_hides_is_no_defect_any_more() -> None:
    clean = torch.full((1, 3, SIZE, SIZE), 0.5)
    labels = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    labels[:, 10:30, 10:30], labels[:, 60:90, 60:90] = 1, 2
    shot = clean + 0.1 * (labels == 2)[:, None] + 0.005 * (labels == 1)[:, None]
    kept = still_seen(shot, clean, labels, torch.ones(1))
    assert kept.dtype == labels.dtype and torch.equal(kept, labels * (labels == 2))
    rough = clean + 0.3 * torch.randn(clean.shape, generator=Generator().manual_seed(1))
    faint = rough + 0.5 * (shot - clean)
    assert not still_seen(faint, rough, labels, torch.ones(1)).any()
    assert still_seen(faint, rough, labels, torch.full((1,), 0.1)).any()


def test_a_camera_that_sees_nothing_leaves_no_label(monkeypatch) -> None:
    made = SceneGenerator(64, normal_share=0.0)
    assert all(scene.defects for scene in made.batch(4, 2).facts)
    monkeypatch.setattr(generator, "apply_camera", lambda images, rng: (0 * images, [()] * len(images)))
    dark = made.batch(4, 2)
    assert not dark.labels.any() and not any(scene.defects for scene in dark.facts)


def test_defects_of_one_image_are_often_alike(monkeypatch) -> None:
    def repeated(share: float) -> float:
        monkeypatch.setattr(generator, "ALIKE_SHARE", share)
        facts = SceneGenerator(64, normal_share=0.0, crowded=True).batch(40, 5).facts
        kinds = [[d.kind for d in scene.defects] for scene in facts if len(scene.defects) > 1]
        return sum(len(set(k)) < len(k) for k in kinds) / len(kinds)

    assert repeated(0.9) > repeated(0.0) + 0.3


def test_scratches_can_follow_the_grain(monkeypatch) -> None:
    y = torch.arange(SIZE).view(1, 1, SIZE, 1)
    images = (0.5 + 0.1 * torch.sin(y / 2)).expand(8, 3, SIZE, SIZE)  # grain from left to right
    everywhere = torch.ones(8, SIZE, SIZE, dtype=torch.bool)

    def upright(along: bool) -> float:
        draws = iter([False, along] + [False] * 9)  # no stripes; along the grain or not
        monkeypatch.setattr(defects_lines, "coin", lambda rng, p: next(draws))
        soft = defects_lines.scratch(images, everywhere, Generator().manual_seed(4))[1] > 0.5
        tall, wide = soft.any(2).sum(1), soft.any(1).sum(1)
        return float((tall > wide).float().mean())

    assert upright(True) == 0.0 < upright(False)


def test_shape_words_of_plain_shapes() -> None:
    y, x = np.mgrid[:64, :64]
    assert shape_word((y - 32) ** 2 + (x - 32) ** 2 < 200) == "round"
    assert shape_word(abs(y - x) < 1.5) == "thin"
    assert shape_word((abs(y - 32) < 6) & (abs(x - 32) < 24)) == "elongated"
    assert shape_word((y % 16 < 3) & (x % 16 < 3)) == "scattered"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_batch_is_made_on_the_device() -> None:
    made = SceneGenerator(SIZE).batch(8, 0, "cuda")
    assert made.images.is_cuda and made.labels.is_cuda


def test_crowded_images_hold_more_defects() -> None:
    def planted(crowded: bool) -> float:
        batch = SceneGenerator(size=64, normal_share=0.0, crowded=crowded).batch(24, 3)
        return sum(len(scene.defects) for scene in batch.facts) / 24

    assert planted(True) > planted(False) + 0.5


@pytest.mark.parametrize("px", [3, 7, 25])
def test_means_over_squares_are_those_of_pooling(px: int) -> None:
    images = torch.rand(2, 3, 40, 52, generator=Generator().manual_seed(0))
    assert torch.allclose(even(images, px), F.avg_pool2d(images, px, 1, px // 2, count_include_pad=False), atol=1e-5)


def test_some_zones_take_up_much_of_the_picture() -> None:
    where = torch.ones(400, 32, 32, dtype=torch.bool)
    area = torch.pi * make_site(where, Generator().manual_seed(0), (0.03, 0.035), large=0.25).radius.square() / 32**2
    large = (area > 0.036).flatten()
    assert 70 < int(large.sum()) < 130
    assert area[large].min() >= LARGE_AREA[0] and area[large].max() <= LARGE_AREA[1]
    assert LARGE_AREA[1] < 0.5  # what fills most of a picture is its normal look

"""Regions are counted, measured and placed; a new threshold needs no model."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import ndimage

from agvas_core.regions import (
    GAP_SHARE,
    PLACES,
    group_labels,
    keep_regions,
    make_prediction,
    place_of,
    region_labels,
    rethreshold,
    smallest_px,
    speck_px,
    with_kinds,
    without_weak_parts,
)


def _maps(shape=(90, 120)):
    p_seg, p_ano = np.full(shape, 0.1, np.float32), np.full(shape, 0.1, np.float32)
    p_seg[10:20, 100:115] = 0.9  # 150 px, upper right
    p_ano[10:20, 100:115] = 0.7
    p_seg[80:82, 5:8] = 0.8  # 6 px, lower left
    p_ano[80:82, 5:8] = 0.8
    return {"image_id": "a", "p_seg": p_seg, "p_nor": 1 - p_ano, "p_ano": p_ano}


def test_place_is_named_by_thirds():
    assert [place_of(y, x, 90, 90) for y in (10, 45, 80) for x in (10, 45, 80)] == list(PLACES)
    assert place_of(0, 0, 1, 1) == "upper left"
    assert place_of(99, -3, 90, 90) == "lower left"


def test_regions_are_largest_first_with_exact_measures():
    prediction = make_prediction(**_maps())
    large, small = prediction.regions
    assert (large.index, large.area_px, large.box_xyxy, large.place) == (1, 150, (100, 10, 115, 20), "upper right")
    assert (small.index, small.area_px, small.box_xyxy, small.place) == (2, 6, (5, 80, 8, 82), "lower left")
    assert large.centroid_yx == (14.5, 107.0)
    assert large.area_percent == pytest.approx(100 * 150 / (90 * 120))
    assert large.score == pytest.approx(0.8)  # 0.5 * 0.9 + 0.5 * 0.7
    assert prediction.pred_score == pytest.approx(0.8)
    assert prediction.verdict == "anomaly"


def test_pixels_that_touch_at_a_corner_are_one_region():
    mask = np.eye(5, dtype=bool)
    (region,) = make_prediction(image_id="x", p_seg=mask, p_nor=~mask, p_ano=mask).regions
    assert region.area_px == 5


def test_score_is_the_regions_own_maximum():
    scores = np.array([[0.6, 0.7, 0.1, 0.95]])
    first, second = make_prediction(image_id="x", p_seg=scores, p_nor=scores, p_ano=scores).regions
    assert (first.score, second.score) == (pytest.approx(0.7), pytest.approx(0.95))


def test_small_parts_leave_mask_regions_and_verdict():
    prediction = make_prediction(**_maps(), min_area_px=7)
    assert [r.area_px for r in prediction.regions] == [150]
    assert prediction.pred_mask.sum() == 150
    nothing = rethreshold(prediction, min_area_px=151)
    assert nothing.verdict == "normal" and not nothing.pred_mask.any() and nothing.regions == ()


def test_rethreshold_equals_making_it_anew():
    first = make_prediction(**_maps(), roi_xyxy=(0, 0, 120, 60))
    for change in ({"threshold": 0.85}, {"alpha": 1.0}, {"alpha": 0.0, "threshold": 0.75}, {"min_area_px": 200}):
        again = rethreshold(first, **change)
        fresh = make_prediction(**_maps(), roi_xyxy=(0, 0, 120, 60), **change)
        np.testing.assert_array_equal(again.anomaly_map, fresh.anomaly_map)
        np.testing.assert_array_equal(again.pred_mask, fresh.pred_mask)
        assert (again.regions, again.verdict, again.pred_score) == (fresh.regions, fresh.verdict, fresh.pred_score)
    assert first.threshold == 0.5  # the first one is untouched


def test_threshold_is_strict():
    half = np.full((4, 4), 0.5, np.float32)
    assert make_prediction(image_id="a", p_seg=half, p_nor=half, p_ano=half).verdict == "normal"
    assert make_prediction(image_id="a", p_seg=half, p_nor=half, p_ano=half, threshold=0.49).verdict == "anomaly"


def test_outside_the_region_of_interest_nothing_is_found():
    prediction = make_prediction(**_maps(), roi_xyxy=(-5, 70, 50, 500))
    assert prediction.roi_xyxy == (0, 70, 50, 90)
    assert [r.area_px for r in prediction.regions] == [6]
    assert prediction.pred_score == pytest.approx(0.8)
    assert make_prediction(**_maps(), roi_xyxy=(0, 30, 50, 60)).pred_score == pytest.approx(0.1)


def test_arrays_cannot_be_changed_and_the_callers_stay_writable():
    maps = _maps()
    prediction = make_prediction(**maps)
    for array in (prediction.p_seg, prediction.anomaly_map, prediction.pred_mask):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
    maps["p_seg"][0, 0] = 0.2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"threshold": 1.2}, "threshold must lie between 0 and 1"),
        ({"alpha": float("nan")}, "alpha must lie between 0 and 1"),
        ({"min_area_px": -1}, "min_area_px must be 0 or more"),
        ({"p_seg": np.zeros((3, 3))}, "must have one shape"),
        ({"p_seg": np.zeros((2, 90, 120))}, "p_seg must be a map of shape"),
        ({"p_ano": np.full((90, 120), np.nan)}, "p_ano must hold probabilities"),
        ({"p_nor": np.full((90, 120), 1.5)}, "p_nor must hold probabilities"),
        ({"roi_xyxy": (200, 0, 300, 50)}, "has no pixel inside the 120 x 90 image"),
        ({"roi_xyxy": (1, 2, 3)}, "left, top, right, bottom"),
    ],
)
def test_wrong_values_are_refused_in_words(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_prediction(**(_maps() | change))


def test_thousands_of_specks_stay_fast():
    scores = np.random.default_rng(0).random((1000, 1000)).astype(np.float32)
    start = time.thread_time()  # other programs do not count
    regions = make_prediction(image_id="x", p_seg=scores, p_nor=scores, p_ano=scores, threshold=0.98).regions
    assert len(regions) > 10_000
    assert time.thread_time() - start < 3.0


def test_labels_have_the_regions_indices():
    prediction = make_prediction(**_maps())
    labels = region_labels(prediction.pred_mask)
    for region in prediction.regions:
        left, top, right, bottom = region.box_xyxy
        assert np.all(labels[top:bottom, left:right] == region.index)
    np.testing.assert_array_equal(labels > 0, prediction.pred_mask)


def test_a_region_keeps_the_kind_of_what_it_overlaps_most():
    prediction = make_prediction(**_maps())
    assert [r.kind for r in prediction.regions] == ["", ""]
    named = with_kinds(prediction, [("scratch", 0.9), ("hole", 0.6)])
    assert [(r.kind, r.kind_score) for r in named.regions] == [("scratch", 0.9), ("hole", 0.6)]
    only_small = rethreshold(named, alpha=0.0, threshold=0.75)  # the large one is at 0.7 there
    assert [(r.index, r.kind) for r in only_small.regions] == [(1, "hole")]
    everything = rethreshold(named, threshold=0.05)  # one region that holds both: the larger part names it
    assert [r.kind for r in everything.regions] == ["scratch"]
    assert rethreshold(named, threshold=0.95).regions == ()


def test_a_region_where_none_was_has_no_kind():
    p = np.zeros((20, 20), np.float32)
    p[2:5, 2:5], p[10:12, 10:12] = 0.9, 0.4
    named = with_kinds(make_prediction(image_id="a", p_seg=p, p_nor=1 - p, p_ano=p), [("scratch", 0.9)])
    assert [r.kind for r in rethreshold(named, threshold=0.3).regions] == ["scratch", ""]


def test_near_parts_are_one_finding_and_the_largest_is_number_one():
    mask = np.zeros((200, 300), bool)
    mask[20:24, 20:24] = mask[20:24, 28:32] = True  # 4 px apart: one finding
    mask[150:170, 200:240] = True
    labels = group_labels(mask)
    assert labels.max() == 2
    assert labels[160, 220] == 1
    assert labels[21, 21] == labels[21, 29] == 2
    assert ((labels > 0) == mask).all()
    assert group_labels(np.zeros((5, 7), bool)).max() == 0


def test_each_region_knows_its_finding():
    """The words spoke of one crack beside two numbered regions, and nothing said that these were one."""
    score = np.zeros((200, 300), np.float32)
    score[150:170, 200:240] = score[20:24, 20:24] = score[20:24, 28:31] = 0.9
    score[100, 100] = 0.9  # too small to count
    found = make_prediction(image_id="a", p_seg=score, p_nor=1 - score, p_ano=score, min_area_px=4)
    assert [(r.area_px, r.finding) for r in found.regions] == [(800, 1), (16, 2), (12, 2)]


def _group_everywhere(mask: np.ndarray) -> np.ndarray:
    """group_labels with distances over the whole image."""
    height, width = mask.shape
    cell = -(-max(height, width) // 512)
    coarse = np.pad(mask, ((0, -height % cell), (0, -width % cell)))
    coarse = coarse.reshape(coarse.shape[0] // cell, cell, -1, cell).any(axis=(1, 3))
    near = ndimage.distance_transform_edt(~coarse) <= max(1.0, GAP_SHARE * max(coarse.shape) / 2)
    labels, count = ndimage.label(near, structure=np.ones((3, 3)))
    fine = np.where(mask, labels.repeat(cell, 0).repeat(cell, 1)[:height, :width], 0)
    areas = [int((fine == i + 1).sum()) for i in range(count)]
    rank = {label + 1: n + 1 for n, label in enumerate(sorted(range(count), key=lambda i: -areas[i]))}
    return np.vectorize(lambda label: rank.get(label, 0))(fine)


@pytest.mark.parametrize("size_hw", [(60, 90), (40, 700), (1300, 30), (1, 9), (257, 1)])
def test_grouping_around_the_mask_only_is_grouping_everywhere(size_hw):
    rng = np.random.default_rng(size_hw[0])
    for _ in range(6):
        mask = np.zeros(size_hw, bool)
        for _ in range(rng.integers(1, 6)):
            top, left = rng.integers(0, size_hw[0]), rng.integers(0, size_hw[1])
            mask[top : top + rng.integers(1, 9), left : left + rng.integers(1, 9)] = True
        np.testing.assert_array_equal(group_labels(mask), _group_everywhere(mask))


def test_regions_far_from_the_corner_are_measured_where_they_lie():
    # they are labelled in the mask's own box only
    scores = np.zeros((300, 400), np.float32)
    scores[200:210, 350:380], scores[205, 390] = 0.8, 0.9
    large, small = make_prediction(image_id="x", p_seg=scores, p_nor=1 - scores, p_ano=scores).regions
    assert (large.box_xyxy, large.centroid_yx, large.place) == ((350, 200, 380, 210), (204.5, 364.5), "lower right")
    assert (small.box_xyxy, small.centroid_yx, small.score) == ((390, 205, 391, 206), (205, 390), pytest.approx(0.9))
    kept = make_prediction(image_id="x", p_seg=scores, p_nor=1 - scores, p_ano=scores, min_area_px=2)
    assert np.flatnonzero(kept.pred_mask.any(0))[[0, -1]].tolist() == [350, 379]


def test_findings_of_a_large_image_are_told_apart():
    mask = np.zeros((4000, 6000), bool)
    mask[::500, ::500] = True
    assert group_labels(mask).max() == 96  # 8 x 12 specks far from each other


def test_a_smallest_area_of_0_keeps_specks_and_none_does_not():
    assert [smallest_px(n, (512, 512)) for n in (None, 0, 1, 100)] == [27, 0, 27, 100]


def test_a_speck_is_a_ten_thousandth():
    assert [speck_px(hw) for hw in ((1, 1), (100, 100), (512, 512))] == [1, 1, 27]
    assert speck_px((2048, 2048)) == 420 and speck_px((2048, 2048), close=True) == 210  # seen in tiles: half of it
    assert smallest_px(None, (2048, 2048), close=True) == 210 and smallest_px(300, (2048, 2048), close=True) == 300


def test_parts_that_nowhere_are_clear_are_taken_below_one_half():
    maps = np.full((2, 20, 30), 0.1, np.float32)
    maps[:, 2:6, 2:6] = 0.55  # weak all over
    maps[:, 10:14, 10:14] = 0.55
    maps[:, 12, 12] = 0.7  # weak, but clear at a pixel
    maps[0, 2:6, 20:24], maps[1, 2:6, 20:24] = 0.7, 0.4  # their mean counts
    calm = without_weak_parts(maps, 0.6)
    fused = calm.mean(axis=0)
    assert (fused[2:6, 2:6] < 0.5).all() and (fused[2:6, 20:24] < 0.5).all()
    assert np.array_equal(calm[:, 8:], maps[:, 8:]) and (calm[:, :2] == maps[:, :2]).all()
    assert calm[0, 3, 21] / calm[1, 3, 21] == pytest.approx(0.7 / 0.4)  # both maps alike
    assert np.array_equal(without_weak_parts(maps, 0.5), maps) and maps[0, 2, 2] == np.float32(0.55)


def test_a_region_that_is_left_out_stays_away_when_the_threshold_falls():
    """At a lower threshold the halo of a region that the words had left out came up as a ring."""
    y, x = np.mgrid[:60, :120]
    hill = [np.clip(1.2 - np.hypot(y - 30, x - at) / 20, 0, 0.9).astype(np.float32) for at in (30, 78)]
    far = np.zeros_like(hill[0])
    far[2:6, 112:118] = 0.4  # a sign of its own
    p = np.maximum(np.maximum(*hill), far)
    whole = make_prediction(image_id="x", p_seg=p, p_nor=1 - p, p_ano=p)
    assert len(whole.regions) == 2
    left = next(r.index for r in whole.regions if r.centroid_yx[1] < 60)
    lower = rethreshold(keep_regions(whole, {left}), threshold=0.2)
    assert len(lower.regions) == 2 and all(r.centroid_yx[1] < 60 or r.centroid_yx[0] < 10 for r in lower.regions)
    assert lower.regions[0].area_px > whole.regions[left - 1].area_px  # what stays fades out as before
    assert not rethreshold(keep_regions(whole, ()), threshold=0.5).regions

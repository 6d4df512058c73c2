"""max-F1-pixel and max-F1-region against cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from agvas_core.evaluation.saa_protocol import SIDE_PX, THRESHOLDS, SAAMeter, region_matches, to_side, truth_to_side

S = SIDE_PX


def canvas(*boxes, value=1.0):
    out = np.zeros((S, S), np.float32)
    for y0, y1, x0, x1 in boxes:
        out[y0:y1, x0:x1] = value
    return out


def matches(pred, truth):
    labels, count = ndimage.label(truth > 0, structure=np.ones((3, 3)))
    return region_matches(pred > 0, labels, count)


def measured(*pairs):
    meter = SAAMeter()
    for scores, truth in pairs:
        meter.update(scores, truth > 0)
    return meter.compute()


def test_a_part_matches_from_an_iou_of_six_tenths():
    truth = canvas((0, 10, 0, 10))
    assert matches(canvas((0, 10, 0, 6)), truth) == (1, 1, 1)  # 60 of 100
    assert matches(canvas((0, 10, 0, 5), (0, 9, 5, 6)), truth) == (0, 1, 1)  # 59 of 100
    assert matches(canvas((0, 10, 0, 16)), truth) == (1, 1, 1)  # 100 of 160
    assert matches(canvas((0, 10, 0, 17)), truth) == (0, 1, 1)


def test_parts_that_touch_at_a_corner_are_one():
    corner = canvas((0, 10, 0, 10), (10, 20, 10, 20))
    assert matches(corner, corner) == (1, 1, 1)
    apart = canvas((0, 10, 0, 10), (11, 21, 10, 20))
    assert matches(apart, apart) == (2, 2, 2)


def test_one_part_over_two_labelled_ones_matches_neither():
    assert matches(canvas((0, 10, 0, 31)), canvas((0, 10, 0, 10), (0, 10, 20, 31))) == (0, 1, 2)
    assert matches(canvas(), canvas((0, 1, 0, 1))) == (0, 0, 1)
    assert matches(canvas((0, 1, 0, 1)), canvas()) == (0, 1, 0)


def test_perfect_and_hand_made_f1():
    a, b = canvas((0, 20, 0, 20)), canvas((50, 60, 50, 60))
    perfect = measured((a, a), (canvas(), canvas()), (b, b))
    assert (perfect.f1_pixel, perfect.f1_region, perfect.images) == (1.0, 1.0, 3)
    # both parts found at 0.9, a false one of 100 px at 0.9 on a normal image: P 2/3, R 1
    false = measured((0.9 * a, a), (0.9 * b, canvas()), (0.9 * b, b))
    assert false.f1_region == pytest.approx(2 * 2 / (3 + 2))
    assert false.f1_pixel == pytest.approx(2 * 500 / (600 + 500))


def test_the_best_of_all_thresholds_is_taken():
    truth = canvas((0, 20, 0, 20))
    scores = np.maximum(0.9 * truth, canvas((100, 300, 100, 300), value=0.5))
    both = measured((scores, truth))
    assert both.f1_region == 1.0 and 0.5 <= both.region_threshold < 0.9
    assert both.f1_pixel == 1.0
    # above 0.5 one of two parts is found (F1 2/3), below 0.4 both are, beside a false one
    low = measured((scores, truth), (0.4 * truth, truth))
    assert low.f1_region == pytest.approx(2 * 2 / (3 + 2)) and low.region_threshold < 0.4


def test_maps_of_one_value_and_sets_without_an_anomaly():
    assert THRESHOLDS == 200
    flat = measured((np.full((S, S), 0.5, np.float32), canvas((0, 9, 0, 9))))
    assert flat.f1_region == 0.0 and flat.f1_pixel == pytest.approx(2 * 81 / (S * S + 81))
    normal = measured((canvas(), canvas()))
    assert math.isnan(normal.f1_pixel) and math.isnan(normal.f1_region) and normal.images == 1


@pytest.mark.parametrize(
    ("scores", "truth"),
    [
        (np.zeros((3, 3)), np.zeros((3, 4))),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (np.full((3, 3), -0.1), np.ones((3, 3))),
        (np.full((3, 3), 2.0), np.ones((3, 3))),
        (np.full((3, 3), np.nan), np.ones((3, 3))),
    ],
)
def test_what_is_no_pair_of_map_and_mask_is_refused_and_counts_nothing(scores, truth):
    """Maps were stretched onto masks of another shape, and brought into [0, 1], without a word."""
    meter = SAAMeter()
    with pytest.raises(ValueError, match="anomaly_map"):
        meter.update(scores, truth)
    assert meter.compute().images == 0


def test_maps_are_bicubic_and_masks_nearest():
    step = np.zeros((100, 100), np.float32)
    step[:, 50:] = 1
    grown = to_side(step)
    assert grown.shape == (S, S) and grown.min() == 0 and grown.max() == 1
    assert 0.3 < grown[0, 199] < 0.5 < grown[0, 200] < 0.7
    mask = truth_to_side(step > 0)
    assert mask[:, 200:].all() and not mask[:, :200].any()
    assert to_side(grown) is grown

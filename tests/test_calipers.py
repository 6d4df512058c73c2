"""Calipers: lengths and widths of marks against hand values, whichever way they lie."""

import math

import numpy as np
import pytest

from agvas_core.calipers import calipers


@pytest.mark.parametrize(
    ("rows", "cols", "length", "width"),
    [(slice(3, 4), slice(5, 6), math.sqrt(2), 1), (slice(10, 20), slice(5, 45), math.hypot(40, 10), 10),
     (slice(0, 60), slice(0, 1), math.hypot(60, 1), 1), (slice(0, 60), slice(0, 80), 100, 60)],
)  # fmt: skip
def test_upright_boxes_of_pixels(rows, cols, length, width):
    mask = np.zeros((60, 80), dtype=bool)
    mask[rows, cols] = True
    assert calipers(mask) == pytest.approx((length, width))


def test_a_slanting_line_is_as_narrow_as_it_is_drawn_and_a_hole_changes_nothing():
    y, x = np.mgrid[:200, :200]
    along, across = (x + y) / math.sqrt(2), np.abs(x - y) / math.sqrt(2)
    line = (across <= 4) & (along > 60) & (along < 160)
    length, width = calipers(line)
    assert length == pytest.approx(math.hypot(100, 8), abs=2) and width == pytest.approx(8, abs=1.5)
    ring = line & (across > 1)
    assert calipers(ring) == (length, width)


def test_turning_a_mask_changes_nothing_and_an_empty_one_has_no_size():
    mask = np.random.default_rng(0).random((40, 70)) > 0.97
    for turned in (mask.T, mask[::-1], mask[:, ::-1]):
        assert calipers(turned) == pytest.approx(calipers(mask))
    assert calipers(np.zeros((5, 5), dtype=bool)) == (0.0, 0.0)

"""Views: tiles cover the image, their maps become one without seams, mirrored maps come back the right way round."""

from __future__ import annotations

import numpy as np
import pytest

from agvas_core.views import (
    CONTRAST_MOST,
    MAX_TILES,
    OVERLAP,
    View,
    blend,
    parts_along,
    raise_contrast,
    smaller_canvases,
    tiles,
    turned_views,
    whole_views,
)


@pytest.mark.parametrize("size_hw", [(400, 400), (385, 2000), (2048, 2048), (1, 5000), (9000, 7000)])
def test_tiles_cover_the_image_and_overlap(size_hw):
    parts = tiles(size_hw, 384)
    seen = np.zeros(size_hw, dtype=np.int32)
    for view in parts:
        left, top, right, bottom = view.box_xyxy
        assert 0 <= left < right <= size_hw[1] and 0 <= top < bottom <= size_hw[0]
        assert right - left == min(size_hw[1], parts[0].box_xyxy[2])  # all of one size
        seen[top:bottom, left:right] += 1
    assert seen.min() >= 1
    assert 2 <= len(parts) <= MAX_TILES
    lefts = sorted({view.box_xyxy[0] for view in parts})
    side = parts[0].box_xyxy[2] - parts[0].box_xyxy[0]
    for a, b in zip(lefts, lefts[1:], strict=False):
        assert a + side - b >= OVERLAP * side - 1


def test_an_image_that_is_seen_at_full_size_needs_no_tiles():
    assert tiles((384, 300), 384) == []


@pytest.mark.parametrize(
    ("size_hw", "count", "part_hw"),
    [((160, 1000), 7, (160, 192)), ((1240, 500), 3, (500, 500)), ((55, 1250), 9, (55, 192)), ((1, 40), 0, None)],
)
def test_a_long_image_is_seen_in_parts_along_it_each_twice(size_hw, count, part_hw):
    """A rail of 160 x 1000 px was 61 px high on the canvas."""
    views = parts_along(size_hw)
    boxes = [view.box_xyxy for view in views]
    assert len(set(boxes)) == count and len(boxes) == 2 * count
    assert {(bottom - top, right - left) for left, top, right, bottom in boxes} == ({part_hw} if part_hw else set())
    assert [view.mirrored for view in views] == [view.contrasted for view in views] == [False, True] * count


@pytest.mark.parametrize("size_hw", [(512, 512), (384, 512), (320, 480), (100, 174)])
def test_others_are_not(size_hw):
    assert parts_along(size_hw) == []


def test_blending_equal_maps_changes_nothing():
    rng = np.random.default_rng(0)
    truth = rng.random((2, 500, 700), dtype=np.float32)
    parts = tiles((500, 700), 384)
    cut = [(v, truth[:, v.box_xyxy[1] : v.box_xyxy[3], v.box_xyxy[0] : v.box_xyxy[2]]) for v in parts]
    np.testing.assert_allclose(blend(cut, (500, 700), 384), truth, atol=1e-6)


def test_no_seam_where_tiles_disagree():
    parts = tiles((384, 1000), 384)
    flat = [(v, np.full((384, 384), i % 2, dtype=np.float32)) for i, v in enumerate(parts)]
    joined = blend(flat, (384, 1000), 384)
    assert joined.min() == 0 and joined.max() == 1  # each tile rules where it is alone
    assert float(np.abs(np.diff(joined, axis=1)).max()) < 2 / (OVERLAP * 384)


def test_a_mirrored_view_comes_back():
    rgb = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    view = View((1, 0, 5, 4), mirrored=True)
    assert np.array_equal(view.back(view.crop(rgb)[..., 0].astype(np.float32)), rgb[:, 1:5, 0])
    other = View((1, 0, 5, 4), mirrored=True, upside_down=True)
    assert np.array_equal(other.crop(rgb), rgb[::-1, 4:0:-1])
    assert np.array_equal(other.back(other.crop(rgb)[..., 0].astype(np.float32)), rgb[:, 1:5, 0])


def test_the_first_of_the_four_views_is_the_image_itself():
    rgb = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    views = turned_views((4, 6))
    assert np.array_equal(views[0].crop(rgb), rgb)
    assert len({view.crop(rgb).tobytes() for view in views}) == 4


@pytest.mark.parametrize(
    ("first", "shares", "canvases"),
    [(384, (0.6, 0.4), [224, 160]), (224, (0.6, 0.4), [128, 96]), (64, (0.6, 0.4), [32]), (32, (0.6,), [])],
)
def test_smaller_looks_are_shares_of_the_first_each_once_and_never_as_large(first, shares, canvases):
    assert smaller_canvases(first, shares) == canvases


def test_contrast_is_raised_only_where_it_is_flat() -> None:
    flat = np.tile(np.arange(100, 160, dtype=np.uint8)[:, None, None], (1, 60, 3))  # 100 to 159
    raised = raise_contrast(flat).astype(float)
    gain = np.ptp(raised) / np.ptp(flat.astype(float))
    assert gain == pytest.approx(np.sqrt(215 / 59), abs=0.05)
    assert raised.mean() == pytest.approx(flat.mean(), abs=1)
    full = np.tile(np.linspace(0, 255, 256).astype(np.uint8)[:, None, None], (1, 60, 3))
    assert raise_contrast(full) is full
    even = np.full((8, 8, 3), 90, np.uint8)
    even[0, 0] = 91
    assert np.ptp(raise_contrast(even).astype(float)) <= CONTRAST_MOST


def test_two_of_the_four_looks_are_contrasted() -> None:
    assert [view.contrasted for view in turned_views((60, 60))] == [False, True, True, False]


def test_the_smallest_size_is_seen_in_all_four_ways_and_larger_ones_in_two() -> None:
    seen = whole_views((400, 300), 384, (0.6, 0.4))
    turns = [(view.mirrored, view.upside_down, canvas) for view, canvas in seen]
    assert turns[:2] == [(False, False, 384), (True, False, 384)]
    assert turns[2:4] == [(False, True, 224), (True, True, 224)]
    assert turns[4:] == [(False, False, 160), (True, False, 160), (False, True, 160), (True, True, 160)]
    assert [canvas for _, canvas in whole_views((32, 32), 32, (0.6,))] == [32] * 4

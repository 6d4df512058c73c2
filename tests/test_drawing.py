"""Pictures of predictions."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from agvas_core import drawing
from agvas_core.processing import open_image
from agvas_core.regions import make_prediction, region_labels


@pytest.fixture
def prediction():
    """Two squares, 40 x 40 and 10 x 10, on 200 x 300."""
    found = np.zeros((200, 300), np.float32)
    found[20:60, 30:70] = 0.9
    found[150:160, 250:260] = 0.7
    return make_prediction(image_id="x", p_seg=found, p_nor=1 - found, p_ano=found)


@pytest.fixture
def photo():
    """A grey photo of the same size."""
    return Image.new("RGB", (300, 200), (128, 128, 128))


def test_the_overlay_tints_and_outlines_only_the_mask(photo, prediction):
    picture = np.asarray(drawing.overlay(photo, prediction)).astype(int)
    k = picture.shape[0] // 200
    inside, outside = picture[45 * k, 50 * k], picture[110 * k, 150 * k]
    assert tuple(outside) == (128, 128, 128)
    assert inside[0] > 150 and inside[2] < 100  # towards vermilion


@pytest.mark.parametrize("place", [(0, 0), (40, 90), (58, 117), (0, 100)])
def test_an_outline_is_the_same_drawn_in_its_own_part_of_the_picture(place):
    mask = np.zeros((60, 120), bool)
    mask[place[0] : place[0] + 9, place[1] : place[1] + 13] = True
    canvas = np.full((60, 120, 3), 128, np.uint8)
    drawing._paint(canvas, mask, drawing.VERMILION)
    expected = np.full((60, 120, 3), 128, np.uint8)
    expected[mask] = (128 * (1 - drawing.TINT) + np.array(drawing.VERMILION) * drawing.TINT).astype(np.uint8)
    grown = ndimage.binary_dilation(mask, iterations=2)  # on the whole picture
    expected[grown & ~mask] = drawing.VERMILION
    expected[ndimage.binary_dilation(grown, iterations=1) & ~grown] = 255
    np.testing.assert_array_equal(canvas, expected)


def test_the_selected_region_is_blue(photo, prediction):
    picture = np.asarray(drawing.overlay(photo, prediction, selected_region=1)).astype(int)
    k = picture.shape[0] // 200
    assert picture[45 * k, 50 * k][2] > picture[45 * k, 50 * k][0]
    assert picture[157 * k, 257 * k][0] > picture[157 * k, 257 * k][2]


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 2000), (2000, 3), (17, 23), (1500, 2600)])
def test_any_size_is_drawn(size_hw):
    found = np.zeros(size_hw, np.float32)
    found[0, 0] = 1
    prediction = make_prediction(image_id="x", p_seg=found, p_nor=found, p_ano=found)
    shown = drawing.overlay(drawing.shrink(np.zeros((*size_hw, 3), np.uint8)), prediction, 1)
    assert max(shown.size) <= drawing.SHOWN_PX or max(shown.size) == max(size_hw)


def test_a_single_pixel_stays_visible_on_a_large_photo():
    found = np.zeros((3000, 4000), np.float32)
    found[1501, 2503] = 1
    prediction = make_prediction(image_id="x", p_seg=found, p_nor=found, p_ano=found)
    picture = np.asarray(drawing.overlay(Image.new("RGB", (1280, 960)), prediction))
    assert picture[..., 0].max() > 200


def test_the_heat_map_is_monotonic_in_lightness():
    light = drawing.heat_lut() @ np.array([0.2126, 0.7152, 0.0722])
    assert np.all(np.diff(light) >= -0.5) and light[0] < 2 and light[-1] > 240


def test_shrink_keeps_the_shape_of_the_photo(tmp_path):
    path = tmp_path / "wide.png"
    Image.new("RGB", (4000, 1000)).save(path)
    assert drawing.shrink(open_image(path).rgb).size == (1280, 320)


def test_a_crop_shows_the_region_outlined_in_its_own_colours(photo, prediction):
    crop = np.asarray(drawing.region_crop(np.asarray(photo), prediction, prediction.regions[1]))
    k = min(8, drawing.CROP_CRISP_PX // drawing.CROP_PX)
    assert crop.shape == (drawing.CROP_PX * k, drawing.CROP_PX * k, 3)
    centre = crop.shape[0] // 2
    assert tuple(crop[centre, centre]) == (128, 128, 128)  # not tinted
    orange = (crop == drawing.VERMILION).all(axis=2)
    assert orange.any() and orange.sum() < 0.2 * orange.size


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 2000), (17, 23), (1500, 2600)])
def test_a_crop_of_any_size_is_drawn(size_hw):
    found = np.ones(size_hw, np.float32)
    prediction = make_prediction(image_id="x", p_seg=found, p_nor=found, p_ano=found)
    crop = drawing.region_crop(np.zeros((*size_hw, 3), np.uint8), prediction, prediction.regions[0])
    assert max(crop.size) <= drawing.SHOWN_PX


def test_a_crop_of_a_region_does_not_outline_its_neighbour():
    found = np.zeros((100, 100), np.float32)
    found[40:50, 40:50] = found[52:57, 40:45] = 1
    prediction = make_prediction(image_id="x", p_seg=found, p_nor=found, p_ano=found)
    crops = [drawing.region_crop(np.zeros((100, 100, 3), np.uint8), prediction, r) for r in prediction.regions]
    areas = [(np.asarray(c) == drawing.VERMILION).all(axis=2).any(axis=0).sum() for c in crops]
    assert areas[0] > areas[1] > 0


def _places(found: np.ndarray, scale: float = 1.0) -> tuple[list[tuple[float, float]], np.ndarray]:
    prediction = make_prediction(image_id="x", p_seg=found, p_nor=found, p_ano=found)
    labels = region_labels(prediction.pred_mask)
    return drawing._beside(prediction.regions, labels, scale, 10, []), labels


def test_the_number_of_a_slanted_crack_is_beside_it():
    """It once was at its box's corner, far from the crack."""
    crack = np.zeros((400, 400), np.float32)
    for i in range(20, 380):
        crack[i, 398 - i : 401 - i] = 1
    [(x, y)], labels = _places(crack)
    ys, xs = np.nonzero(labels)
    assert 8 < np.hypot(xs - x, ys - y).min() < 15


def test_a_number_covers_no_other_region_and_no_other_number():
    """A ring's number once was on what lies in its corner."""
    found = np.zeros((400, 400), np.float32)
    found[100:300, 100:300] = 1
    found[110:300, 110:300] = 0  # an angle, in whose corner there are
    found[60:92, 60:92] = 1  # one outside
    found[120:140, 120:140] = found[150:160, 120:130] = 1  # and two inside
    places, labels = _places(found)
    for index, (x, y) in enumerate(places, 1):
        near = np.hypot(*np.ogrid[-y : 400 - y, -x : 400 - x]) < 9
        assert set(np.unique(labels[near])) <= {0, index}
    gaps = [np.hypot(x - u, y - v) for n, (x, y) in enumerate(places) for u, v in places[:n]]
    assert min(gaps) >= 20


def test_a_number_leaves_most_of_a_strips_width_free():
    found = np.zeros((1600, 200), np.float32)
    found[800:830, 90:120] = 1
    prediction = make_prediction(image_id="x", p_seg=found, p_nor=found, p_ano=found)
    picture = drawing.overlay(drawing.shrink(np.zeros((1600, 200, 3), np.uint8)), prediction)
    changed = np.asarray(picture).any(axis=(0, 2)).nonzero()[0]
    assert np.ptp(changed) < 0.5 * picture.width

"""The object of a photo on an even background: found, measured, and not made up."""

import numpy as np
import pytest

from agvas_core.foreground import object_hw, object_labels


def disc(size_hw, radius, level=40):
    """A disc in the middle of a dark background, with noise."""
    height, width = size_hw
    ys, xs = np.mgrid[:height, :width]
    inside = (ys - height / 2) ** 2 + (xs - width / 2) ** 2 < radius**2
    rgb = np.where(inside[..., None], 170, level) + np.random.default_rng(0).integers(-6, 7, (height, width, 3))
    return rgb.astype(np.uint8)


@pytest.mark.parametrize(("size_hw", "radius"), [((480, 640), 150), ((1200, 900), 300), ((200, 200), 70)])
def test_the_object_is_measured_in_the_photos_own_pixels(size_hw, radius):
    height, width = object_hw(disc(size_hw, radius))
    cell = max(1.0, max(size_hw) / 256)
    assert height == pytest.approx(2 * radius, abs=3 * cell) and width == pytest.approx(2 * radius, abs=3 * cell)


def test_a_surface_a_speck_and_a_picture_of_few_pixels_have_no_object():
    plain = np.full((200, 300, 3), 90, np.uint8)
    busy = np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)
    for rgb in (plain, busy, disc((480, 640), 20), disc((12, 300), 4)):
        assert object_labels(rgb) is None and object_hw(rgb) is None


def test_two_objects_are_labelled_and_no_size_is_said():
    rgb = np.full((300, 600, 3), 40, np.uint8)
    rgb[60:240, 60:260] = rgb[60:240, 340:540] = 180
    labels = object_labels(rgb)
    assert labels is not None and set(np.unique(labels)) == {0, 1, 2}
    assert object_hw(rgb) is None

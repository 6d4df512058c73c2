"""Outlines follow the image, say where and not whether, and cost nothing where the image tells nothing."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from agvas_core import outlines
from agvas_core.outlines import outline

STRENGTH = 1.6


def disc(size_hw, center, radius):
    """A disc, bool (H, W)."""
    rows, columns = np.ogrid[: size_hw[0], : size_hw[1]]
    return (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2


def star(size_hw, center, radius):
    """A defect with spikes, which a coarse map rounds off, bool (H, W)."""
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]]
    down, right = rows - center[0], columns - center[1]
    return np.hypot(down, right) <= radius * (0.75 + 0.25 * np.cos(7 * np.arctan2(down, right)))


def photo_of(mask, *, inside=70, outside=130, noise=6, seed=0):
    """A photograph, uint8 (H, W, 3), of a surface with a defect of another gray."""
    gray = np.where(mask, inside, outside) + np.random.default_rng(seed).normal(0, noise, mask.shape)
    return np.repeat(gray.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def coarse_map(mask, low=0.1, high=0.9):
    """What a coarse decoder makes of a mask: p_seg and p_ano, (2, H, W)."""
    p = (low + (high - low) * gaussian_filter(mask.astype(np.float32), 6)).astype(np.float32)
    return np.stack((p, p))


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.fixture
def scene():
    mask = star((256, 320), (120, 170), 40)
    return mask, photo_of(mask), coarse_map(mask)


def test_a_coarse_map_gets_the_images_outline(scene):
    mask, rgb, maps = scene
    before, after = iou(maps.mean(0) > 0.5, mask), iou(outline(maps, rgb, STRENGTH).mean(0) > 0.5, mask)
    assert before < 0.85 and after > 0.97


@pytest.mark.parametrize("channel", [0, 1])
def test_one_map_alone_follows_too_and_neither_is_mixed_with_the_other(scene, channel):
    mask, rgb, maps = scene
    maps[1 - channel] = 0.2
    out = outline(maps, rgb, STRENGTH)
    assert iou(out[channel] > 0.5, mask) > 0.9
    assert out[1 - channel].max() < 0.2 + 1e-6


def test_no_strength_leaves_the_maps_as_they_are(scene):
    _, rgb, maps = scene
    assert outline(maps, rgb, 0.0) is maps


def test_the_maps_given_are_not_written_to(scene):
    _, rgb, maps = scene
    kept = maps.copy()
    outline(maps, rgb, STRENGTH)
    assert np.array_equal(maps, kept)


def test_an_image_of_one_gray_moves_nothing(scene):
    _, rgb, maps = scene
    np.testing.assert_allclose(outline(maps, np.full_like(rgb, 90), STRENGTH), maps, atol=1e-4)


def test_a_map_that_is_the_same_everywhere_moves_little(scene):
    """Without a border in the map there is no defect whose gray could differ from the surface's."""
    _, rgb, maps = scene
    np.testing.assert_allclose(outline(np.full_like(maps, 0.3), rgb, STRENGTH), 0.3, atol=0.01)


def test_nothing_becomes_surer_than_its_surroundings(scene):
    mask, rgb, maps = scene
    out = outline(maps, rgb, 5.0)
    assert out.max() <= maps.max() + 1e-6 and out.min() >= 0
    far = ~disc(mask.shape, (120, 170), 37 + 40)
    assert out[:, far].max() <= 0.1 + 1e-6
    assert (outline(maps / 2, rgb, 5.0) < 0.5).all()  # no mask comes from a map that has none


def test_dark_and_bright_defects_are_alike(scene):
    _, rgb, maps = scene
    np.testing.assert_allclose(outline(maps, 255 - rgb, STRENGTH), outline(maps, rgb, STRENGTH), atol=2e-3)


def test_a_turned_image_has_a_turned_outline():
    mask = disc((256, 256), (100, 140), 37)  # a multiple of the models' cells
    rgb, maps = photo_of(mask), coarse_map(mask)
    turned = outline(maps[:, ::-1, ::-1], rgb[::-1, ::-1], STRENGTH)
    np.testing.assert_allclose(turned[:, ::-1, ::-1], outline(maps, rgb, STRENGTH), atol=1e-4)


def test_the_models_are_gaussians_of_what_the_window_shows():
    """Against the sums written out, at one pixel."""
    rng = np.random.default_rng(3)
    gray, share = rng.random((61, 75), dtype=np.float32), rng.random((61, 75), dtype=np.float32)
    slope, offset = outlines._models(gray, share, cell=1)
    rows, columns = np.mgrid[:61, :75]
    weight = np.exp(-((rows - 30) ** 2 + (columns - 37) ** 2) / 2 / outlines.REACH**2)
    weight /= weight.sum()
    models = []
    for part in (share, 1 - share):
        total = (weight * part).sum()
        mean = (weight * part * gray).sum() / total
        models.append((mean, (weight * part * gray**2).sum() / total - mean**2))
    (inside, spread_in), (outside, spread_out) = models
    variance = spread_in + spread_out + outlines.LEAST_SPREAD**2
    for value in (0.2, 0.9):
        ratio = ((value - outside) ** 2 - (value - inside) ** 2) / 2 / variance
        assert slope[30, 37] * value + offset[30, 37] == pytest.approx(ratio, rel=0.03, abs=2e-3)


def test_where_hardly_anything_is_a_defect_its_model_counts_less():
    gray = np.zeros((64, 64), np.float32)
    gray[30:34, 30:34] = 1
    few, many = (outlines._models(gray, (share * gray).astype(np.float32), 1) for share in (0.2, 1.0))
    assert 0 < few[0][32, 32] < many[0][32, 32]


def test_a_large_image_is_outlined_as_the_same_one_is_when_small(monkeypatch):
    mask = disc((160, 240), (70, 110), 29)
    rgb, maps = photo_of(mask, noise=0), coarse_map(mask)
    small = outline(maps, rgb, STRENGTH)
    monkeypatch.setattr(outlines, "FINEST", 240)
    monkeypatch.setattr(outlines, "STRIP", 100)  # strips that end within a square
    large = outline(maps.repeat(3, 1).repeat(3, 2), rgb.repeat(3, 0).repeat(3, 1), STRENGTH)
    assert large.shape == (2, 480, 720)
    assert iou(large.mean(0) > 0.5, mask.repeat(3, 0).repeat(3, 1)) > 0.95
    assert np.abs(large[:, 1::3, 1::3] - small).mean() < 0.005


def test_strips_make_no_difference(scene, monkeypatch):
    _, rgb, maps = scene
    whole = outline(maps, rgb, STRENGTH)
    monkeypatch.setattr(outlines, "STRIP", 7)
    np.testing.assert_array_equal(outline(maps, rgb, STRENGTH), whole)


def test_what_a_look_shows_decides_how_far_the_models_reach(scene):
    mask, rgb, maps = scene
    close = outline(maps, rgb, STRENGTH, seen_px=64)
    assert iou(close.mean(0) > 0.5, mask) > 0.9
    assert not np.array_equal(close, outline(maps, rgb, STRENGTH))
    np.testing.assert_array_equal(outline(maps, rgb, STRENGTH, 9999), outline(maps, rgb, STRENGTH))


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 700), (700, 1), (2, 3), (129, 131), (1025, 40), (2051, 3)])
def test_odd_sizes(size_hw):
    rng = np.random.default_rng(1)
    maps = rng.random((2, *size_hw), dtype=np.float32)
    out = outline(maps, rng.integers(0, 255, (*size_hw, 3), dtype=np.uint8), STRENGTH)
    assert out.shape == maps.shape and out.dtype == np.float32
    assert np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1


def test_zeros_and_ones_stay():
    mask = disc((64, 64), (30, 30), 12)
    sure = np.stack((mask, mask)).astype(np.float32)
    np.testing.assert_array_equal(outline(sure, photo_of(mask), STRENGTH), sure)

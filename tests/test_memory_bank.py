"""The memory bank: what good examples show is usual, what they do not is rare; the map's odds are weighed with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agvas_core import memory_bank
from agvas_core.memory_bank import (
    MOST_PEAK,
    MOST_RARE,
    build_bank,
    fine_cells,
    peak_among,
    weigh,
)
from agvas_core.modeling.pixel_features import PixelFeatures
from agvas_core.processing import Letterbox

GREY, RED, BLUE = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
CELL_PX = 8


def surface(seed: int = 0, side: int = 16, color: torch.Tensor = GREY) -> torch.Tensor:
    """Return the cells of a surface of one colour with a little noise, (3, side, side)."""
    noise = torch.randn(3, side, side, generator=torch.Generator().manual_seed(seed))
    return color[:, None, None] + 0.05 * noise


def spotted(seed: int = 0, color: torch.Tensor = RED) -> torch.Tensor:
    """Return a grey surface whose lower right quarter has another colour."""
    cells = surface(seed)
    cells[:, 8:, 8:] = surface(seed + 100, 8, color)
    return cells


def seen(cells: torch.Tensor, size_hw: tuple[int, int] | None = None) -> tuple[PixelFeatures, Letterbox]:
    """Return what was seen of an image: its cells as the features at stride 8; size_hw: of the canvas by default."""
    canvas = CELL_PX * cells.shape[-1]
    features = PixelFeatures(torch.zeros(1, 5, 1, 1), (torch.zeros(1, 7, 2, 2), cells[None]))
    return features, Letterbox(size_hw or (canvas, canvas), canvas)


# --- rarity ----------------------------------------------------------------------------------------------------------


def test_what_is_in_the_bank_is_not_rare_and_what_is_foreign_is():
    bank, _ = build_bank([seen(surface(0)), seen(surface(1))])
    assert bank.rarity(*seen(surface(0))).max() < 0.1
    other = bank.rarity(*seen(surface(2)))
    assert other.shape == (128, 128) and other.dtype == np.float32
    assert 0.1 < np.median(other) < 1.5
    rarity = bank.rarity(*seen(spotted(3)))
    assert rarity[88:, 88:].min() > 3 * rarity[:56, :56].max()


def test_a_colour_of_one_of_several_good_examples_is_not_rare():
    bank, _ = build_bank([seen(surface(0)), seen(surface(1)), seen(spotted(2))])
    known, foreign = (bank.rarity(*seen(spotted(3, color))) for color in (RED, BLUE))
    assert known.max() < 3 < foreign[88:, 88:].min()


def test_how_rare_a_good_example_is_is_told_by_the_others():
    """A spot lies beside itself: its own cells are none of its like."""
    alone = surface(0)
    alone[:, 7:9, 7:9] = surface(9, 2, RED)
    spot = slice(60, 68), slice(60, 68)
    (rarity,) = build_bank([seen(alone)])[1]
    assert rarity[spot].min() > 3 * np.median(rarity)
    _, (among_others, _) = build_bank([seen(alone), seen(surface(1))])
    _, (beside_its_like, _) = build_bank([seen(alone), seen(spotted(1))])
    assert beside_its_like[spot].max() < 0.5 * among_others[spot].min()


def test_an_encoder_without_fine_features_has_its_embedding_compared():
    cells = surface(0)[None]
    fine = PixelFeatures(torch.zeros(1, 5, 1, 1), (cells,))
    torch.testing.assert_close(fine_cells(PixelFeatures(cells)), fine_cells(fine))
    torch.testing.assert_close(
        fine_cells(fine)[:, 0, 0], cells[0, :, :2, :2].mean((1, 2))
    )  # no zeros beside the canvas


@pytest.mark.parametrize(("size_hw", "rows", "columns"), [((128, 64), 16, 8), ((40, 128), 5, 16), ((1, 300), 1, 16)])
def test_cells_beside_the_image_are_not_looked_at(size_hw, rows, columns):
    """The canvas beside a long image repeats its last row: that is nothing that a part shows."""
    cells = surface(0, color=BLUE)
    cells[:, :rows, :columns] = surface(1)[:, :rows, :columns]
    bank, (rarity,) = build_bank([seen(cells, size_hw)])
    assert rarity.shape == size_hw and len(bank.cells) == rows * columns
    plain = fine_cells(seen(cells)[0])[:, :rows, :columns].flatten(1)
    torch.testing.assert_close(bank.mean, plain.mean(1))


def test_the_order_of_good_examples_does_not_matter():
    images = [seen(spotted(0)), seen(surface(1)), seen(surface(2), (64, 128))]
    (bank, rarities), (turned, again) = build_bank(images), build_bank(images[::-1])
    assert bank.usual == pytest.approx(turned.usual, rel=1e-4)
    torch.testing.assert_close(bank.spread, turned.spread)
    for one, other in zip(rarities, again[::-1], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-2, atol=2e-2)
    foreign = seen(spotted(5, BLUE))
    np.testing.assert_allclose(bank.rarity(*foreign), turned.rarity(*foreign), rtol=2e-2, atol=2e-2)


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_a_bank_holds_so_many_cells_of_all_its_examples(monkeypatch):
    monkeypatch.setattr(memory_bank, "MOST_CELLS", 100)
    images = [seen(surface(i, color=color)) for i, color in enumerate((GREY, RED, BLUE))]
    bank, _ = build_bank(images)
    assert 50 < len(bank.cells) <= 100
    for image in images:
        assert bank.rarity(*image).max() < 3
    small, _ = build_bank([seen(surface(0, 8))])
    assert len(small.cells) == 64  # fewer are all kept


def test_cells_are_compared_in_chunks_as_all_at_once(monkeypatch):
    images = [seen(spotted(0)), seen(surface(1))]
    bank, rarities = build_bank(images)
    at_once = bank.rarity(*seen(spotted(2)))
    monkeypatch.setattr(memory_bank, "CHUNK", 7)
    in_chunks, again = build_bank(images)
    assert in_chunks.usual == pytest.approx(bank.usual, rel=1e-3)
    np.testing.assert_allclose(in_chunks.rarity(*seen(spotted(2))), at_once, rtol=2e-2, atol=2e-2)
    for one, other in zip(rarities, again, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("side", [1, 2, 4])
def test_a_tiny_image_is_compared_too(side):
    """Of one cell the spread was once no number, and neither was any map weighed with it."""
    bank, (rarity,) = build_bank([seen(surface(0, side))])
    assert np.isfinite(rarity).all() and np.isfinite(bank.usual) and bool(torch.isfinite(bank.spread).all())
    foreign = bank.rarity(*seen(surface(1, side, RED)))
    assert np.isfinite(foreign).all() and foreign.min() > 1
    assert bank.rarity(*seen(surface(0, side))).max() < 1.1
    beside_large, _ = build_bank([seen(surface(0, side)), seen(surface(1))])
    assert np.isfinite(beside_large.rarity(*seen(spotted(2)))).all()


def test_where_all_good_cells_are_equal_numbers_stay_finite():
    flat = GREY[:, None, None].expand(3, 16, 16).clone()
    bank, (rarity,) = build_bank([seen(flat)])
    assert bank.usual == 1e-6 and rarity.max() < 1  # its floor
    foreign = bank.rarity(*seen(flat.flip(0)))
    assert np.isfinite(foreign).all() and foreign.min() > MOST_RARE
    weighed = weigh(np.full((2, 128, 128), 0.5, np.float32), foreign)
    assert np.isfinite(weighed).all() and weighed.max() < 0.75


# --- weighing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "rarity", "expected"),
    [
        (0.5, 4.0, 2 / 3), (0.5, 1.0, 0.5), (0.5, 0.25, 1 / 3), (0.2, 4.0, 1 / 3), (0.8, 0.25, 2 / 3), (0.9, 1.0, 0.9),
        (0.0, 4.0, 0.0), (1.0, 4.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 1.0), (1.0, 1e30, 1.0),
    ],
)  # fmt: skip
def test_the_odds_are_multiplied_by_the_root_of_the_rarity(p, rarity, expected):
    weighed = weigh(np.full((2, 3, 4), p, np.float32), np.full((3, 4), rarity, np.float32))
    assert weighed.shape == (2, 3, 4) and weighed.dtype == np.float32
    np.testing.assert_allclose(weighed, expected, rtol=1e-6)


def test_the_rarest_and_the_most_usual_count_for_so_much_only():
    half = np.full((1, 1, 4), 0.5, np.float32)
    weighed = weigh(half, np.array([[0.0, 1 / MOST_RARE, MOST_RARE, 1e9]], np.float32))[0, 0]
    odds = weighed / (1 - weighed)
    np.testing.assert_allclose(odds, [MOST_RARE**-0.5, MOST_RARE**-0.5, MOST_RARE**0.5, MOST_RARE**0.5], rtol=1e-5)


def test_weighed_maps_stay_within_0_and_1_and_keep_their_order():
    rng = np.random.default_rng(0)
    maps = np.sort(rng.random((2, 50), np.float32))[:, None]
    maps[:, :, 0], maps[:, :, -1] = 0, 1
    for rarity in (0.01, 1.0, 50.0):
        weighed = weigh(maps, np.full((1, 50), rarity, np.float32))
        assert weighed.min() == 0 and weighed.max() == 1 and (np.diff(weighed) >= 0).all()


# --- peak ------------------------------------------------------------------------------------------------------------


def reaching(*peaks: float) -> list[np.ndarray]:
    """Return maps (2, 4, 4) that reach so much somewhere."""
    maps = [np.full((2, 4, 4), 0.1, np.float32) for _ in peaks]
    for own, peak in zip(maps, peaks, strict=True):
        own[:, 1, 2] = peak
    return maps


USUAL = np.ones((4, 4), np.float32)


def test_one_odd_good_example_of_eight_does_not_raise_the_peak():
    odd = [0.4] * 3 + [0.95] + [0.4] * 4
    assert peak_among(reaching(*odd), [USUAL] * 8) == pytest.approx(0.4, abs=1e-6)
    assert peak_among(reaching(*odd[1:6]), [USUAL] * 5) < 0.7  # of five it does not raise it to its own
    assert peak_among(reaching(*[0.4] * 4, *[0.95] * 4), [USUAL] * 8) == MOST_PEAK  # what half of them show is usual


def test_the_peak_is_of_the_weighed_maps_mean():
    (alone,) = reaching(0.5)
    assert peak_among([alone], [USUAL * 4]) == pytest.approx(2 / 3, abs=1e-6)
    assert peak_among([alone], [USUAL / 4]) == pytest.approx(1 / 3, abs=1e-6)
    alone[0, 1, 2] = 0.3  # of the two maps
    assert peak_among([alone], [USUAL]) == pytest.approx(0.4, abs=1e-6)
    assert peak_among(reaching(1.0), [USUAL]) == MOST_PEAK

"""Equations 5 to 9 against values worked out by hand, in both variants."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agvas_core.saa.confidence import anomaly_map, to_probability, top_k
from agvas_core.saa.saliency import mean_saliency, saliency_factor, saliency_map, saliency_on_grid

# four cells: two along x (of different lengths: only directions count), one along y, one at 45 degrees
CELLS = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 3.0], [1.0, 1.0]]).T.reshape(2, 2, 2)
R = 1 / math.sqrt(2)
# 1 - cosine: x-x 0, x-y 1, x-d and y-d 1 - R


def test_eq_5_averages_the_nearest_other_cells():
    near1 = saliency_map(CELLS, 1).flatten().tolist()
    assert near1 == pytest.approx([0, 0, 1 - R, 1 - R], abs=1e-6)
    near2 = saliency_map(CELLS, 2).flatten().tolist()
    assert near2 == pytest.approx([(1 - R) / 2, (1 - R) / 2, (1 - R + 1) / 2, 1 - R], abs=1e-6)


def test_eq_5_as_in_the_public_code_takes_the_farthest_halved():
    far1 = saliency_map(CELLS, 1, "code").flatten().tolist()
    assert far1 == pytest.approx([0.5, 0.5, 0.5, (1 - R) / 2], abs=1e-6)
    far2 = saliency_map(CELLS, 2, "code").flatten().tolist()
    assert far2 == pytest.approx([(1 + 1 - R) / 4, (1 + 1 - R) / 4, 0.5, (1 - R) / 2], abs=1e-6)


def test_more_neighbours_than_cells_means_all_others():
    expected = [(0 + 1 + 1 - R) / 3, (0 + 1 + 1 - R) / 3, (1 + 1 + 1 - R) / 3, 1 - R]
    assert saliency_map(CELLS, 400).flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_a_single_cell_and_a_zero_feature_are_no_trouble():
    assert saliency_map(torch.ones(3, 1, 1), 400).tolist() == [[0.0]]
    assert torch.isfinite(saliency_map(torch.zeros(3, 4, 4), 5)).all()


def test_rows_worked_on_in_pieces_give_the_same(monkeypatch):
    features = torch.randn(6, 7, 9, generator=torch.Generator().manual_seed(0))
    for variant in ("paper", "code"):
        whole = saliency_map(features, 10, variant)
        with monkeypatch.context() as patch:
            patch.setattr("agvas_core.saa.saliency._ROWS_AT_ONCE", 5)
            torch.testing.assert_close(saliency_map(features, 10, variant), whole)


def test_the_odd_cell_is_the_most_salient():
    features = torch.ones(4, 8, 8) + 0.05 * torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(1))
    features[:, 2, 5] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    for variant in ("paper", "code"):
        assert int(saliency_map(features, 20, variant).argmax()) == 2 * 8 + 5


def test_eq_6_and_7_weigh_by_exp_of_the_mean_inside():
    s = np.array([[0.0, 0.2], [0.4, 0.9]], np.float32)
    mask = np.array([[False, True], [True, False]])
    assert mean_saliency(s, mask) == pytest.approx(0.3)
    assert mean_saliency(s, np.array([[False, False], [False, True]])) == pytest.approx(0.9)  # a one-pixel mask
    assert saliency_factor(0.3) == pytest.approx(math.exp(0.3))
    assert saliency_factor(0.3, "code") == pytest.approx(math.exp(0.9))


def test_saliency_is_grown_bilinearly():
    grown = saliency_on_grid(torch.tensor([[0.0, 1.0]]), (1, 4))
    assert grown.tolist() == [pytest.approx([0.0, 0.25, 0.75, 1.0])]


def test_eq_8_takes_the_best_in_order():
    assert top_k([0.2, 0.9, 0.5, 0.9], 3) == [1, 3, 2]
    assert top_k([0.2, 0.9], 5) == [1, 0]
    assert top_k([0.2, 0.9], None) == [1, 0]
    assert top_k([], 5) == []


MASKS = (np.array([[True, True, False]]), np.array([[False, True, False]]))


def test_eq_9_is_the_mean_score_of_the_masks_over_a_pixel():
    assert anomaly_map(MASKS, (0.8, 0.4), (1, 3)).tolist() == [pytest.approx([0.8, 0.6, 0.0])]


def test_eq_9_as_in_the_public_code_divides_by_one_more():
    assert anomaly_map(MASKS, (0.8, 0.4), (1, 3), "code").tolist() == [pytest.approx([0.4, 0.4, 0.0])]


def test_no_candidate_is_an_empty_map():
    for variant in ("paper", "code"):
        assert not anomaly_map((), (), (2, 3), variant).any()


def test_probabilities_keep_the_order_and_have_their_half_where_it_belongs():
    p = to_probability(np.array([0.0, 0.35, 0.7, 1.4, 1e9], np.float32), 0.7)
    assert p.tolist() == pytest.approx([0, 1 / 3, 0.5, 2 / 3, 1.0])
    assert p.max() <= 1

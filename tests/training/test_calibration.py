"""Calibration: the best threshold is found, becomes 0.5, and changes no order."""

from __future__ import annotations

import math

import pytest
import torch

from agvas_core.config import get_preset
from agvas_core.modeling.agvas import build_agvas
from agvas_core.modeling.pixel_encoder import PixelFeatures
from agvas_core.predictor import AnomalyPredictor
from agvas_core.synthesis.facts import SyntheticBatch
from agvas_core.training.calibration import (
    LARGEST_SHIFT,
    LEFT_EMPTY,
    best_threshold,
    clear_peak,
    scored,
    served_maps,
    shift_logits,
    shifted,
)


def timid(images):
    """Sees everything right, but never above 0.35 and never below 0.1."""
    return 0.1 + 0.25 * (images[:, 0] > 128).float()


def test_the_best_threshold_separates():
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    images[:, :, 4:8, 4:8] = 255
    batch = SyntheticBatch(images, (images[:, 0] > 0).to(torch.uint8), [])
    assert 0.1 < best_threshold(scored(timid, [batch])) < 0.35


def test_every_image_counts_alike_however_large_its_defect_is():
    images = torch.zeros(5, 3, 32, 32, dtype=torch.uint8)
    images[0] = 120  # one that is all defect is found at 0.3 only
    images[1:4, :, 4:7, 4:7] = 255  # small ones at 0.8
    images[1:, :, 20:26, 20:26] = 150  # what is none reaches 0.5, on a normal image, too
    labels = ((images[:, 0] == 120) | (images[:, 0] == 255)).to(torch.uint8)
    heights = {0: 0.1, 120: 0.3, 150: 0.5, 255: 0.8}

    def maps(shown):
        return torch.stack([torch.full(shown[:, 0].shape, h) * (shown[:, 0] == v) for v, h in heights.items()]).sum(0)

    threshold = best_threshold(scored(maps, [SyntheticBatch(images, labels, [])]))
    assert 0.5 < threshold < 0.8
    assert threshold == pytest.approx(0.65, abs=0.02)  # the middle of what is as good


def test_most_normal_images_stay_empty():
    normal = [(torch.full((4, 4), value / 100), torch.zeros(4, 4, dtype=torch.bool)) for value in range(1, 100)]
    defective = [(torch.ones(4, 4), torch.ones(4, 4, dtype=torch.bool))] * 50
    peak = clear_peak(normal + defective, 0.5)
    assert sum(float(anomaly_map.max()) < peak for anomaly_map, _ in normal) == round(LEFT_EMPTY * len(normal))
    assert clear_peak(normal, 0.95) == 0.95 and clear_peak(defective, 0.4) == 0.4


def test_a_probability_moves_with_its_logit():
    assert shifted(0.5, 0.0) == 0.5 and shifted(0.7, -math.log(0.7 / 0.3)) == pytest.approx(0.5)


def test_what_is_judged_is_what_is_served(make_model, tokenizer, picture):
    predictor = AnomalyPredictor(make_model(), tokenizer)
    photo = picture(3)
    images = torch.from_numpy(photo.rgb.copy()).permute(2, 0, 1)[None]
    (served,) = served_maps(predictor)(images)
    torch.testing.assert_close(served, torch.tensor(predictor.glance(photo).anomaly_map))


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7])
def test_what_was_the_threshold_becomes_one_half(token_ids, threshold):
    torch.manual_seed(0)
    agmd = build_agvas(get_preset("tiny-test"), token_ids).agmd.eval()
    width = agmd.config.width
    features = PixelFeatures(torch.randn(1, width, 4, 4), (torch.randn(1, 16, 16, 16), torch.randn(1, 16, 8, 8)))
    anchors = torch.randn(1, 3, width)
    before = [p.detach() for p in agmd(anchors, features).probabilities()]
    shift_logits(agmd, threshold)
    after = [p.detach() for p in agmd(anchors, features).probabilities()]
    for old, new in ((before[0], after[0]), (before[2], after[2])):
        clear = (old - threshold).abs() > 1e-4
        assert torch.equal((old > threshold)[clear], (new > 0.5)[clear])
        assert float(new.flatten()[old.flatten().argsort()].diff().min()) > -1e-5  # the order stays
    torch.testing.assert_close(after[1] + after[2], torch.ones_like(after[1]))


def test_a_shift_has_a_bound_and_a_sense(token_ids):
    agmd = build_agvas(get_preset("tiny-test"), token_ids).agmd
    assert shift_logits(agmd, 0.001) == LARGEST_SHIFT
    with pytest.raises(ValueError, match="inside"):
        shift_logits(agmd, 1.0)

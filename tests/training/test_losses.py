import math
from dataclasses import replace

import pytest
import torch

from agvas_core.modeling.agmd import MaskLogits
from agvas_core.training.losses import SegLossWeights, check_finite, dice_loss, seg_losses

BCE_ONLY = SegLossWeights(bce=1.0, dice=0.0, hard_bce=0.0)


def square(rows=4):
    mask = torch.zeros(1, rows, rows, dtype=torch.bool)
    mask[:, : rows // 2] = True
    return mask


def logits_of(values, relative=False):
    return MaskLogits(values, -values / 2 if relative else None, values / 2 if relative else None)


def test_dice_by_hand():
    target = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert dice_loss(target, target).item() == pytest.approx(0.0)
    assert dice_loss(torch.full((1, 2, 2), 0.5), target).item() == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))
    assert dice_loss(1 - target, target).item() == pytest.approx(1 - 1 / 5)
    assert dice_loss(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)).item() == pytest.approx(0.0)


def test_bce_by_hand():
    mask = square()
    losses = seg_losses(logits_of(torch.zeros(1, 4, 4)), mask, BCE_ONLY)
    assert losses["bce"].item() == pytest.approx(math.log(2))
    sure = seg_losses(logits_of(torch.where(mask, 3.0, -3.0)), mask, BCE_ONLY)["bce"].item()
    assert sure == pytest.approx(math.log(1 + math.exp(-3)))


def test_each_branch_has_its_target():
    mask = square()
    good = torch.where(mask, 8.0, -8.0)
    right = seg_losses(MaskLogits(good, -good, good), mask, SegLossWeights())
    assert sum(right.values()).item() < 0.02
    swapped = seg_losses(MaskLogits(good, good, -good), mask, SegLossWeights())  # NOR shows the anomaly
    assert sum(swapped.values()).item() > 5
    three = seg_losses(logits_of(torch.zeros(1, 4, 4), relative=True), mask, BCE_ONLY)["bce"]
    assert three.item() == pytest.approx(3 * math.log(2))  # SEG, ANO, NOR


def test_weights_are_the_papers():
    assert (SegLossWeights().bce, SegLossWeights().dice) == (0.5, 2.0)
    weighted = seg_losses(logits_of(torch.zeros(1, 4, 4)), square(), SegLossWeights(hard_bce=0.0))
    assert weighted["bce"].item() == pytest.approx(0.5 * math.log(2))
    assert weighted["dice"].item() == pytest.approx(2 * (1 - (2 * 4 + 1) / (8 + 8 + 1)))


def test_focal_by_hand():
    """Lin et al. 2017, Eq. 4: (1 - p_t) ** gamma times the BCE."""
    logits = torch.tensor([[[0.0, 2.0], [-1.0, 3.0]]])
    mask = torch.tensor([[[True, True], [False, False]]])
    p_t = [1 / (1 + math.exp(-x)) for x in (0.0, 2.0, 1.0, -3.0)]
    by_hand = sum((1 - p) ** 2 * -math.log(p) for p in p_t) / 4
    weights = SegLossWeights(bce=1.0, dice=0.0, hard_bce=0.0, focal=2.0)
    assert seg_losses(logits_of(logits), mask, weights)["bce"].item() == pytest.approx(by_hand, rel=1e-5)


def test_dice_on_empty_masks_by_hand():
    masks = torch.cat([square(), torch.zeros(1, 4, 4, dtype=torch.bool)])
    weights = SegLossWeights(bce=0.0, dice=1.0, hard_bce=0.0)
    half = 1 - (2 * 4 + 1) / (8 + 8 + 1)
    logits = logits_of(torch.zeros(2, 4, 4))
    assert seg_losses(logits, masks, weights)["dice"].item() == pytest.approx(half / 2)
    both = seg_losses(logits, masks, replace(weights, dice_on_empty=True))["dice"].item()
    assert both == pytest.approx((half + 1 - 1 / (8 + 1)) / 2)


def test_empty_masks_teach_by_bce_alone():
    empty = torch.zeros(2, 4, 4, dtype=torch.bool)
    losses = seg_losses(logits_of(torch.zeros(2, 4, 4), relative=True), empty, SegLossWeights())
    assert losses["dice"].item() == 0
    assert losses["bce"].item() > 0
    half = torch.cat([empty[:1], square()])
    mixed = seg_losses(logits_of(torch.zeros(2, 4, 4)), half, SegLossWeights())["dice"]
    alone = seg_losses(logits_of(torch.zeros(1, 4, 4)), square(), SegLossWeights())["dice"]
    assert mixed.item() == pytest.approx(alone.item() / 2)  # every mask of the batch counts alike


def test_the_hardest_pixels_are_not_lost_in_the_mean():
    values = torch.full((1, 10, 10), -9.0)
    values[0, 4, 4] = 9.0  # one false alarm
    losses = seg_losses(logits_of(values), torch.zeros(1, 10, 10, dtype=torch.bool), SegLossWeights(hard_share=0.01))
    assert losses["bce"].item() == pytest.approx(0.5 * 9 / 100, rel=0.02)
    assert losses["hard_bce"].item() == pytest.approx(0.25 * 9, rel=0.01)


def test_targets_are_brought_to_the_logits_size_softly():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[:, 0, 0] = True  # a quarter of one cell of 2 x 2
    low = seg_losses(logits_of(torch.full((1, 4, 4), -30.0)), mask, BCE_ONLY)["bce"].item()
    assert low == pytest.approx(30 * 0.25 / 16)


def test_an_ablated_branch_costs_nothing():
    relative = MaskLogits(None, torch.zeros(1, 4, 4), torch.zeros(1, 4, 4))
    assert seg_losses(relative, square(), BCE_ONLY)["bce"].item() == pytest.approx(2 * math.log(2))


def test_what_is_not_finite_is_named():
    fine = torch.tensor(1.0)
    check_finite({"bce": fine}, 1)
    with pytest.raises(FloatingPointError, match="step 12: dice, text is not finite"):
        check_finite({"bce": fine, "dice": fine / 0, "text": fine * math.nan}, 12)

"""Losses by name: L_seg = sum over SEG, NOR, ANO of l_bce BCE + l_dice Dice (paper Eq. 9-11), and the text's CE."""

# A masks, H x W size of the logits

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, binary_cross_entropy_with_logits, cross_entropy

from agvas_core.modeling.agmd import MaskLogits

FACT_WEIGHT = 4.0


@dataclass(frozen=True)
class SegLossWeights:
    """Weights of the segmentation loss; bce and dice are the paper's.

    Paper differs: SEG learns from anomalies alone, as NOR and ANO do: no other segmentation set is trained on.

    Attributes:
        bce: lambda_bce.
        dice: lambda_dice.
        hard_bce: Paper differs: weight of the BCE over the hardest pixels, so that a small false alarm on a normal
            image is not lost in the mean of all its pixels.
        hard_share: share of an image's pixels that count as the hardest.
        focal: gamma of the focal loss (Lin et al. 2017) in the BCE's place; 0 is the BCE itself.
        dice_on_empty: whether normal images count in the Dice loss, too.
        side: Paper differs: weight of deep supervision, side heads at every stride of the pixel encoder; 0 for none.
    """

    bce: float = 0.5
    dice: float = 2.0
    hard_bce: float = 0.25
    hard_share: float = 0.02
    focal: float = 0.0
    dice_on_empty: bool = False
    side: float = 0.3


def dice_loss(prob: Tensor, target: Tensor, *, eps: float = 1.0) -> Tensor:
    """Return 1 - Dice per mask (A,) of prob and target (A, H, W)."""
    overlap = (prob * target).sum((1, 2))
    return 1 - (2 * overlap + eps) / (prob.sum((1, 2)) + target.sum((1, 2)) + eps)


def seg_losses(logits: MaskLogits, gt_mask: Tensor, weights: SegLossWeights) -> dict[str, Tensor]:
    """Return the weighted losses "bce", "dice", "hard_bce" of the branches, from gt_mask (A, H0, W0) bool.

    Paper differs: Dice counts on non-empty targets only, unless weights.dice_on_empty; on empty ones it teaches to
    predict nothing anywhere.
    """
    branches: list[tuple[Tensor, bool]] = []
    if logits.seg is not None:
        branches.append((logits.seg.float(), False))
    if logits.nor is not None and logits.ano is not None:
        contrast = logits.ano.float() - logits.nor.float()
        branches += [(contrast, False), (-contrast, True)]  # a two-way softmax is a sigmoid of a difference
    size = (branches[0][0].shape[-2], branches[0][0].shape[-1])
    anomalous = adaptive_avg_pool2d(gt_mask.float()[:, None], size)[:, 0]  # (A, H, W), soft at borders
    counted = torch.ones_like(gt_mask[:, 0, 0]) if weights.dice_on_empty else gt_mask.flatten(1).any(1)
    total: dict[str, Tensor] = {name: anomalous.new_zeros(()) for name in ("bce", "dice", "hard_bce")}
    for branch, complement in branches:
        target = 1 - anomalous if complement else anomalous
        bce = binary_cross_entropy_with_logits(branch, target, reduction="none")
        hardest = bce.flatten(1).topk(max(1, int(weights.hard_share * bce[0].numel())), dim=1).values
        modulated = missed(branch, target) ** weights.focal * bce if weights.focal else bce
        total["bce"] = total["bce"] + weights.bce * modulated.mean()
        total["hard_bce"] = total["hard_bce"] + weights.hard_bce * hardest.mean()
        if bool(counted.any()):
            dice = dice_loss(branch.sigmoid()[counted], target[counted]).mean()
            total["dice"] = total["dice"] + weights.dice * dice * (counted.float().mean())
    return total


def missed(logits: Tensor, target: Tensor) -> Tensor:
    """Return the probability that a pixel is not given to its own class, of logits and target (A, H, W)."""
    prob = logits.sigmoid()
    return target * (1 - prob) + (1 - target) * prob


def words_loss(logits: Tensor, targets: Tensor, fact_ids: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of logits (N, V) at targets (N,).

    Paper differs: tokens in fact_ids (F,) count FACT_WEIGHT times: where, how many and what is said of a mask is right
    or wrong, while most other words have a choice, whose noise would drown them.
    """
    if fact_ids is None:
        return cross_entropy(logits.float(), targets)
    weight = torch.where(torch.isin(targets, fact_ids), FACT_WEIGHT, 1.0)
    return (weight * cross_entropy(logits.float(), targets, reduction="none")).sum() / weight.sum()


def check_finite(losses: dict[str, Tensor], step: int) -> None:
    """Raise FloatingPointError naming the losses that are not finite."""
    bad = [name for name, value in losses.items() if not bool(torch.isfinite(value))]
    if bad:
        raise FloatingPointError(f"Training stopped at step {step}: {', '.join(bad)} is not finite.")

"""The paper's ablations of the expert: each variant learns from the same images, whose features are computed once."""

# I images, N = G x G positions, D widths; features are kept in fp16

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from agvas_core.evaluation.metrics import PixelCurve, image_auroc
from agvas_core.modeling.agvas import AGVAS
from agvas_core.modeling.anomaly_ov import AnomalyExpert, ExpertConfig, ExpertFeatures
from agvas_core.modeling.expert_eyes import expert_features
from agvas_core.training.expert import balanced_bce, saliency_loss

VARIANTS: dict[str, dict[str, bool]] = {
    "whole": {},
    "w/o look-back": {"use_look_back": False},
    "w/o embeddings": {"use_embeddings": False},
}
_CHUNK = 16  # images whose features are computed or judged at a time
WARM_UP = 0.1  # share of the steps in which the rate rises


@dataclass(frozen=True, eq=False)
class SeenImages:
    """What a model's eyes saw of I images.

    Attributes:
        final: (I, N, D), fp16.
        levels: each (I, N_l, D_l), fp16.
        cells: bool (I, G, G), where a cell of the saliency holds a defect's pixel.
        labels: bool (I,), whether there is one.
    """

    final: Tensor
    levels: tuple[Tensor, ...]
    cells: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.final)

    def features(self, index: Sequence[int]) -> ExpertFeatures:
        """Return the expert's input of some of the images, in fp32."""
        chosen = list(index)
        return ExpertFeatures(self.final[chosen].float(), tuple(level[chosen].float() for level in self.levels))


@torch.inference_mode()
def see(
    model: AGVAS,
    config: ExpertConfig,
    batches: Iterable[tuple[Tensor, Tensor]],
    progress: Callable[[int], None] | None = None,
) -> SeenImages:
    """Return the features of batches of images, uint8 (B, 3, H, W), with gt_mask, bool (B, H, W).

    Raises:
        ValueError: when a feature is too large for fp16.
    """
    finals, levels, cells, labels = [], [], [], []
    for images, gt_mask in batches:
        for at in range(0, len(images), _CHUNK):
            seen = expert_features(model, config, images[at : at + _CHUNK].float() / 255)
            mask = gt_mask[at : at + _CHUNK].float()[:, None]  # (b, 1, H, W)
            finals.append(seen.final.half())
            levels.append([level.half() for level in seen.levels])
            cells.append(adaptive_max_pool2d(mask, config.grid)[:, 0] > 0)
            labels.append(mask.flatten(1).any(1))
            if progress is not None:
                progress(len(mask))
    joined = tuple(torch.cat(parts) for parts in zip(*levels, strict=True))
    seen_all = SeenImages(torch.cat(finals), joined, torch.cat(cells), torch.cat(labels))
    if not all(bool(t.isfinite().all()) for t in (seen_all.final, *joined)):
        raise ValueError("A feature of these eyes is too large for fp16.")
    return seen_all


def learn(
    config: ExpertConfig,
    seen: SeenImages,
    *,
    steps: int,
    batch: int,
    lr: float,
    seed: int = 0,
    saliency_weight: float = 1.0,
    progress: Callable[[int], None] | None = None,
) -> AnomalyExpert:
    """Return a new expert after so many steps; the order of the images depends on the seed alone."""
    torch.manual_seed(seed)
    expert = AnomalyExpert(config)
    optimiser = torch.optim.AdamW(expert.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps + 1, pct_start=WARM_UP)
    draw, order = random.Random(seed), list[int]()
    for _ in range(steps):
        if len(order) < batch:
            order += draw.sample(range(len(seen)), len(seen))
        index, order = order[:batch], order[batch:]
        output = expert(seen.features(index), [1] * len(index))
        loss = balanced_bce(output.logits, seen.labels[index].float())
        loss = loss + saliency_weight * saliency_loss(output.saliency, seen.cells[index])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(expert.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(1)
    return expert.eval()


@torch.inference_mode()
def judge(expert: AnomalyExpert, seen: SeenImages) -> dict[str, float]:
    """Return image AUROC of the score and of the saliency's highest cell, and AP of the cells, 0 to 100."""
    curve, scores, highest = PixelCurve(), list[float](), list[float]()
    for at in range(0, len(seen), _CHUNK):
        index = range(at, min(at + _CHUNK, len(seen)))
        output = expert(seen.features(index), [1] * len(index))
        curve.update(output.saliency.numpy(), seen.cells[list(index)].numpy())
        scores += output.logits.tolist()
        highest += output.saliency.amax((1, 2)).tolist()
    labels = seen.labels.tolist()
    shares = {
        "AUROC": image_auroc(scores, labels),
        "AUROC_of_highest": image_auroc(highest, labels),
        "AP_cells": curve.ap,
    }
    return {name: round(100 * value, 2) for name, value in shares.items()}


def variant(config: ExpertConfig, name: str) -> ExpertConfig:
    """Return a config with what a variant leaves out; ValueError that lists the variants."""
    if name not in VARIANTS:
        raise ValueError(f"There is no variant {name!r}; choose among {', '.join(VARIANTS)}.")
    return ExpertConfig.from_dict(config.to_dict() | VARIANTS[name])


def ablation_table(results: Mapping[str, Mapping[str, float]], steps: int, images: int) -> str:
    """Return the variants' numbers as markdown."""
    lines = [
        f"{steps} steps on {images} images each; per cent on held-out synthesis.",
        "",
        "| variant | image AUROC | of the saliency's highest cell | saliency's cells AP |",
        "|---|---:|---:|---:|",
    ]
    for name, r in results.items():
        lines.append(f"| {name} | {r['AUROC']:.1f} | {r['AUROC_of_highest']:.1f} | {r['AP_cells']:.1f} |")
    return "\n".join(lines)

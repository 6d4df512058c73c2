"""Anomaly-OV's first stage on the bundled model: its eyes stay as they are, the expert learns scores and saliency."""

# B images, G x G cells of the saliency

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d, binary_cross_entropy_with_logits

from agvas_core.checkpoint import load_checkpoint
from agvas_core.checkpoint_expert import save_expert
from agvas_core.evaluation.held_out import held_out_batches
from agvas_core.evaluation.metrics import PixelCurve, image_auroc
from agvas_core.modeling.agvas import AGVAS
from agvas_core.modeling.anomaly_ov import AnomalyExpert, ExpertConfig
from agvas_core.modeling.expert_eyes import bundled_expert_config, expert_features, fingerprint
from agvas_core.synthesis.facts import SyntheticBatch
from agvas_core.training.losses import dice_loss
from agvas_core.training.run import BatchMaker
from agvas_core.training.sources import ImageSource, SourceOptions
from agvas_core.training.trainer import Trainer, TrainOptions

EXPERT = "expert"
_FLOOR = 1e-6  # of probabilities under a logarithm


@dataclass(frozen=True)
class ExpertRunOptions:
    """What `agvas train-expert` was asked for.

    Attributes:
        model: checkpoint folder of the bundled model whose eyes the expert reads.
        run_dir: where the state and the log go.
        batch: images of a step at 256 px.
        seed: of the images and the weights.
        source: what the images are made of.
        train: length, rate and precision.
        use_pixel: the pixel eye's features are matched, too.
        use_look_back, use_embeddings: the paper's ablations.
        saliency_weight: of the saliency's loss beside the score's.
    """

    model: Path
    run_dir: Path
    batch: int
    seed: int
    source: SourceOptions
    train: TrainOptions
    use_pixel: bool = True
    use_look_back: bool = True
    use_embeddings: bool = True
    saliency_weight: float = 1.0


@dataclass(frozen=True, eq=False)
class ExpertBatch:
    """One step: images, uint8 (B, 3, H, W), and gt_mask, bool (B, H, W)."""

    images: Tensor
    gt_mask: Tensor


def make_expert_batch(batch: SyntheticBatch, draw: random.Random) -> ExpertBatch:
    """Keep of a synthetic batch what the expert learns from."""
    return ExpertBatch(batch.images, batch.gt_mask)


def balanced_bce(logits: Tensor, target: Tensor) -> Tensor:
    """Return the BCE of logits and target (B,) in which both classes weigh alike, however many each has."""
    loss = binary_cross_entropy_with_logits(logits, target, reduction="none")
    means = [loss[target == value].mean() for value in (0, 1) if bool((target == value).any())]
    return torch.stack(means).mean()


def saliency_loss(saliency: Tensor, gt_mask: Tensor) -> Tensor:
    """Return BCE + Dice of saliency (B, G, G) against gt_mask (B, H, W), of which a cell has the highest value.

    Paper leaves open: which loss; Dice counts on images with a defect only, as in losses.seg_losses.
    """
    target = adaptive_max_pool2d(gt_mask.float()[:, None], saliency.shape[-2:])[:, 0]  # (B, G, G)
    hit, miss = saliency.clamp_min(_FLOOR).log(), (1 - saliency).clamp_min(_FLOOR).log()
    loss = -(target * hit + (1 - target) * miss).mean()
    present = gt_mask.flatten(1).any(1)
    if bool(present.any()):
        loss = loss + dice_loss(saliency[present], target[present]).mean() * present.float().mean()
    return loss


class ExpertTask(nn.Module):
    """Losses of the expert; the model whose eyes it reads is not part of the state."""

    def __init__(self, expert: AnomalyExpert, model: AGVAS, saliency_weight: float = 1.0) -> None:
        super().__init__()
        self.expert, self.saliency_weight = expert, saliency_weight
        self._model = (model.eval().requires_grad_(False),)  # in a tuple: neither trained nor saved

    @property
    def model(self) -> AGVAS:
        """The model whose eyes are read."""
        return self._model[0]

    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return score logits (B,) and saliency (B, G, G) of uint8 images (B, 3, H, W)."""
        model = self.model.to(images.device)
        pixel_values = (images.float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            features = expert_features(model, self.expert.config, pixel_values)
        with torch.autocast(images.device.type, enabled=False):  # cosines times 100 need more than eight bits
            output = self.expert(features, [1] * len(images))
        return output.logits, output.saliency

    def forward(self, batch: ExpertBatch) -> dict[str, Tensor]:
        """Return the named losses of a batch."""
        logits, saliency = self.look(batch.images)
        label = batch.gt_mask.flatten(1).any(1).float()
        return {
            "score": balanced_bce(logits, label),
            "saliency": self.saliency_weight * saliency_loss(saliency, batch.gt_mask),
        }


def expert_evaluation(count: int) -> Callable[[nn.Module], dict[str, float]]:
    """Return a function that scores an ExpertTask on held-out synthesis: image AUROC, AP of the cells."""
    batches = list(held_out_batches(count))

    @torch.inference_mode()
    def evaluate(task: nn.Module) -> dict[str, float]:
        assert isinstance(task, ExpertTask)
        curve, scores, highest, labels = PixelCurve(), [], [], []
        for batch in batches:
            logits, saliency = task.look(batch.images.to(next(task.parameters()).device))
            cells = adaptive_max_pool2d(batch.gt_mask.float()[:, None], saliency.shape[-2:])[:, 0] > 0
            curve.update(saliency.cpu().numpy(), cells.numpy())
            scores += logits.tolist()
            highest += saliency.amax((1, 2)).tolist()
            labels += batch.gt_mask.flatten(1).any(1).tolist()
        shares = {
            "AUROC": image_auroc(scores, labels),
            "AUROC_of_highest": image_auroc(highest, labels),
            "AP_cells": curve.ap,
        }
        return {name: round(100 * value, 2) for name, value in shares.items()}

    return evaluate


def expert_task(options: ExpertRunOptions) -> ExpertTask:
    """Make the task: a new expert for the model's eyes."""
    model = load_checkpoint(options.model)[0]
    torch.manual_seed(options.seed)
    sizes = bundled_expert_config(model.config, use_pixel=options.use_pixel).to_dict()
    ablation = {"use_look_back": options.use_look_back, "use_embeddings": options.use_embeddings}
    expert = AnomalyExpert(ExpertConfig.from_dict(sizes | ablation))
    return ExpertTask(expert, model.to(memory_format=torch.channels_last), options.saliency_weight)  # type: ignore[call-overload]


def train_expert(options: ExpertRunOptions, out: Path, *, eval_images: int = 256, card: str = "") -> Trainer:
    """Run (or resume) the stage, and write the expert to out when all its steps are done."""
    task = expert_task(options)
    # a run of other eyes, which lies elsewhere, is never gone on with
    run_dir = options.run_dir / f"{EXPERT}-{fingerprint(task.model, task.expert.config)[:12]}"
    maker = BatchMaker(ImageSource(options.source, seed=options.seed + 2), options.batch, make_expert_batch)
    trainer = Trainer(task, maker, options.train, run_dir, expert_evaluation(eval_images))
    trainer.run()
    if trainer.step >= options.train.steps:
        prefix = "expert."
        weights = {n.removeprefix(prefix): v for n, v in trainer.averaged_state().items() if n.startswith(prefix)}
        training = training_record(trainer, options)
        save_expert(task.expert, weights, task.model, out, training=training, card=card)
    return trainer


def training_record(trainer: Trainer, options: ExpertRunOptions) -> dict[str, Any]:
    """Return what is stored beside the weights."""
    own = options.source
    mixed = ["photographs of normal surfaces"] * bool(own.textures) + ["a few real labelled defects"] * bool(own.real)
    summary = f"trained on {trainer.images_seen:,} inspection images: synthetic defects"
    return {
        "summary": summary + "".join(f", {name}" for name in mixed),
        "steps": trainer.step,
        "images": trainer.images_seen,
        "hours": round(trainer.seconds / 3600, 2),
    }

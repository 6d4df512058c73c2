"""`agvas train`: the stages of a preset, each resumable, from nothing to a bundled checkpoint."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agvas_core.config import AGVASConfig, get_preset
from agvas_core.evaluation.metrics import PixelCurve
from agvas_core.modeling.agvas import TokenIds, build_agvas
from agvas_core.synthesis.facts import DEFECT_KINDS, SyntheticBatch
from agvas_core.synthesis.generator import SceneGenerator
from agvas_core.training.dense import DenseTask, make_dense_batch
from agvas_core.training.losses import SegLossWeights
from agvas_core.training.sources import ImageSource, SourceOptions
from agvas_core.training.trainer import Trainer, TrainOptions

HELD_OUT_SEED = 2_000_000_000  # training never reaches it


@dataclass(frozen=True)
class RunOptions:
    """What `agvas train` was asked for.

    Attributes:
        preset: name in config.PRESETS.
        run_dir: where states and logs go, a folder for each stage.
        batch: images of a step at 256 px.
        seed: of the images and the weights.
        source: what the images are made of.
        train: length, rate and precision.
    """

    preset: str
    run_dir: Path
    batch: int
    seed: int
    source: SourceOptions
    train: TrainOptions


def training_config(preset: str) -> AGVASConfig:
    """Return the preset with the names of the defects that synthesis makes."""
    config = get_preset(preset)
    return replace(config, decoder=replace(config.decoder, region_kinds=DEFECT_KINDS))


def held_out(count: int, size: int = 256, chunk: int = 32) -> list[SyntheticBatch]:
    """Return the first `count` held-out synthetic images, in chunks; no real texture is among them."""
    generator = SceneGenerator(size=size)
    return [generator.batch(min(chunk, count - at), HELD_OUT_SEED + at) for at in range(0, count, chunk)]


def score_maps(maps: list[Tensor], gt_masks: list[Tensor]) -> dict[str, float]:
    """Return AP, F1-max, IoU_ano and IoU_nor (0 to 100) of maps (H, W) and masks (H, W)."""
    curve = PixelCurve()
    iou, empty = [], []
    for anomaly_map, gt_mask in zip(maps, gt_masks, strict=True):
        curve.update(anomaly_map.numpy(), gt_mask.numpy())
        pred = anomaly_map > 0.5
        if bool(gt_mask.any()):
            iou.append(float((pred & gt_mask).sum() / (pred | gt_mask).sum()))
        else:
            empty.append(float(not bool(pred.any())))
    percent = {
        "AP": curve.ap,
        "F1_max": curve.f1_max,
        "IoU_ano": sum(iou) / max(1, len(iou)),
        "IoU_nor": sum(empty) / max(1, len(empty)),
    }
    return {name: round(100 * value, 2) for name, value in percent.items()}


def dense_evaluation(count: int) -> Callable[[nn.Module], dict[str, float]]:
    """Return a function that scores a DenseTask on held-out synthesis: masks, and kinds under the true masks."""
    batches = held_out(count)

    @torch.inference_mode()
    def evaluate(task: nn.Module) -> dict[str, float]:
        assert isinstance(task, DenseTask)
        maps, masks = [], []
        right = total = 0
        for batch in batches:
            size = tuple(batch.images.shape[-2:])
            fused = nn.functional.interpolate(
                task.predict(batch.images)[:, None].float(), size, mode="bilinear", align_corners=False
            )[:, 0]
            maps += list(fused)
            masks += list(batch.gt_mask)
            dense = make_dense_batch(batch, random.Random(0))
            if task.region_reader is not None and len(dense.defect_image):
                pixel = task.pixel_encoder(batch.images.float() / 255).select(dense.defect_image)
                under = dense.labels[dense.defect_image] == dense.defect_number[:, None, None]
                _, kind_logits = task.region_reader(pixel, under)
                assert kind_logits is not None
                right += int((kind_logits.argmax(1) == dense.defect_kind).sum())
                total += len(dense.defect_kind)
        return score_maps(maps, masks) | {"kind": round(100 * right / max(1, total), 2)}

    return evaluate


class DenseMaker:
    """Makes the dense batch of a step; a class, so that worker processes can receive it."""

    def __init__(self, source: ImageSource, batch: int) -> None:
        self.source, self.batch = source, batch

    def __call__(self, step: int) -> Any:
        return make_dense_batch(self.source.batch(step, self.batch), random.Random(step))


def train_dense(options: RunOptions, eval_images: int = 192) -> Trainer:
    """Run (or resume) the dense stage."""
    torch.manual_seed(options.seed)
    model = build_agvas(training_config(options.preset), TokenIds(0, 0, (0, 0, 0)))
    task = DenseTask(model, SegLossWeights()).to(memory_format=torch.channels_last)
    maker = DenseMaker(ImageSource(options.source, seed=options.seed), options.batch)
    trainer = Trainer(task, maker, options.train, options.run_dir / "dense", dense_evaluation(eval_images))
    trainer.run()
    return trainer

"""What the adapt stage is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from agvas_core.adapter import LoraOptions
from agvas_core.training.losses import SegLossWeights
from agvas_core.training.trainer import TrainOptions


@dataclass(frozen=True)
class AdaptOptions:
    """What `agvas train --stage adapt` was asked for.

    Attributes:
        preset: name in config.PRESETS; "" when the base is an AG-VAS checkpoint.
        base: hub name, folder, or AG-VAS checkpoint to build on; "" takes the preset's.
        revision: branch, tag or commit of the base on the hub; "" takes its main branch.
        pixel: name of another pixel encoder than the preset's, or None.
        anyres: images are seen in tiles, too.
        run_dir: where the state, the log and the adapter go.
        data: labelled images in MVTec layout, or None for synthesis alone.
        data_share: share of the batches that come from `data`.
        size_px: side of the training images; a pixel encoder of a fixed canvas gets synthetic ones scaled to it, and
            labelled ones at it.
        batch: images of a batch.
        train: length, rate and precision; the paper's AdamW 3e-4, 100 steps of warm-up, then linear decay.
        textures: folder of photographs of normal surfaces for the synthesis, or None.
        lora: shape of the LoRA.
        losses: the paper's weights; no share for the hardest pixels.
        quantization: of the base's language model: "nf4" or "int8", or None.
        seed: of the images and the new weights.
    """

    preset: str
    base: str
    run_dir: Path
    train: TrainOptions
    revision: str = ""
    pixel: str | None = None
    anyres: bool = False
    data: Path | None = None
    data_share: float = 0.5
    size_px: int = 512
    batch: int = 1
    textures: Path | None = None
    lora: LoraOptions = LoraOptions()
    losses: SegLossWeights = field(default_factory=lambda: SegLossWeights(hard_bce=0.0))
    quantization: str | None = None
    seed: int = 0

"""`agvas train`: train a preset on synthesis, resumable at any moment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    preset: Annotated[str, typer.Option(help="Name of the model's sizes: nano.")] = "nano",
    stage: Annotated[str, typer.Option(help="dense, words, joint, or export (write the checkpoint).")] = "dense",
    run_dir: Annotated[Path, typer.Option(help="Where states and logs go; an unfinished run there is resumed.")] = Path(
        "runs/nano"
    ),
    steps: Annotated[int, typer.Option(help="Length of the stage in optimiser steps.")] = 4000,
    batch: Annotated[int, typer.Option(help="Images of a step (at 256 px).")] = 16,
    sizes: Annotated[str, typer.Option(help="Sizes of the training images in px, with commas.")] = "192,256,320",
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 6e-4,
    bce: Annotated[float, typer.Option(help="Weight of the BCE (0.5 in the paper).")] = 0.5,
    dice: Annotated[float, typer.Option(help="Weight of the Dice loss (2.0 in the paper).")] = 2.0,
    hard_bce: Annotated[float, typer.Option(help="Weight of the BCE over the hardest pixels.")] = 0.25,
    minutes: Annotated[float, typer.Option(help="Stop, resumably, after so many minutes; 0 for no limit.")] = 0.0,
    textures: Annotated[Path | None, typer.Option(help="Folder of photographs of normal surfaces.")] = None,
    real: Annotated[Path | None, typer.Option(help="Folder of labelled defects in MVTec layout.")] = None,
    real_share: Annotated[float, typer.Option(help="Share of the batches that come from --real.")] = 0.12,
    normal_share: Annotated[float, typer.Option(help="Share of the synthetic images without a defect.")] = 0.42,
    crowded: Annotated[bool, typer.Option(help="One to five defects an image alike often, not mostly one.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of weights and images.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads of the training itself.")] = 2,
    precision: Annotated[str, typer.Option(help="bf16 or no.")] = "bf16",
    eval_steps: Annotated[int, typer.Option(help="Steps between evaluations.")] = 500,
    eval_images: Annotated[int, typer.Option(help="Held-out images of an evaluation.")] = 192,
    freeze_pixel: Annotated[bool, typer.Option(help="Joint stage: keep the pixel encoder as it is.")] = False,
    out: Annotated[Path, typer.Option(help="Export: the checkpoint's folder.")] = Path("checkpoints/agvas-nano"),
    start_from: Annotated[
        Path | None, typer.Option(help="Checkpoint folder to begin from; an unfinished run in --run-dir goes first.")
    ] = None,
    card: Annotated[Path | None, typer.Option(help="Export: the model card to put beside the weights.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that make images.")] = 1,
) -> None:
    """Train a stage of a preset."""
    import torch

    from agvas_core.training.losses import SegLossWeights
    from agvas_core.training.run import RunOptions, export, train_dense, train_joint, train_words
    from agvas_core.training.sources import SourceOptions
    from agvas_core.training.trainer import TrainOptions

    torch.set_num_threads(threads)
    options = RunOptions(
        preset=preset,
        run_dir=run_dir,
        batch=batch,
        seed=seed,
        source=SourceOptions(
            sizes_px=tuple(int(s) for s in sizes.split(",")),
            textures=textures,
            real=real,
            real_share=real_share,
            normal_share=normal_share,
            crowded=crowded,
        ),
        start_from=start_from,
        losses=SegLossWeights(bce=bce, dice=dice, hard_bce=hard_bce),
        train=TrainOptions(
            steps=steps, lr=lr, minutes=minutes, mixed_precision=precision, eval_steps=eval_steps, workers=workers
        ),
    )
    if stage == "dense":
        train_dense(options, eval_images)
    elif stage == "words":
        train_words(options)
    elif stage == "joint":
        train_joint(options, freeze_pixel=freeze_pixel, eval_images=eval_images)
    elif stage == "export":
        export(options, out, card=card.read_text(encoding="utf-8") if card else "")
    else:
        raise typer.BadParameter(f"--stage is dense, words, joint or export; got {stage!r}.")

"""`agvas train`: train a preset on synthesis, or an adapter on one's own images; resumable at any moment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agvas_core.training.run import RunOptions

STAGES = ("dense", "words", "joint", "export", "adapt")


def train(
    preset: Annotated[str, typer.Option(help="Model: nano, or a base: onevision-0.5b, onevision-7b, llava-13b.")] = "",
    stage: Annotated[
        str,
        typer.Option(
            help="dense, words, joint, export (write the checkpoint); adapt: an adapter on a base (its default)."
        ),
    ] = "",
    data: Annotated[Path | None, typer.Option(help="Adapt: labelled images of your own, in MVTec layout.")] = None,
    base: Annotated[
        str, typer.Option(help="Adapt: what to build on instead of the preset's: agvas-nano, a folder, a hub name.")
    ] = "",
    revision: Annotated[str, typer.Option(help="Adapt: branch, tag or commit of the base on the hub.")] = "",
    pixel: Annotated[str | None, typer.Option(help="Adapt: another pixel encoder than the preset's.")] = None,
    anyres: Annotated[
        bool, typer.Option("--anyres", help="Adapt: see images in tiles, too (LLaVA-OneVision; needs more memory).")
    ] = False,
    data_share: Annotated[float, typer.Option(help="Adapt: share of the batches from --data.", min=0, max=1)] = 0.5,
    accumulate: Annotated[int, typer.Option(help="Batches of a step on each GPU, gradients averaged.", min=1)] = 1,
    rank: Annotated[int, typer.Option(help="Adapt: rank of the LoRA.", min=1)] = 16,
    quantization: Annotated[str | None, typer.Option(help="Adapt: nf4 or int8 for the base's language model.")] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="States and logs; an unfinished run there is resumed (default runs/PRESET).")
    ] = None,
    steps: Annotated[int, typer.Option(help="Length of the stage in optimiser steps.", min=1)] = 4000,
    batch: Annotated[int | None, typer.Option(help="Images of a batch (16, at 256 px; adapt: 1).", min=1)] = None,
    sizes: Annotated[
        str | None, typer.Option(help="Sizes of the images in px, with commas (192,256,320; adapt: one, 512).")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate (6e-4; adapt: 3e-4, the paper's).", min=0)
    ] = None,
    decay: Annotated[
        float | None,
        typer.Option(help="Share of the steps in which the rate falls to zero (0.25; adapt: 1).", min=0, max=1),
    ] = None,
    bce: Annotated[float, typer.Option(help="Weight of the BCE (0.5 in the paper).")] = 0.5,
    dice: Annotated[float, typer.Option(help="Weight of the Dice loss (2.0 in the paper).")] = 2.0,
    hard_bce: Annotated[
        float | None, typer.Option(help="Weight of the BCE over the hardest pixels (0.25; adapt: 0, as the paper).")
    ] = None,
    focal: Annotated[
        float, typer.Option(help="Gamma of the focal loss in the BCE's place (SAM: 2; 0: the BCE).")
    ] = 0.0,
    side: Annotated[
        float | None, typer.Option(help="Dense: weight of the side heads, deep supervision (0.3; 0 for none).")
    ] = None,
    minutes: Annotated[
        float, typer.Option(help="Stop, resumably, after so many minutes; 0 for no limit.", min=0)
    ] = 0.0,
    total_minutes: Annotated[
        float,
        typer.Option(
            help="Length of the stage in minutes of training, over all calls: the rate falls by these.", min=0
        ),
    ] = 0.0,
    textures: Annotated[Path | None, typer.Option(help="Folder of photographs of normal surfaces.")] = None,
    texture_share: Annotated[
        float, typer.Option(help="Share of the synthetic surfaces whose place a photograph takes.", min=0, max=1)
    ] = 0.4,
    real: Annotated[Path | None, typer.Option(help="Folder of labelled defects in MVTec layout.")] = None,
    real_share: Annotated[float, typer.Option(help="Share of the batches that come from --real.", min=0, max=1)] = 0.12,
    normal_share: Annotated[
        float, typer.Option(help="Share of the synthetic images without a defect.", min=0, max=1)
    ] = 0.42,
    crowded: Annotated[bool, typer.Option(help="One to five defects an image alike often, not mostly one.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of weights and images.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads of the training itself.", min=1)] = 2,
    precision: Annotated[str, typer.Option(help="bf16, no, or auto: bf16 where the processor has it.")] = "auto",
    eval_steps: Annotated[int, typer.Option(help="Steps between evaluations.", min=0)] = 500,
    eval_images: Annotated[int, typer.Option(help="Held-out images of an evaluation.", min=0)] = 192,
    freeze_pixel: Annotated[
        bool, typer.Option(help="Joint stage: keep pixel encoder, decoder and region reader as they are.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Export: the checkpoint's folder (checkpoints/agvas-nano); adapt: RUN_DIR/adapter."),
    ] = None,
    start_from: Annotated[
        Path | None, typer.Option(help="Checkpoint folder to begin from; an unfinished run in --run-dir goes first.")
    ] = None,
    mix: Annotated[
        Path | None,
        typer.Option(help="Joint, export: the mean of what was learned so far and of this checkpoint, where it began."),
    ] = None,
    card: Annotated[Path | None, typer.Option(help="Export: the model card to put beside the weights.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that make images.", min=0)] = 1,
    budget: Annotated[bool, typer.Option("--budget", help="Only print what a dense or joint stage costs.")] = False,
) -> None:
    """Train a stage of a preset."""
    import torch

    from agvas_core.config import get_preset
    from agvas_core.training.losses import SegLossWeights
    from agvas_core.training.trainer import TrainOptions
    from agvas_core.writers import make_folder

    on_base = bool(base or data) or (bool(preset) and bool(get_preset(preset).base))
    stage = stage or ("adapt" if on_base else "dense")
    if stage not in STAGES:
        raise typer.BadParameter(f"--stage is {', '.join(STAGES[:-1])} or {STAGES[-1]}; got {stage!r}.")
    adapts = stage == "adapt"
    if budget and adapts:
        raise typer.BadParameter(
            "--budget counts the dense and the joint stage; of a base see `agvas checkpoint inspect`."
        )
    torch.set_num_threads(threads)
    if not preset and not (adapts and base):
        preset = "nano"
    run_dir = run_dir or Path("runs") / (preset or Path(base).name)
    options = TrainOptions(
        steps=steps,
        lr=lr or (3e-4 if adapts else 6e-4),
        decay_share=decay if decay is not None else 1.0 if adapts else TrainOptions.decay_share,
        weight_decay=0.0 if adapts else TrainOptions.weight_decay,
        minutes=minutes,
        total_minutes=total_minutes,
        accumulate=accumulate,
        mixed_precision=precision,
        eval_steps=eval_steps,
        workers=workers,
    )
    if not budget:
        make_folder(run_dir)
    hardest = hard_bce if hard_bce is not None else (0.0 if adapts else SegLossWeights.hard_bce)
    sides = side if side is not None else SegLossWeights.side
    losses = SegLossWeights(bce=bce, dice=dice, hard_bce=hardest, focal=focal, side=sides)
    if adapts:
        from agvas_core.adapter import LoraOptions
        from agvas_core.training.adapt import train_adapter
        from agvas_core.training.adapt_options import AdaptOptions

        adapting = AdaptOptions(
            preset=preset,
            base=base,
            revision=revision,
            pixel=pixel,
            anyres=anyres,
            run_dir=run_dir,
            train=options,
            data=data,
            data_share=data_share,
            size_px=sizes_px(sizes or "512")[0],
            batch=batch or 1,
            textures=textures,
            lora=LoraOptions(rank=rank, alpha=2 * rank),
            losses=losses,
            quantization=quantization,
            seed=seed,
        )
        folder = out or run_dir / "adapter"
        trainer = train_adapter(adapting, folder)
        if trainer.accelerator.is_main_process:
            typer.echo(f"Adapter after {trainer.step} of {steps} steps: {folder}")
        return
    from agvas_core.training.run import RunOptions, export, train_dense, train_joint, train_words
    from agvas_core.training.sources import SourceOptions

    asked = RunOptions(
        preset=preset,
        run_dir=run_dir,
        batch=batch or 16,
        seed=seed,
        source=SourceOptions(
            sizes_px=sizes_px(sizes or "192,256,320"),
            textures=textures,
            texture_share=texture_share,
            real=real,
            real_share=real_share,
            normal_share=normal_share,
            crowded=crowded,
            block=max(workers, SourceOptions.block),  # so that a worker meets again the images that it made
        ),
        start_from=start_from,
        losses=losses,
        train=options,
    )
    if budget:
        return _print_budget(asked, stage, freeze_pixel)
    if stage == "dense":
        train_dense(asked, eval_images)
    elif stage == "words":
        train_words(asked)
    elif stage == "joint":
        train_joint(asked, freeze_pixel=freeze_pixel, eval_images=eval_images, mix=mix)
    else:
        folder = out or Path("checkpoints/agvas-nano")
        export(asked, folder, card=card.read_text(encoding="utf-8") if card else "", mix=mix)


def sizes_px(text: str) -> tuple[int, ...]:
    """Return "192,256" as numbers; BadParameter for anything else."""
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise typer.BadParameter(f"--sizes is px with commas, as in 192,256; got {text!r}.")
    return sizes


def _print_budget(asked: RunOptions, stage: str, freeze_pixel: bool) -> None:
    from agvas_core.training.budget import stage_budget

    try:
        rows = stage_budget(asked, stage, freeze_pixel=freeze_pixel)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"{'part':28}{'parameters':>12}{'GFLOP an image':>16}   at {max(asked.source.sizes_px)} px, forward")
    for row in rows:
        typer.echo(f"{row.part:28}{row.parameters:12,}{row.gflop:16.2f}")

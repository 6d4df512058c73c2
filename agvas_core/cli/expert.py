"""`agvas train-expert` and `agvas evaluate-expert`: the bundled model's Anomaly-OV expert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agvas_core.cli.train import sizes_px


def train_expert(
    model: Annotated[Path, typer.Option(help="Checkpoint whose eyes the expert reads.")] = Path(
        "checkpoints/agvas-nano"
    ),
    out: Annotated[Path, typer.Option(help="Where the expert is written when its steps are done.")] = Path(
        "checkpoints/anomaly-ov-nano"
    ),
    run_dir: Annotated[Path, typer.Option(help="Where states and logs go; an unfinished run there is resumed.")] = Path(
        "runs/nano"
    ),
    steps: Annotated[int, typer.Option(help="Length in optimiser steps.", min=1)] = 4000,
    batch: Annotated[int, typer.Option(help="Images of a step (at 256 px).", min=1)] = 16,
    sizes: Annotated[str, typer.Option(help="Sizes of the training images in px, with commas.")] = "256",
    lr: Annotated[float, typer.Option(help="Peak learning rate.", min=0)] = 1e-3,
    saliency: Annotated[float, typer.Option(help="Weight of the saliency's loss beside the score's.")] = 1.0,
    semantic_only: Annotated[bool, typer.Option("--semantic-only", help="Without the pixel eye's features.")] = False,
    without_look_back: Annotated[bool, typer.Option("--without-look-back", help="Ablation of the paper.")] = False,
    without_embeddings: Annotated[bool, typer.Option("--without-embeddings", help="Ablation of the paper.")] = False,
    minutes: Annotated[
        float, typer.Option(help="Stop, resumably, after so many minutes; 0 for no limit.", min=0)
    ] = 0.0,
    textures: Annotated[Path | None, typer.Option(help="Folder of photographs of normal surfaces.")] = None,
    real: Annotated[Path | None, typer.Option(help="Folder of labelled defects in MVTec layout.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights and images.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads of the training itself.", min=1)] = 2,
    precision: Annotated[str, typer.Option(help="bf16, no, or auto: bf16 where the processor has it.")] = "auto",
    eval_steps: Annotated[int, typer.Option(help="Steps between evaluations.", min=0)] = 500,
    eval_images: Annotated[int, typer.Option(help="Held-out images of an evaluation.", min=0)] = 256,
    card: Annotated[Path | None, typer.Option(help="Model card to put beside the weights.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that make images.", min=0)] = 1,
) -> None:
    """Train the expert that scores images and shows where it looked; the model itself stays as it is."""
    import torch

    from agvas_core.training.expert import ExpertRunOptions
    from agvas_core.training.expert import train_expert as run
    from agvas_core.training.sources import SourceOptions
    from agvas_core.training.trainer import TrainOptions
    from agvas_core.writers import make_folder

    make_folder(run_dir)
    torch.set_num_threads(threads)
    options = ExpertRunOptions(
        model=model,
        run_dir=run_dir,
        batch=batch,
        seed=seed,
        source=SourceOptions(sizes_px=sizes_px(sizes), textures=textures, real=real),
        train=TrainOptions(
            steps=steps, lr=lr, minutes=minutes, mixed_precision=precision, eval_steps=eval_steps, workers=workers
        ),
        use_pixel=not semantic_only,
        use_look_back=not without_look_back,
        use_embeddings=not without_embeddings,
        saliency_weight=saliency,
    )
    text = card.read_text(encoding="utf-8") if card else ""
    trainer = run(options, out, eval_images=eval_images, card=text)
    done = trainer.step >= steps
    typer.echo(f"Wrote {out}" if done else f"Stopped at step {trainer.step} of {steps}; the same command goes on.")


def evaluate_expert(
    expert: Annotated[str, typer.Option(help="Who scores: anomaly-ov-nano, anomaly-ov-0.5b or anomaly-ov-7b.")] = (
        "anomaly-ov-nano"
    ),
    engine: Annotated[str, typer.Option(help="Whose masks are judged with it.")] = "agvas-nano",
    images: Annotated[int, typer.Option(help="Held-out synthetic images; 0 for none.", min=0)] = 400,
    data: Annotated[Path | None, typer.Option(help="Folder in MVTec layout to judge on, too.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many images of each kind.", min=1)] = None,
) -> None:
    """Measure an expert's image score, and what a veto by it does to an engine's masks."""
    from itertools import groupby

    from tqdm import tqdm

    from agvas_core.data.mvtec_folder import find_samples, load_sample
    from agvas_core.engines.anomaly_ov import AnomalyOVEngine
    from agvas_core.engines.ask import predictor
    from agvas_core.engines.registry import load_engine
    from agvas_core.evaluation.expert import evaluate_expert as judge
    from agvas_core.evaluation.expert import expert_table
    from agvas_core.evaluation.held_out import held_out_images
    from agvas_core.evaluation.protocol import spread
    from agvas_core.structures import Request

    samples = spread(find_samples(data), limit) if data is not None else []
    scoring = load_engine(expert)
    if not isinstance(scoring, AnomalyOVEngine):
        raise ValueError(f"{expert} gives no score for a whole image; choose one of the anomaly-ov engines.")
    predict = predictor(load_engine(engine), Request("", mode="direct"))
    if images:
        with tqdm(unit="image", total=images) as bar:
            held_out = ((item.image, item.gt_mask) for item in held_out_images(images))
            result = judge(scoring, predict, held_out, bar.update)
        typer.echo(expert_table("held-out synthesis", result))
    for category, group in groupby(samples, key=lambda sample: sample.category):
        members = list(group)
        with tqdm(unit="image", total=len(members), desc=category) as bar:
            result = judge(scoring, predict, (load_sample(sample) for sample in members), bar.update)
        typer.echo(expert_table(category, result))

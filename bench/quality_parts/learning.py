"""The dense stage goes on from the same weights in several ways, each of which is measured: for losses and mixtures.

One look at an image, with the anchors of the dense stage itself, so that no words have to be learned first.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from agvas_core.checkpoint import load_checkpoint
from agvas_core.evaluation.ablation import LEARNED_ANCHORS, Predict, measure_rows, switched_off
from agvas_core.evaluation.items import LabelledImage
from agvas_core.evaluation.metrics import SetMetrics
from agvas_core.predictor import AnomalyPredictor
from agvas_core.structures import Prediction
from agvas_core.training.losses import SegLossWeights
from agvas_core.training.run import RunOptions, load_bank, take_dense, train_dense
from agvas_core.training.sources import SourceOptions
from agvas_core.training.trainer import TrainOptions

from .options import groups, parser_of, shown, write

SAM = SegLossWeights(bce=20.0, dice=1.0, hard_bce=0.0, focal=2.0)


@dataclass(frozen=True)
class Way:
    """How one row learns on: its losses, and what of the images is other than the options say."""

    losses: SegLossWeights = replace(SAM, side=0.0)
    source: Mapping[str, Any] | None = None


def options_of(doc: str, arguments: list[str] | None, *, run_dir: str, lr: float) -> argparse.Namespace:
    """Return what a script is asked for; doc: the script's."""
    parser = parser_of(doc, limit=12, synthesis=128)
    parser.add_argument("--start-from", type=Path, default=Path("checkpoints/agvas-nano"), help="where all begin")
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--run-dir", type=Path, default=Path(run_dir))
    parser.add_argument("--only", help="some rows, with semicolons between them")
    parser.add_argument("--steps", type=int, default=140)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--sizes", default="96,128,160,160,192,256,384")
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--precision", default="auto", choices=("auto", "bf16", "no"))
    parser.add_argument("--textures", type=Path)
    parser.add_argument("--real", type=Path)
    return parser.parse_args(arguments)


def compare(options: argparse.Namespace, ways: Mapping[str, Way], name: str) -> dict:
    """Train each way (resumable), measure all and the start, print a table of each group of images, write numbers."""
    torch.set_num_threads(options.threads)
    rows: dict[str, Predict] = {"before": looking(options.start_from)}
    for row, way in ways.items():
        if options.only is None or row in options.only.split(";"):
            run_dir = options.run_dir / row.translate(str.maketrans(" :,", "___"))
            train_dense(run_options(options, run_dir, way), eval_images=16)
            rows[row] = looking(options.start_from, run_dir)
    values: dict = {"about": {key: str(value) for key, value in vars(options).items()}}
    for where, items in groups(options).items():
        measured = {row: m for row, (m, _) in measure_rows(rows, shown(items, where)).items()}
        print(f"\n{where}\n\n{table(measured, name)}")
        values[where] = measured
    print(f"\nNumbers: {write(values, options, name)}")
    return values


def run_options(options: argparse.Namespace, run_dir: Path, way: Way) -> RunOptions:
    """Return the dense stage of a row."""
    source = SourceOptions(
        sizes_px=tuple(int(size) for size in options.sizes.split(",")),
        textures=options.textures,
        texture_share=0.55,
        real=options.real,
        real_share=0.16,
        normal_share=0.36,
        crowded=True,
    )
    train = TrainOptions(
        steps=options.steps,
        lr=options.lr,
        decay_share=0.9,
        eval_steps=10**6,
        workers=0,
        mixed_precision=options.precision,
    )
    source = replace(source, **(way.source or {}))
    return RunOptions(
        options.preset, run_dir, options.batch, options.seed, source, train, options.start_from, way.losses
    )


def looking(start_from: Path, run_dir: Path | None = None) -> Predict:
    """Return one look with a checkpoint's weights, and with what a run's dense stage has learned since."""
    model, tokenizer, _ = load_checkpoint(start_from)
    bank = load_bank(start_from, model.config.decoder.width)
    if run_dir is not None:
        take_dense(model, bank, run_dir)
    model.config = replace(model.config, serving_also=())
    predictor = AnomalyPredictor(model, tokenizer)

    def predict(item: LabelledImage) -> Prediction:
        with switched_off(model, LEARNED_ANCHORS, bank.base):
            return predictor.glance(item.image)

    return predict


def table(measured: Mapping[str, SetMetrics], name: str) -> str:
    """Return the rows as markdown, in per cent."""
    lines = [f"| {name} | AP | F1-max | F1 at 0.5 | IoU_ano | IoU_nor |", "|---|" + "---:|" * 5]
    for name, m in measured.items():
        numbers = (f"{100 * value:.1f}" for value in (m.ap, m.f1_max, m.f1, m.iou_ano, m.iou_nor))
        lines.append(f"| {name} | " + " | ".join(numbers) + " |")
    return "\n".join(lines)

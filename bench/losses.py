"""Which losses teach the masks best: each learns on from the same weights with the same images, and is measured.

`python bench/losses.py --textures DIR --real DIR [--data ROOT]` runs the dense stage of every row
(resumable, in runs/losses) and prints a table of held-out synthesis and of photographs. One look at an image, with the
anchors of the dense stage itself, so that no words have to be learned first.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from quality_parts.options import groups, parser_of, shown, write

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

OURS = SegLossWeights(bce=1.0, dice=1.5)
SAM = SegLossWeights(bce=20.0, dice=1.0, hard_bce=0.0, focal=2.0)
LOSSES: dict[str, SegLossWeights] = {
    "ours": OURS,
    "ours, nothing for the hardest pixels": replace(OURS, hard_bce=0.0),
    "ours, Dice on normal images, too": replace(OURS, dice_on_empty=True),
    "ours, no deep supervision": replace(OURS, side=0.0),
    "paper: BCE 0.5, Dice 2": SegLossWeights(hard_bce=0.0),
    "LISA: BCE 2, Dice 0.5": SegLossWeights(bce=2.0, dice=0.5, hard_bce=0.0),
    "SAM: focal 20, Dice 1": SAM,
    "SAM's, no deep supervision": replace(SAM, side=0.0),
}


def main(arguments: list[str] | None = None) -> dict:
    """Train, measure and print."""
    parser = parser_of(__doc__, limit=12, synthesis=128)
    parser.add_argument("--start-from", type=Path, default=Path("checkpoints/agvas-nano"), help="where all begin")
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/losses"))
    parser.add_argument("--only", help="some rows, with semicolons between them")
    parser.add_argument("--steps", type=int, default=140)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=4e-4)
    parser.add_argument("--sizes", default="96,128,160,160,192,256,384")
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--precision", default="bf16", choices=("bf16", "no"))
    parser.add_argument("--textures", type=Path)
    parser.add_argument("--real", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rows: dict[str, Predict] = {"before": looking(options.start_from)}
    for name, losses in LOSSES.items():
        if options.only is None or name in options.only.split(";"):
            run_dir = options.run_dir / name.translate(str.maketrans(" :,", "___"))
            train_dense(run_options(options, run_dir, losses), eval_images=16)
            rows[name] = looking(options.start_from, run_dir)
    values: dict = {"about": {key: str(value) for key, value in vars(options).items()}}
    for where, items in groups(options).items():
        measured = {name: m for name, (m, _) in measure_rows(rows, shown(items, where)).items()}
        print(f"\n{where}\n\n{table(measured)}")
        values[where] = measured
    print(f"\nNumbers: {write(values, options, 'losses')}")
    return values


def run_options(options: argparse.Namespace, run_dir: Path, losses: SegLossWeights) -> RunOptions:
    """Return the dense stage of a row; only the losses and where it is kept differ between rows."""
    sizes = tuple(int(size) for size in options.sizes.split(","))
    source = SourceOptions(
        sizes_px=sizes,
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
    return RunOptions(options.preset, run_dir, options.batch, options.seed, source, train, options.start_from, losses)


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


def table(measured: dict[str, SetMetrics]) -> str:
    """Return the rows as markdown, in per cent."""
    lines = ["| losses | AP | F1-max | F1 at 0.5 | IoU_ano | IoU_nor |", "|---|" + "---:|" * 5]
    for name, m in measured.items():
        numbers = (f"{100 * value:.1f}" for value in (m.ap, m.f1_max, m.f1, m.iou_ano, m.iou_nor))
        lines.append(f"| {name} | " + " | ".join(numbers) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

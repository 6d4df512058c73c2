"""What each part and each mode is worth on the bundled model: the paper's Tables 3 and 4 beside ours.

`python bench/ablations.py [--only parts|modes] [--synthesis 100] [--data ROOT] [--limit 4]` prints both tables and
writes bench/results/ablations.json. Parts are SWITCHED OFF in the trained model, not trained without, so what the
others would have learned in their place is not seen: the paper's rows are models trained without the part, on other
data (MVTec AD).
"""

from __future__ import annotations

import random

from quality_parts.options import about, groups, parser_of, shown, start, write
from safetensors.torch import load_file
from torch import Tensor

from agvas_core import Request
from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.ask import predictor
from agvas_core.engines.registry import CHECKPOINTS
from agvas_core.evaluation.ablation import (
    LEARNED_ANCHORS,
    PAPER_MODES,
    PAPER_PARTS,
    WHOLE,
    WITHOUT_OUTLINES,
    WITHOUT_REFINER,
    WITHOUT_SPAM,
    Predict,
    beside_the_paper,
    measure_rows,
    switched_off,
)
from agvas_core.evaluation.items import LabelledImage
from agvas_core.predictor import AnomalyPredictor
from agvas_core.structures import InspectionImage, Mode, Prediction
from agvas_core.synthesis.sentences import normal_sentence

NOTE = (
    "Parts are switched off in the trained model, not trained without; the paper's rows are models trained without "
    'them on other data, MVTec AD ("paper"). Numbers are means over the categories, in per cent.'
)
MODES: tuple[Mode, ...] = ("direct", "describe", "describe_plus", "explain")


def learned_anchors(engine_name: str) -> Tensor | None:
    """Return the dense stage's learned anchors (3, C) that lie beside a checkpoint, or None."""
    for folder in (CHECKPOINTS / engine_name, engine_name):
        try:
            return load_file(f"{folder}/anchor_bank.safetensors")["base"]
        except FileNotFoundError:
            continue
    return None


def fresh(engine: AGVASEngine, request: Request, image: InspectionImage) -> Prediction:
    """Return the engine's mask of an image of which nothing is kept."""
    old = engine.predictor
    engine.predictor = AnomalyPredictor(old.model, old.tokenizer, device=str(old.device))
    return predictor(engine, request)(image)


def without(engine: AGVASEngine, part: str, learned: Tensor | None) -> Predict:
    """Return the direct mode's predictor of the engine with a part switched off."""

    def predict(item: LabelledImage) -> Prediction:
        with switched_off(engine.predictor.model, part, learned):
            return fresh(engine, Request("", mode="direct"), item.image)

    return predict


def answering(engine: AGVASEngine, mode: Mode, normal: str) -> Predict:
    """Return a predictor in a mode; describe_plus is told what normal looks like, of photographs by `normal`."""

    def predict(item: LabelledImage) -> Prediction:
        told = ""
        if mode == "describe_plus":
            told = normal if item.scene is None else normal_sentence(item.scene, random.Random(item.name))
        return fresh(engine, Request("", mode=mode, normal_description=told), item.image)

    return predict


def main(arguments: list[str] | None = None) -> dict:
    """Measure and print."""
    parser = parser_of(__doc__, limit=4, synthesis=100)
    parser.add_argument("--only", choices=("parts", "modes"), help="one of the two tables")
    parser.add_argument("--normal", default="Normally it looks even.", help="what describe_plus is told of photographs")
    options = parser.parse_args(arguments)
    engine = start(options)
    if not isinstance(engine, AGVASEngine):
        parser.error("only an AG-VAS checkpoint has these parts")
    learned = learned_anchors(options.engine)
    parts = [
        WHOLE,
        WITHOUT_SPAM,
        WITHOUT_REFINER,
        WITHOUT_OUTLINES,
        *([LEARNED_ANCHORS] if learned is not None else []),
    ]
    table3 = {part: without(engine, part, learned) for part in parts}
    table4 = {mode: answering(engine, mode, options.normal) for mode in MODES}
    values: dict = {"about": about(engine, options), "note": NOTE}
    print(NOTE)
    for name, rows, paper in (("parts", table3, PAPER_PARTS), ("modes", table4, PAPER_MODES)):
        if options.only not in (None, name):
            continue
        for where, items in groups(options).items():
            measured = measure_rows(rows, shown(items, f"{name}, {where}"), WHOLE)
            images = next(iter(measured.values()))[0]
            count = f"{images.normal_images} normal, {images.anomalous_images} anomalous images"
            print(f"\n{where} ({count})\n\n{beside_the_paper(measured, paper, name)}")
            values.setdefault(name, {})[where] = {row: {"masks": m, "s": s} for row, (m, s) in measured.items()}
    print(f"\nNumbers: {write(values, options, 'ablations')}")
    return values


if __name__ == "__main__":
    main()

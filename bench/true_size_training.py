"""LoRA training of a preset at its true size, with random weights: seconds of a step, peak memory, and a falling loss.

    python bench/true_size_training.py --preset onevision-0.5b            (on a GPU)
    python bench/true_size_training.py --preset onevision-7b --steps 30
    python bench/true_size_training.py --preset tiny-test --steps 30 --lr 5e-3       (a rehearsal on a CPU)
    python bench/true_size_training.py --preset onevision-0.5b --count    (operations only; loads nothing, no GPU)

The same batch (one image with defects, one talk) is learned again and again, so its losses must fall; random weights
take the time and the memory that real ones take.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from agvas_core.adapter import LoraOptions, add_adapter
from agvas_core.checkpoint import token_ids_of
from agvas_core.config import AGVASConfig, get_preset
from agvas_core.memory import GIB, check_memory, memory_needed
from agvas_core.modeling.agvas import AGVAS, TokenIds
from agvas_core.modeling.lmm import encode_semantic
from agvas_core.synthesis.generator import SceneGenerator
from agvas_core.tokenizer import build_tokenizer
from agvas_core.training.adapt import AdaptMaker, AdaptTask, AdaptTrainer, checkpointing
from agvas_core.training.losses import SegLossWeights
from agvas_core.training.trainer import TrainOptions

TALK_TOKENS = 150  # of a talk beside the image's tokens: what `--count` assumes
TRIPLES = 2  # masks of a talk: likewise


def main() -> None:
    """Count, or train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    small = "onevision-0.5b" if torch.cuda.is_available() else "tiny-test"
    parser.add_argument("--preset", default=small)
    parser.add_argument("--pixel", default=None, help="another pixel encoder, as dinov3-l")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--size", type=int, default=None, help="side of the training image, px")
    parser.add_argument(
        "--count", action="store_true", help="print operations of an image, and hours computed from them"
    )
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    config = get_preset(args.preset, args.pixel)
    if args.count:
        print_count(config)
        return
    result = train(config, args.steps, args.lr, args.size or (64 if args.preset == "tiny-test" else 512))
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def train(config: AGVASConfig, steps: int, lr: float, size: int) -> dict[str, float]:
    """Learn one batch by heart and print what it took."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    try:
        check_memory(config, "train", device=str(device))
    except ValueError as error:
        raise SystemExit(str(error)) from error
    tokenizer = build_tokenizer(talks=200)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if cuda else torch.float32)
    with device:
        model = AGVAS(config, token_ids_of(tokenizer))
    torch.set_default_dtype(torch.float32)
    add_adapter(model, LoraOptions(), dtype=torch.float32)
    checkpointing(model)
    maker = AdaptMaker(tokenizer, config, model.token_ids)
    batch = maker(SceneGenerator(size=size, normal_share=0.0).batch(1, 3), random.Random(3))
    options = TrainOptions(
        steps=steps, lr=lr, warmup_steps=3, decay_share=1.0, weight_decay=0.0, ema=0.0, eval_steps=0, workers=0,
        mixed_precision="bf16" if cuda else "no", save_seconds=1e9,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        trainer = AdaptTrainer(AdaptTask(model, SegLossWeights(hard_bce=0.0)).train(), lambda step: batch, options,
                               Path(folder))  # fmt: skip
        seconds, totals = [], []
        for _ in range(steps):
            begun = time.perf_counter()
            losses = trainer._train_step([batch])
            seconds.append(time.perf_counter() - begun)
            totals.append(sum(losses.values()))
    seconds = sorted(seconds[2:])
    peak = torch.cuda.max_memory_allocated() if cuda else 0
    computed = memory_needed(config, "train")
    print(
        f"{config.preset} on {device}, {batch.input_ids.shape[1]} tokens, {len(batch.anchors)} masks, one image a step"
    )
    print(f"| a step | {seconds[len(seconds) // 2]:.3f} s |")
    print(f"| loss, first and last of {steps} steps | {totals[0]:.3f}, {totals[-1]:.3f} |")
    if cuda:
        print(f"| peak memory | {peak / 1e9:.1f} GB ({peak / GIB:.1f} GiB; computed: {computed / GIB:.1f} GiB) |")
    if not totals[-1] < 0.8 * totals[0]:
        raise SystemExit("The loss did not fall: something is broken.")
    return {"step_seconds": seconds[len(seconds) // 2], "first": totals[0], "last": totals[-1], "peak_bytes": peak}


def count(config: AGVASConfig) -> dict[str, float]:
    """Return operations (multiplications and additions) of one training image by part, in units of 10^12."""
    with torch.device("meta"), torch.no_grad():
        return _count(AGVAS(config, TokenIds(0, -1, (1, 2, 3))), config)


def _count(model: AGVAS, config: AGVASConfig) -> dict[str, float]:
    values = torch.zeros(1, 3, config.pixel.image_px, config.pixel.image_px)
    embeds = torch.zeros(1, config.image_tokens + TALK_TOKENS, config.llm.width)
    anchors = torch.zeros(TRIPLES, 3, config.llm.width)
    image_index = torch.zeros(TRIPLES, dtype=torch.int64)
    semantic = torch.zeros(1, 3, config.semantic.image_px, config.semantic.image_px)
    found: dict[str, float] = {}

    def measure(name: str, times: int, run: Callable[[], Any]) -> Any:
        with FlopCounterMode(display=False) as counter:
            out = run()
        found[name] = times * counter.get_total_flops() / 1e12
        return out

    f_s = measure("semantic encoder, forward", 1, lambda: encode_semantic(model.lmm, semantic))
    pixel = measure("pixel encoder, forward", 1, lambda: model.pixel_encoder(values))
    # frozen weights: forward, forward again (gradient checkpointing), gradients of the activations only
    tokens, layers = embeds.shape[1], model.lmm.model.language_model.layers
    linear = sum(m.weight.numel() for m in layers.modules() if isinstance(m, nn.Linear))
    attention = 2 * len(layers) * tokens**2 * config.llm.width  # q k^T and its product with v, half of it masked
    found["language model, 3 x forward"] = 3 * (2 * linear * tokens + attention) / 1e12
    measure("output head, 2 x forward", 2, lambda: model.word_logits(embeds[:, :TALK_TOKENS]))
    # trained weights: forward, gradients of the activations and of the weights
    measure("SPAM, 3 x forward", 3, lambda: model.spam(f_s, pixel.embedding))
    pixel = pixel.select(image_index)
    measure("refiner and AGMD, 3 x forward", 3, lambda: model.agmd(model.token_refiner(anchors), pixel))
    return found


def print_count(config: AGVASConfig) -> None:
    """Print the operations by part, and what they take at some speeds."""
    found = count(config)
    for name, value in found.items():
        print(f"| {name} | {value:.2f} |")
    total = sum(found.values())
    print(f"| sum, 10^12 operations an image | {total:.2f} |")
    for speed in (10, 20, 40, 80):
        print(f"| hours for 32,000 images at {speed} x 10^12 operations a second, sustained | "
              f"{32_000 * total / speed / 3600:.1f} |")  # fmt: skip


if __name__ == "__main__":
    main()

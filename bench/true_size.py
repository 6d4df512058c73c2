"""One direct and one explaining turn of a preset at its true size, with random weights: seconds and peak memory.

    python bench/true_size.py --preset onevision-7b --device cuda
    python bench/true_size.py --preset tiny-test --device cpu        (a rehearsal)

Random weights take the time and the memory that real ones take; what they say and mark means nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from agvas_core.anchors import ANCHOR_TEXT
from agvas_core.checkpoint import token_ids_of
from agvas_core.config import get_preset
from agvas_core.memory import GIB, check_memory, memory_needed, peak_memory_mb
from agvas_core.modeling.agvas import AGVAS
from agvas_core.predictor import AnomalyPredictor
from agvas_core.processing import open_image
from agvas_core.prompts import ChatTurn
from agvas_core.tokenizer import build_tokenizer, encode_chat

NEW_TOKENS = 64


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    small = "onevision-7b" if torch.cuda.is_available() else "tiny-test"
    parser.add_argument("--preset", default=small, help=f"default {small}: the 7B where there is a GPU")
    parser.add_argument("--pixel", default=None, help="another pixel encoder, as dinov3-l")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    device = torch.device(args.device)
    config = get_preset(args.preset, args.pixel)
    try:
        check_memory(config, "bf16" if device.type == "cuda" else "float32", device=args.device)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    tokenizer = build_tokenizer(talks=200)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if device.type == "cuda" else torch.float32)
    with torch.device(device):
        model = AGVAS(config, token_ids_of(tokenizer))
    torch.set_default_dtype(torch.float32)
    predictor = AnomalyPredictor(model, tokenizer, device=args.device)
    rng = np.random.default_rng(0)
    rows: dict[str, list[float]] = {"direct turn": [], "explaining turn": []}
    for _ in range(args.repeats + 1):  # the first one warms up
        photo = open_image(rng.integers(0, 256, (900, 1200, 3), dtype=np.uint8))
        begun = time.perf_counter()
        predictor.glance(photo)
        rows["direct turn"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        encoded = predictor.set_image(photo)
        turns = [ChatTurn("user", "Please segment the anomalies and explain."), ChatTurn("assistant", ANCHOR_TEXT)]
        ids = predictor.expand(encode_chat(tokenizer, turns).input_ids)
        prefix = predictor.read(ids, encoded, anchors=True)
        predictor.decode(prefix, encoded)
        words = sum(1 for _ in predictor.generate(prefix, encoded, NEW_TOKENS))
        rows["explaining turn"].append(time.perf_counter() - begun)
    peak = peak_memory_mb(device) * 1e6
    computed = memory_needed(config, "bf16" if device.type == "cuda" else "float32")
    print(f"{args.preset} {args.pixel or ''} on {device}, {words} words in the last explaining turn")
    for name, seconds in rows.items():
        print(f"| {name} | {np.median(seconds[1:]):.2f} s |")
    print(f"| peak memory | {peak / 1e9:.1f} GB ({peak / GIB:.1f} GiB; computed: {computed / GIB:.1f} GiB) |")
    if args.json is not None:
        values = {name: seconds[1:] for name, seconds in rows.items()}
        args.json.write_text(json.dumps(values | {"peak_bytes": peak, "computed_bytes": computed}, indent=1) + "\n")


if __name__ == "__main__":
    main()

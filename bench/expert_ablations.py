"""Train Anomaly-OV nano's variants (whole, w/o look-back, w/o embeddings) for the same steps, and print a table.

The eyes look at each image once; an image takes about 1.3 MB of memory. Nothing of the bundled expert is changed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from agvas_core.checkpoint import load_checkpoint
from agvas_core.evaluation.held_out import held_out_batches
from agvas_core.modeling.expert_eyes import bundled_expert_config
from agvas_core.training.expert_ablations import VARIANTS, ablation_table, judge, learn, see, variant
from agvas_core.training.sources import ImageSource, SourceOptions

ROOT = Path(__file__).resolve().parent.parent


def made(options: SourceOptions, images: int, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield new training images until there are as many as wanted."""
    source, step = ImageSource(options, seed=seed), 0
    while images > 0:
        one = source.batch(step, batch)
        yield one.images[:images], one.gt_mask[:images]
        images, step = images - len(one.images), step + 1


def main() -> None:
    """Train, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=ROOT / "checkpoints" / "agvas-nano")
    parser.add_argument("--images", type=int, default=2048, help="training images")
    parser.add_argument("--held-out", type=int, default=512, help="images to judge on")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--textures", type=Path, default=None)
    parser.add_argument("--real", type=Path, default=None)
    parser.add_argument("--semantic-only", action="store_true", help="the four levels of the paper, nothing else")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="with commas")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "expert_ablations.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_checkpoint(options.model)[0]
    whole = bundled_expert_config(model.config, use_pixel=not options.semantic_only)
    configs = {name: variant(whole, name) for name in options.variants.split(",")}
    source = SourceOptions(sizes_px=(256,), textures=options.textures, real=options.real, passes=1)
    with tqdm(total=options.images + options.held_out, unit="image") as bar:
        seen = see(model, whole, made(source, options.images, options.batch, options.seed + 2), bar.update)
        held_out = see(model, whole, ((b.images, b.gt_mask) for b in held_out_batches(options.held_out)), bar.update)
    results = {}
    for name, config in configs.items():
        with tqdm(total=options.steps, unit="step", desc=name) as bar:
            expert = learn(
                config,
                seen,
                steps=options.steps,
                batch=options.batch,
                lr=options.lr,
                seed=options.seed,
                progress=bar.update,
            )
        results[name] = judge(expert, held_out)
    print(ablation_table(results, options.steps, len(seen)))
    told = {"steps": options.steps, "images": len(seen), "held_out": len(held_out), "batch": options.batch}
    told |= {"lr": options.lr, "seed": options.seed, "semantic_only": options.semantic_only, "results": results}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

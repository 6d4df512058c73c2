"""What a turn costs by stage: a naive path and ours on the same inputs in one run, and the floor of this device.

    python bench/serving.py                                   the bundled model on the CPU
    python bench/serving.py --sizes 512 1024 2048 4096 --users 1 4 16
    python bench/serving.py --check --image-px 256            only the ratios that must hold (make bench-cpu)
    python bench/serving.py --preset onevision-7b --random-weights --device cuda --dtype bf16

Naive: the image is decoded and encoded anew in each turn (pixel encoder in fp32), the fixed answer is decoded token by
token, nothing is kept. Ours: one pass over prompt and answer; features and read chats are kept. Seconds are medians of
the wall clock; "busy" is the time of all processors, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(Path(__file__).resolve().parent), str(ROOT)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from serving_parts.explain import measure_explain  # noqa: E402
from serving_parts.plot import draw_sizes  # noqa: E402
from serving_parts.stages import STAGES, Cost, ceilings, floor_s  # noqa: E402
from serving_parts.turns import Bench, photo_bytes, question  # noqa: E402
from serving_parts.users import measure_users  # noqa: E402

from agvas_core import load_engine  # noqa: E402
from agvas_core.checkpoint import token_ids_of  # noqa: E402
from agvas_core.config import get_preset  # noqa: E402
from agvas_core.engines.agvas import AGVASEngine  # noqa: E402
from agvas_core.memory import check_memory, peak_memory_mb  # noqa: E402
from agvas_core.modeling import beside, static_words  # noqa: E402
from agvas_core.modeling.agvas import AGVAS  # noqa: E402
from agvas_core.processing import open_image  # noqa: E402
from agvas_core.tokenizer import build_tokenizer  # noqa: E402

EXAMPLE = ROOT / "assets" / "examples" / "hex-nut.jpg"
PATHS = ("naive", "naive, KV cache in the reply", "ours, new image", "ours, seen image")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# What must hold on any machine, in processor time: (the slower, the faster, how many times)
BARS = (("naive", "ours, seen image", 4.0), ("naive", "ours, new image", 1.5))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="agvas-nano", help="a trained AG-VAS engine or checkpoint folder")
    parser.add_argument("--preset", help="instead of an engine: a preset with random weights")
    parser.add_argument("--pixel", help="another pixel encoder for the preset, as dinov3-l")
    parser.add_argument("--random-weights", action="store_true", help="must be given with --preset")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32", help="of a preset's weights; of autocast on a CPU")
    parser.add_argument("--threads", type=int, help="of a CPU; by default what torch takes")
    parser.add_argument(
        "--looks",
        choices=("one", "served"),
        default="one",
        help="one: the paper's; served: also the bundled model's turned and smaller looks, which both paths then take",
    )
    parser.add_argument("--image-px", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--sizes", type=int, nargs="*", default=[], help="also the cost against these sizes, px")
    parser.add_argument("--users", type=int, nargs="*", default=[], help="also so many conversations at once")
    parser.add_argument(
        "--clock", choices=("wall", "busy"), default="wall", help="in tables by stage: busy where others run programs"
    )
    parser.add_argument("--plot", type=Path, help="with --sizes: write the plot there, as assets/serving_size.png")
    parser.add_argument("--no-graphs", action="store_true", help="on CUDA: no static cache and no graphs for words")
    parser.add_argument("--one-stream", action="store_true", help="on CUDA: the pixel encoder on no stream of its own")
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("--check", action="store_true", help="measure the paths only, and fail when a ratio is missed")
    options = parser.parse_args(argv)
    if bool(options.preset) != options.random_weights:
        parser.error("--preset and --random-weights go together")
    return options


def make_engine(options: argparse.Namespace) -> AGVASEngine:
    """Return the engine that is measured."""
    if not options.preset:
        engine = load_engine(options.engine)
        assert isinstance(engine, AGVASEngine), "only AG-VAS engines have these stages"
        # a part just at its peak would fall on either side in bfloat16 and fp32, and the maps could not be compared
        engine.predictor.model.config = replace(engine.predictor.model.config, serving_peak=0.5)
        if options.looks == "one":
            as_paper = replace(engine.predictor.model.config, serving_also=(), serving_outline=0.0)
            engine.predictor.model.config = as_paper
        return engine
    config, device = get_preset(options.preset, options.pixel), torch.device(options.device)
    check_memory(config, "bf16" if options.dtype == "bf16" else "float32", device=options.device)
    tokenizer = build_tokenizer(talks=200)
    torch.manual_seed(0)
    torch.set_default_dtype(DTYPES[options.dtype])
    try:
        with device:
            model = AGVAS(config, token_ids_of(tokenizer))
    finally:
        torch.set_default_dtype(torch.float32)
    name = f"{options.preset}, random weights"
    return AGVASEngine.of(
        model, tokenizer, engine_id=name, name=name, device=options.device, weights="UNTRAINED (random)", trained=False
    )


def measure_paths(bench: Bench, image_px: int, repeats: int, first: int = 0) -> dict[str, dict[str, Any]]:
    """Return for each path its medians by stage; the paths take turns, each repeat has a picture of its own."""
    found: dict[str, list[dict[str, Cost]]] = {name: [] for name in PATHS}
    counted: dict[str, dict[str, Cost]] = {}
    apart = 0.0
    for i in range(first, first + repeats + 2):  # the first warms up, the second counts FLOPs and bytes
        data, counts = photo_bytes(EXAMPLE, image_px, i), i == first + 1
        image = bench.open(data)
        masks = {}
        for name in PATHS:
            bench.clock.reset()
            bench.clock.on = True
            with bench.clock.counting() if counts else nullcontext(), bench.clock.stage("other"):
                if name.startswith("naive"):
                    masks[name] = bench.naive(data, question(2 * i), cache="KV" in name)
                elif name == "ours, new image":
                    masks[name] = bench.new(data, question(2 * i))
                else:
                    bench.seen(image, question(2 * i + 1))
            bench.clock.on = False
            if counts:
                counted[name] = bench.clock.costs
            elif i > first:
                found[name].append(bench.clock.costs)
        apart = max(apart, float(np.abs(masks["naive"].anomaly_map - masks["ours, new image"].anomaly_map).max()))
    result: dict[str, dict[str, Any]] = {}
    for name in PATHS:
        stages = {}
        for stage in (*STAGES, "other"):
            runs = [costs.get(stage, Cost()) for costs in found[name]]
            known = counted[name].get(stage, Cost())
            stages[stage] = Cost(
                median(r.seconds for r in runs), median(r.busy_s for r in runs), known.flops, known.moved
            )
        totals = [sum(c.seconds for c in costs.values()) for costs in found[name]]
        busy = [sum(c.busy_s for c in costs.values()) for costs in found[name]]
        result[name] = {"stages": stages, "total_s": median(totals), "busy_s": median(busy)}
    result["ours, new image"]["apart_from_naive"] = apart
    return result


def print_paths(paths: dict[str, dict[str, Any]], rates: dict[str, float], clock: str) -> None:
    """Print the table by stage, each with its floor, in ms."""
    print(f"| stage, ms {clock} (floor) | {' | '.join(PATHS)} |\n|---|{'---:|' * len(PATHS)}")
    for stage in (*STAGES, "other"):
        cells = []
        for name in PATHS:
            cost: Cost = paths[name]["stages"][stage]
            floor = f" ({1e3 * floor_s(stage, cost, rates):.2f})" if cost.flops or cost.moved else ""
            cells.append(f"{1e3 * _shown(cost, clock):.1f}{floor}" if cost.seconds else "-")
        print(f"| {stage} | {' | '.join(cells)} |")
    floors = [sum(floor_s(s, c, rates) for s, c in paths[name]["stages"].items()) for name in PATHS]
    totals = [f"{1e3 * paths[n]['total_s']:.1f} ({1e3 * f:.1f})" for n, f in zip(PATHS, floors, strict=True)]
    print(f"| **turn** | {' | '.join(totals)} |")
    print(_row("processors busy", [1e3 * paths[n]["busy_s"] for n in PATHS]))
    for key, label in (("total_s", "times faster than naive"), ("busy_s", "the same in processor time")):
        print(_row(label, [paths["naive"][key] / paths[n][key] for n in PATHS]))
    apart = paths["ours, new image"]["apart_from_naive"]
    print(f"largest difference between the maps of the naive path and ours: {apart:.1e}")


def _shown(cost: Cost, clock: str) -> float:
    return cost.busy_s if clock == "busy" else cost.seconds


def _row(label: str, values: list[float]) -> str:
    return f"| {label} | {' | '.join(f'{value:.1f}' for value in values)} |"


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, and return what was measured."""
    options = arguments(argv)
    device, dtype = torch.device(options.device), DTYPES[options.dtype]
    if options.threads:
        torch.set_num_threads(options.threads)
    for name, off in ((static_words.SWITCH, options.no_graphs), (beside.SWITCH, options.one_stream)):
        if off:
            os.environ[name] = "0"
    engine = make_engine(options)
    photo = open_image(EXAMPLE)
    bench = Bench(engine, threshold=1.0 if options.preset else 0.5)
    rates = ceilings(device, dtype)
    again = ceilings(device, dtype)  # another program may have run meanwhile
    rates = {key: max(rate, again[key]) for key, rate in rates.items()}
    half_on_cpu = device.type == "cpu" and not options.preset and dtype == torch.bfloat16
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{engine.card.name} on {name}, {options.dtype}; image {options.image_px} px; medians of {options.repeats}")
    if bench.serves_half:
        print("ours: the pixel encoder in bfloat16, which this processor has; naive: in fp32")
    print(f"looks at an image: {1 + len(engine.predictor._look_again(photo))}")
    print(", ".join(f"{key} {rate / 1e9:.0f} G/s" for key, rate in rates.items()), "\n", flush=True)
    report: dict[str, Any] = {
        "engine": engine.card.name,
        "device": name,
        "dtype": options.dtype,
        "looks": options.looks,
    }
    report["ceilings"] = rates
    try:
        with torch.autocast("cpu", dtype) if half_on_cpu else nullcontext():
            paths = measure_paths(bench, options.image_px, options.repeats)
            print_paths(paths, rates, options.clock)
            report["image_px"], report["paths"] = options.image_px, paths
            if options.check:
                check(paths)
            else:
                report["explain"] = measure_explain(bench, EXAMPLE, options.image_px, min(options.repeats, 5))
                print("\nexplain:", ", ".join(f"{k} {v:.4g}" for k, v in report["explain"].items()), flush=True)
            if options.sizes:
                report["sizes"] = measure_sizes(bench, options, rates)
    finally:
        bench.close()
    if options.users:
        report["users"] = measure_users(
            engine, EXAMPLE, options.image_px, options.users, bench.threshold, min(options.repeats, 3)
        )
        heads = ("conversations", "way", "turns/s", "busy s a turn", "direct p50, s", "p95, s", "explain, mask p95, s")
        print(f"\n| {' | '.join(heads)} |\n|---:|---|{'---:|' * 5}")
        for row in report["users"]:
            print("| " + " | ".join(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
    words = engine.predictor.static_words
    report |= {"graphs": words is not None and not words.failed, "side_stream": bench.model.beside.wanted}
    report["cpu_bf16"] = bench.serves_half
    print("\nwords by CUDA graphs: {graphs}; a stream for the pixel encoder: {side_stream}".format(**report), end="")
    report["peak_memory_mb"] = peak_memory_mb(device)
    print(f"\npeak memory {report['peak_memory_mb']:.0f} MB")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1, default=asdict) + "\n")
    return report


def measure_sizes(bench: Bench, options: argparse.Namespace, rates: dict[str, float]) -> dict[int, Any]:
    """Measure, print and draw the cost against the image's size."""
    found = {px: measure_paths(bench, px, min(options.repeats, 5), 100 * px) for px in options.sizes}
    print(
        "\n| image, px | path | "
        + " | ".join(STAGES)
        + " | turn, ms | floor, ms |\n|---:|---|"
        + "---:|" * (len(STAGES) + 2)
    )
    bars = []
    for px, paths in found.items():
        for name in PATHS[2:]:
            costs = paths[name]["stages"]
            floor = sum(floor_s(s, c, rates) for s, c in costs.items())
            stages = {s: _shown(costs[s], options.clock) for s in STAGES}
            total = sum(_shown(c, options.clock) for c in costs.values())
            cells = " | ".join(f"{1e3 * value:.1f}" for value in stages.values())
            print(f"| {px} | {name} | {cells} | {1e3 * total:.0f} | {1e3 * floor:.1f} |", flush=True)
            bars.append({"label": f"{px} px, {name.removeprefix('ours, ')}", "stages": stages})
    if options.plot:
        time = "processor time" if options.clock == "busy" else "wall time"
        draw_sizes(bars, STAGES, f"A direct turn by image size, {time}: {bench.engine.card.name}", options.plot)
    return found


def check(paths: dict[str, dict[str, Any]]) -> None:
    """Exit with a sentence when a path is not as many times faster as it must be, whatever the machine's speed."""
    tokens = sum(paths["naive, KV cache in the reply"]["stages"][s].busy_s for s in ("prefill", "decode"))
    one_pass = paths["ours, new image"]["stages"]["prefill"].busy_s
    ratios = [(f"{slow} / {fast}", paths[slow]["busy_s"] / paths[fast]["busy_s"], bar) for slow, fast, bar in BARS]
    ratios += [
        ("new / seen image (caches)", paths["ours, new image"]["busy_s"] / paths["ours, seen image"]["busy_s"], 1.3),
        ("token loop with a KV cache / one pass", tokens / one_pass, 1.5),
    ]
    print()
    for what, ratio, bar in ratios:
        print(f"{what}: {ratio:.1f} (at least {bar:g}) {'ok' if ratio >= bar else 'MISSED'}")
    missed = [what for what, ratio, bar in ratios if ratio < bar]
    if missed:
        raise SystemExit(f"Slower than it must be, in processor time: {'; '.join(missed)}.")


if __name__ == "__main__":
    main()

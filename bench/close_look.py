"""Is a tiny defect on a large photograph found? With and without a look in tiles: recall, F1-max, seconds, memory.

`python bench/close_look.py [--images 3] [--side 2048]` prints a table and writes bench/results/close_look.json. The
images are made: plain surfaces with scratches, pits, holes, stains of 0.02 to 0.3 % of the area, and one without any.
Seams between tiles are looked for, too. Each way runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
from quality_parts.options import about, parser_of, plain, start, write

from agvas_core import Request, open_image
from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.ask import ask
from agvas_core.evaluation.close_look import false_regions, found_defects, large_scene, seams
from agvas_core.evaluation.held_out import HELD_OUT_SEED
from agvas_core.evaluation.metrics import MetricsMeter
from agvas_core.views import tiles

WAYS = {"whole image": False, "close look": True}


def make(count: int, side: int) -> list:
    """Return `count` scenes with defects and one without."""
    return [large_scene(HELD_OUT_SEED + i, side, 6 if i < count else 0) for i in range(count + 1)]


def measure(options: argparse.Namespace, scenes: list, close: bool) -> dict[str, Any]:
    """Return the numbers of one way; the last scene is normal."""
    engine = start(options)
    assert isinstance(engine, AGVASEngine)
    small = open_image(np.full((64, 64, 3), 128, dtype=np.uint8))
    ask(engine, small, Request("", mode="direct"))  # what is done once is done
    meter, found, sizes, wrong = MetricsMeter(), [], [], 0
    seconds, busy, joints = [], [], []
    for scene in scenes:
        image = open_image(scene.rgb, scene.surface)
        begun, worked = time.perf_counter(), time.process_time()
        prediction = ask(engine, image, Request("", mode="direct", close=close)).prediction
        seconds.append(time.perf_counter() - begun)
        busy.append(time.process_time() - worked)
        assert prediction is not None
        wrong += false_regions(prediction, scene.labels)
        meter.update(prediction, scene.labels > 0)
        if close:
            boxes = [view.box_xyxy for view in tiles(image.size_hw, engine.predictor.model.config.serving_px)]
            joints.append(seams(prediction.anomaly_map, boxes))
        found += found_defects(prediction.pred_mask, scene.labels)
        sizes += (np.bincount(scene.labels.ravel())[1:] / scene.labels.size).tolist()
    return {
        "masks": meter.compute(),
        "defects": len(found),
        "found": float(np.mean(found)) if found else float("nan"),
        "smallest_found": min((s for s, hit in zip(sizes, found, strict=True) if hit), default=float("nan")),
        "false_regions_per_image": wrong / len(scenes),
        "seconds": float(np.median(seconds)),
        "processor_seconds": float(np.median(busy)),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "seams": joints,
        "about": about(engine, options),
    }


def in_own_process(work, *arguments):
    """Return work(*arguments), done in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def main(arguments: list[str] | None = None) -> dict:
    """Measure and print."""
    parser = parser_of(__doc__, limit=None, synthesis=0, data=False)
    parser.add_argument("--images", type=int, default=3, help="with defects; one more is normal")
    parser.add_argument("--side", type=int, default=2048, help="px")
    options = parser.parse_args(arguments)
    scenes = in_own_process(make, options.images, options.side)
    rows = {name: in_own_process(measure, options, scenes, close) for name, close in WAYS.items()}
    values = {"about": rows["whole image"].pop("about"), "ways": rows}
    rows["close look"].pop("about")
    print(table(plain(rows)))
    print("\nSeams: steps of the map across tile borders and elsewhere, image by image, the normal one last")
    for joint in rows["close look"]["seams"]:
        print(
            f"  largest {joint.at_borders:.4f}, elsewhere {joint.elsewhere:.4f}; median of the lines' mean steps "
            f"{joint.typical_at_borders:.6f}, elsewhere {joint.typical_elsewhere:.6f}"
        )
    print(f"\nNumbers: {write(values, options, 'close_look')}")
    return plain(values)


def table(rows: dict[str, dict]) -> str:
    """Return one row a way, markdown."""
    lines = [
        "| | defects | found, % | smallest found, % of the area | F1-max | AP | "
        "false regions/image | s/image | processor s/image | peak MB |",
        "|---|" + "---:|" * 9,
    ]
    for name, row in rows.items():
        shares = (row["masks"]["f1_max"], row["masks"]["ap"])
        f1_max, ap = ("-" if value is None else f"{100 * value:.1f}" for value in shares)
        share, least = ("-" if row[key] is None else f"{100 * row[key]:.3g}" for key in ("found", "smallest_found"))
        lines.append(
            f"| {name} | {row['defects']} | {share} | {least} | {f1_max} | {ap} | "
            f"{row['false_regions_per_image']:.1f} | {row['seconds']:.1f} | {row['processor_seconds']:.1f} | "
            f"{row['peak_memory_mb']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

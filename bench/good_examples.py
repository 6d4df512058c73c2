"""What good examples give: each category's images, compared with none, one, two, four or eight of its good ones.

`python bench/good_examples.py [--data ROOT] [--draws 3]` prints a table for each category that has enough good images.
Which ones are compared with is drawn anew for each draw; those of a draw's largest row are measured in none of its
rows, so that all rows of a draw are of the same images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
from quality_parts.options import about, parser_of, shown, start, write

from agvas_core.engines.ask import predictor
from agvas_core.evaluation.items import LabelledImage, folder_items
from agvas_core.evaluation.metrics import MetricsMeter, SetMetrics
from agvas_core.structures import Request

COLUMNS = {
    "AP": "ap",
    "F1-max": "f1_max",
    "F1 at 0.5": "f1",
    "IoU_ano": "iou_ano",
    "IoU_nor": "iou_nor",
    "AUROC": "auroc",
}


def main(arguments: list[str] | None = None) -> dict:
    """Measure and print."""
    parser = parser_of(__doc__, limit=None, synthesis=0)
    parser.add_argument("--shots", default="0,1,2,4,8", help="good examples of each row (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=3, help="how often they are drawn (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.data is None:
        raise SystemExit("--data is needed: a folder in MVTec layout with good images.")
    shots = sorted({int(count) for count in options.shots.split(",")})
    engine = start(options)
    predict = predictor(engine, Request("", mode="direct"))
    values: dict = {"about": about(engine, options)}
    by_category: dict[str, list[LabelledImage]] = {}
    for item in folder_items(options.data, options.limit):
        by_category.setdefault(item.category, []).append(item)
    for category, items in by_category.items():
        good = [item for item in items if not item.gt_mask.any()]
        if len(good) <= shots[-1]:
            print(f"\n{category}: {len(good)} good images, too few.")
            continue
        measured: dict[int, list[SetMetrics]] = {count: [] for count in shots}
        for draw in range(options.draws):
            drawn = np.random.default_rng(draw).choice(len(good), shots[-1], replace=False)
            examples = [good[i].image for i in drawn]
            used = {example.image_id for example in examples}
            meters = {count: MetricsMeter() for count in shots}
            rest = [item for item in items if item.image.image_id not in used]
            for item in shown(rest, f"{category}, draw {draw + 1}"):
                for count, meter in meters.items():
                    meter.update(predict(item.image, good=examples[:count]), item.gt_mask)
            for count, meter in meters.items():
                measured[count].append(meter.compute())
        rows = {count: _mean(draws) for count, draws in measured.items()}
        print(f"\n{category}, mean of {options.draws} draws\n\n{table(rows)}")
        values[category] = {str(count): row for count, row in rows.items()}
    print(f"\nNumbers: {write(values, options, 'good_examples')}")
    return values


def table(rows: Mapping[int, Mapping[str, float]]) -> str:
    """Return the rows as a markdown table, in per cent."""
    lines = [f"| good examples | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for count, row in rows.items():
        lines.append(f"| {count or 'none'} | {' | '.join(f'{100 * row[name]:.1f}' for name in COLUMNS.values())} |")
    return "\n".join(lines)


def _mean(draws: list[SetMetrics]) -> dict[str, float]:
    return {f.name: float(np.mean([getattr(one, f.name) for one in draws])) for f in fields(SetMetrics)}


if __name__ == "__main__":
    main()

"""False alarms on normal images: held-out synthesis, the good images of a folder, photographs that nobody labelled.

`python bench/false_alarms.py [--synthesis 300] [--data ROOT] [--limit N] [--crop 256] [--close]` prints a table and
writes bench/results/false_alarms.json. The photographs are brick, grass and gravel of scikit-image (CC0), which
its wheel holds; nothing is downloaded. Whether a model has seen them as backgrounds is said by `--seen`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quality_parts.options import about, parser_of, shown, start, write

from agvas_core import Request, open_image
from agvas_core.engines.ask import predictor
from agvas_core.evaluation.false_alarms import crops, false_alarm_table, measure_false_alarms
from agvas_core.evaluation.items import folder_items, synthetic_items
from agvas_core.structures import InspectionImage

PHOTOGRAPHS = ("brick", "grass", "gravel")


def photographs() -> list[InspectionImage]:
    """Return scikit-image's normal surfaces, 512 x 512 px; [] where it is not installed."""
    try:
        from skimage import data
    except ImportError:
        return []
    return [open_image(getattr(data, name)(), name) for name in PHOTOGRAPHS]


def main(arguments: list[str] | None = None) -> dict:
    """Measure and print."""
    parser = parser_of(__doc__, limit=None, synthesis=300)
    parser.add_argument("--crop", type=int, default=256, help="side of the photographs' crops, px")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--close", action="store_true", help="look in tiles, too")
    parser.add_argument("--seen", action="store_true", help="the photographs were among the model's backgrounds")
    options = parser.parse_args(arguments)
    engine = start(options)
    groups: dict[str, Iterable[InspectionImage]] = {"held-out synthesis": _normal_synthesis(options.synthesis)}
    good: dict[str, list[InspectionImage]] = {}
    if options.data is not None:
        for item in folder_items(options.data, options.limit, only_good=True):
            good.setdefault(f"{item.category}, good", []).append(item.image)
    groups.update(good)
    note = " (seen as backgrounds in training)" if options.seen else ""
    wholes = photographs()
    for photo in wholes:
        groups[f"{photo.name}, whole{note}"] = [photo]
        groups[f"{photo.name}, crops of {options.crop} px{note}"] = list(crops(photo, options.crop))
    request = Request("", mode="direct", threshold=options.threshold, close=options.close)
    measured = measure_false_alarms(
        predictor(engine, request), {name: shown(images, name) for name, images in groups.items()}
    )
    print(false_alarm_table(measured))
    if not wholes:
        print("\nscikit-image is not installed (pip install -e '.[dev]'): its photographs were left out.")
    values = {"about": about(engine, options), "groups": measured}
    print(f"\nNumbers: {write(values, options, 'false_alarms')}")
    return values


def _normal_synthesis(count: int) -> Iterator[InspectionImage]:
    return (item.image for item in synthetic_items(count) if not item.gt_mask.any())


if __name__ == "__main__":
    main()

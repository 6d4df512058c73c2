"""Pictures of where the model fails: of each category, the worst false alarm and the worst miss.

`python bench/failures.py --synthesis 150 --each 4 --out checkpoints/agvas-nano` writes the picture that the model card
shows, of held-out synthesis; with `--data ROOT` of photographs, too: not to be published where their licence forbids
it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quality_parts.options import RESULTS, about, parser_of, shown, start, write
from quality_parts.sheet import write_sheet

from agvas_core import Request
from agvas_core.engines.ask import predictor
from agvas_core.evaluation.failures import find_failures
from agvas_core.evaluation.items import LabelledImage, folder_items, synthetic_items


def main(arguments: list[str] | None = None) -> Path:
    """Find, draw and print."""
    parser = parser_of(__doc__, limit=20, synthesis=0)
    parser.set_defaults(data=None)  # a picture that may be committed, unless photographs are asked for
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of failures.png")
    parser.add_argument("--each", type=int, default=1, help="failures of each kind and category")
    parser.add_argument("--threshold", type=float, default=0.5)
    options = parser.parse_args(arguments)
    if options.data is None and not options.synthesis:
        options.synthesis = 100
    engine = start(options)
    predict = predictor(engine, Request("", mode="direct", threshold=options.threshold))
    failures = find_failures(predict, shown(images(options), "failures"), options.each)
    if not failures:
        raise SystemExit("No failure: every mask is exactly right.")
    title = "Largest false alarms and misses at threshold {:g}: image | truth (blue) | map, mask (white)"
    path = options.out / "failures.png"
    size_kb = write_sheet(failures, path, title.format(options.threshold))
    for failure in failures:
        print(f"{failure.item.category:36} {failure.kind:12} {100 * failure.share:6.2f} %  {failure.item.name}")
    rows = [{"category": f.item.category, "name": f.item.name, "kind": f.kind, "share": f.share} for f in failures]
    write({"about": about(engine, options), "failures": rows}, options, "failures")
    print(f"\n{path}: {size_kb} KB")
    return path


def images(options) -> Iterator[LabelledImage]:
    """Yield the images that are asked for."""
    yield from synthetic_items(options.synthesis)
    if options.data is not None:
        yield from folder_items(options.data, options.limit)


if __name__ == "__main__":
    main()

"""Quality against images seen and against parameters, and how many images the bar would take at that rate.

`python bench/scale.py [--log NAME=runs/x/dense/log.jsonl@SEEN_BEFORE ...] [--points FILE] [--fit NAME] [--out DIR]`
draws DIR/scale.png and writes DIR/scale.json; `--out assets` for what is committed. The line, value = a + b
log10(images), goes through the series of --fit only (by default the last one with three points), for series differ in
what they are measured on: bench/scale_points.json says on what.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path

from quality_parts.curve import draw_panels
from quality_parts.options import RESULTS, ROOT, plain

from agvas_core.evaluation.scaling import Fit, Point, fit_line, read_log

BARS = {"F1_max": 60.0, "AP": 80.0, "IoU_ano": 62.0}
LEAST_POINTS = 3


def main(arguments: list[str] | None = None) -> dict:
    """Fit, draw and print."""
    options = parse(arguments)
    series: dict[str, list[Point]] = {}
    sizes: dict[str, float] = {}
    for row in json.loads(options.points.read_text())["series"]:
        points = [Point(p["images"], p[options.metric]) for p in row["points"] if options.metric in p]
        if points:
            series[row["name"]], sizes[row["name"]] = points, row["parameters"]
    for text in options.log:
        name, path, before = log_of(text)
        series[name] = read_log(path, options.metric, before)
        sizes[name] = options.parameters
    series = {name: points for name, points in series.items() if points}
    enough = [name for name, points in series.items() if len(points) >= LEAST_POINTS]
    fitted = options.fit or enough[-1:]
    unknown = set(fitted) - set(series)
    if unknown:
        raise SystemExit(f"There is no series {', '.join(sorted(unknown))}; there are: {', '.join(series)}.")
    fit = fit_line([p for name in fitted for p in series[name]]) if fitted else None
    bar = BARS[options.metric] if options.bar is None else options.bar
    by_size = {name: [Point(sizes[name], max(p.value for p in points))] for name, points in series.items()}
    draw_panels(series, by_size, fit, bar, options.metric, options.out / "scale.png")
    values = {"metric": options.metric, "bar": bar, "fitted": fitted, "fit": fit, "series": series, "parameters": sizes}
    if fit is not None:
        values["images_for_bar"] = images_range(fit, bar)
        print(sentence(fit, bar, options.metric, fitted))
    (options.out / "scale.json").write_text(json.dumps(finite(plain(values)), indent=1) + "\n", encoding="utf-8")
    print(f"{options.out / 'scale.png'}, {options.out / 'scale.json'}")
    return values


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", action="append", default=[], help="NAME=PATH@IMAGES_SEEN_BEFORE, any number of them")
    parser.add_argument("--points", type=Path, default=ROOT / "bench" / "scale_points.json")
    parser.add_argument("--fit", action="append", default=[], help="name of a series that the line goes through")
    parser.add_argument("--metric", choices=tuple(BARS), default="F1_max")
    parser.add_argument("--bar", type=float, help="what is wanted, per cent (default: the project's)")
    parser.add_argument("--parameters", type=float, default=22.6e6, help="of the models of --log")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of scale.png and scale.json")
    return parser.parse_args(arguments)


def log_of(text: str) -> tuple[str, str, float]:
    """Return name, path and images seen before from NAME=PATH@IMAGES; both ends may be left out."""
    match = re.fullmatch(r"(?:(?P<name>[^=]+)=)?(?P<path>.+?)(?:@(?P<before>[\d_,]+))?", text)
    assert match is not None, text
    before = re.sub(r"[_,]", "", match["before"] or "0")
    return match["name"] or "/".join(Path(match["path"]).parts[-3:-1]), match["path"], float(before)


def images_range(fit: Fit, bar: float) -> tuple[float, float, float]:
    """Return the images for the bar by the line, and by the slopes a standard error steeper and flatter."""
    error = 0.0 if math.isnan(fit.error) else fit.error
    return tuple(fit.images_for(bar, fit.per_decade + sign * error) for sign in (0, 1, -1))  # type: ignore[return-value]


def sentence(fit: Fit, bar: float, metric: str, fitted: list[str]) -> str:
    """Return what the line says."""
    best, low, high = (f"{v:,.2g} images" if v < 1e12 else "never" for v in images_range(fit, bar))
    error = "" if math.isnan(fit.error) else f" +- {fit.error:.1f}"
    return (
        f"{metric} of {', '.join(fitted)}: {fit.per_decade:+.1f}{error} per ten times the images ({fit.points} points, "
        f"{fit.first:,.0f} to {fit.last:,.0f}); {bar:g} at {best} (from {low} to {high}), if the line went on"
    )


def finite(value):
    """Return a value whose infinities are None, for JSON."""
    if isinstance(value, dict):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, list):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and math.isinf(value) else value


if __name__ == "__main__":
    main()

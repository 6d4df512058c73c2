"""Quality against images and against parameters, drawn with Pillow: points, a line, the bar."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from agvas_core.evaluation.scaling import Fit, Point

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")  # Okabe-Ito
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 700, 460, 60, 24, 46, 52
LEGEND_PX, DOT_PX = 22, 4


@dataclass(frozen=True)
class Axes:
    """Where values lie: x on a logarithmic scale, y linear from 0; left: of the panel, px."""

    left: int
    low: float
    high: float
    top: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel of a point."""
        share = (math.log10(x) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        bottom = HEIGHT - BOTTOM
        return self.left + LEFT + share * (WIDTH - LEFT - RIGHT), bottom - (bottom - TOP) * y / self.top


def draw_panels(
    by_images: dict[str, list[Point]],
    by_parameters: dict[str, list[Point]],
    fit: Fit | None,
    bar: float,
    metric: str,
    path: Path,
) -> None:
    """Write a PNG of two panels; in by_parameters, a point's `images` are its model's parameters."""
    names = list(by_images)
    picture = Image.new("RGB", (2 * WIDTH, HEIGHT + LEGEND_PX * -(-len(names) // 2) + 12), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    for left, groups, line, title in (
        (0, by_images, fit, f"held-out {metric}, %, against images seen"),
        (WIDTH, by_parameters, None, f"held-out {metric}, %, against parameters"),
    ):
        points = [p for group in groups.values() for p in group]
        reach = [p.images for p in points] + ([_end(line, bar)] if line is not None else [])
        low, high = 10 ** math.floor(math.log10(min(reach))), 10 ** math.ceil(math.log10(max(reach) * 1.001))
        axes = Axes(left, low, high, max(100.0 if bar > 80 else bar * 1.15, 1.1 * max(p.value for p in points)))
        _frame(draw, axes, bar, title, font)
        if line is not None:
            _dashes(draw, axes, line, _end(line, bar))
        for name, group in groups.items():
            for p in group:
                x, y = axes.at(p.images, p.value)
                colour = COLOURS[names.index(name) % len(COLOURS)]
                draw.ellipse((x - DOT_PX, y - DOT_PX, x + DOT_PX, y + DOT_PX), fill=colour)
    for n, name in enumerate(names):
        x, y = 20 + (n % 2) * WIDTH, HEIGHT + LEGEND_PX * (n // 2)
        draw.rectangle((x, y + 3, x + 12, y + 15), fill=COLOURS[n % len(COLOURS)])
        draw.text((x + 20, y), name, fill="black", font=font)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)


def _end(fit: Fit, bar: float) -> float:
    """Return where the line is drawn to: the bar, but at most a thousand times the images seen."""
    return min(max(fit.images_for(bar), fit.last), 1000 * fit.last)


def _frame(draw: ImageDraw.ImageDraw, axes: Axes, bar: float, title: str, font) -> None:
    draw.text((axes.left + LEFT, 14), title, fill="black", font=font)
    for value in range(0, int(axes.top) + 1, 10):
        x0, y = axes.at(axes.low, value)
        draw.line((x0, y, axes.at(axes.high, value)[0], y), fill="#dddddd")
        draw.text((x0 - 32, y - 8), str(value), fill="black", font=font)
    for power in range(round(math.log10(axes.low)), round(math.log10(axes.high)) + 1):
        x, y = axes.at(10**power, 0)
        draw.line((x, y, x, axes.at(10**power, axes.top)[1]), fill="#dddddd")
        draw.text((x - 18, y + 8), f"{10**power:,}" if power < 4 else f"1e{power}", fill="black", font=font)
    x0, y = axes.at(axes.low, bar)
    draw.line((x0, y, axes.at(axes.high, bar)[0], y), fill="black", width=2)
    draw.text((x0 + 6, y - 20), f"bar {bar:g}", fill="black", font=font)


def _dashes(draw: ImageDraw.ImageDraw, axes: Axes, fit: Fit, end: float) -> None:
    """Draw the line dashed; beyond the points it is a guess."""
    start, stop = math.log10(fit.first), math.log10(end)
    for n in range(0, 60, 2):
        a, b = (10 ** (start + (stop - start) * k / 60) for k in (n, n + 1))
        draw.line((*axes.at(a, max(0.0, fit.at(a))), *axes.at(b, max(0.0, fit.at(b)))), fill="#444444", width=2)

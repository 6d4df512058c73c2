"""A turn's seconds against the image's size, stacked by stage, drawn with Pillow."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

# Okabe-Ito and two greys: told apart by people who see fewer colours, too
COLOURS = (
    "#999999", "#56b4e9", "#009e73", "#0072b2", "#cc79a7", "#e69f00", "#f0e442", "#d55e00", "#444444", "#c8c8c8",
)  # fmt: skip
WIDTH, ROW, LEFT, TOP = 1000, 54, 190, 70


def draw_sizes(rows: list[dict], stages: tuple[str, ...], title: str, path: Path) -> None:
    """Write a PNG; rows: "label" and "stages" (seconds by stage)."""
    font, small = ImageFont.load_default(18), ImageFont.load_default(15)
    legend = 26 * -(-len(stages) // 4)
    picture = Image.new("RGB", (WIDTH, TOP + ROW * len(rows) + legend + 34), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((20, 20), title, fill="black", font=font)
    longest = max(sum(row["stages"].values()) for row in rows)
    scale = (WIDTH - LEFT - 110) / longest
    for n, row in enumerate(rows):
        y, x = TOP + n * ROW, float(LEFT)
        draw.text((20, y + 8), row["label"], fill="black", font=small)
        for stage, colour in zip(stages, COLOURS, strict=True):
            width = row["stages"].get(stage, 0.0) * scale
            draw.rectangle((x, y, x + width, y + ROW - 18), fill=colour)
            x += width
        draw.text((x + 8, y + 8), f"{1000 * sum(row['stages'].values()):.0f} ms", fill="black", font=small)
    for n, (stage, colour) in enumerate(zip(stages, COLOURS, strict=True)):
        x, y = 20 + (n % 4) * 240, TOP + len(rows) * ROW + 16 + 26 * (n // 4)
        draw.rectangle((x, y, x + 16, y + 16), fill=colour)
        draw.text((x + 24, y - 1), stage, fill="black", font=small)
    picture.save(path, optimize=True)

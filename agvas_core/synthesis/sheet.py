"""One picture that shows what the synthesis can do: a labelled tile for each surface, object, defect and nuisance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from torch import Generator, Tensor

from agvas_core.synthesis.defects import DEFECTS
from agvas_core.synthesis.generator import visible
from agvas_core.synthesis.lighting import apply_camera, apply_scene
from agvas_core.synthesis.objects import OBJECTS, make_object_scene
from agvas_core.synthesis.surfaces import SURFACES, make_surface

TILE_PX = 144
CAPTION_PX = 16
COLUMNS = 10
OUTLINE_RGB = (255, 40, 80)
MAX_TRIES = 60

Tile = tuple[str, Tensor, Tensor | None]  # caption, image (3, H, W) in [0, 1], mask bool (H, W) or None


def contact_sheet(path: str | Path, seed: int = 0, size: int = 256) -> Path:
    """Draw the sheet and save it as an optimised PNG of 256 colours; returns the path."""
    rng = Generator("cpu").manual_seed(seed)
    sections: list[tuple[str, list[Tile]]] = [
        ("Surfaces", [(name, _clearest(make(4, size, rng)), None) for name, make in SURFACES.items()]),
        ("Objects", _objects(size, rng)),
        ("Defects, outlined", [_defect_tile(kind, size, rng) for kind in DEFECTS for _ in range(2)]),
        ("Normal disturbances", _nuisances(size, rng)),
    ]
    image = _arrange(sections)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    colors = image.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=1)
    image.quantize(palette=colors, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    return path


def _clearest(images: Tensor) -> Tensor:
    """Return the image (3, H, W) of a batch that is neither dark, pale nor flat."""
    means, spread = images.mean((1, 2, 3)), images.std((1, 2, 3)).clamp(max=0.12)
    return images[int((spread - 0.5 * (means - 0.5).abs()).argmax())]


def _objects(size: int, rng: Generator) -> list[Tile]:
    """Draw scenes until each object has been seen once, or patience ends."""
    tiles: dict[str, Tile] = {}
    for _ in range(MAX_TRIES * 4):
        if len(tiles) == len(OBJECTS):
            break
        images, _, _, name = make_object_scene(1, size, rng, None)
        tiles.setdefault(name, (name, images[0], None))
    return [tiles[name] for name in sorted(tiles)]


def _defect_tile(kind: str, size: int, rng: Generator) -> Tile:
    """Draw scenes until the defect is visible on one."""
    for _ in range(MAX_TRIES):
        if torch.rand((), generator=rng) < 0.4:
            images, allowed, *_ = make_object_scene(1, size, rng, None)
        else:
            images, _ = make_surface(1, size, rng, None)
            allowed = torch.ones(1, size, size, dtype=torch.bool)
        after, soft = DEFECTS[kind](images, allowed, rng)
        mask, good = visible(images, after, soft, torch.zeros_like(allowed))
        if good[0]:
            return kind, after[0].clamp(0, 1), mask[0]
    raise AssertionError(f"no visible {kind} in {MAX_TRIES} tries")


def _nuisances(size: int, rng: Generator) -> list[Tile]:
    """Return one tile for each disturbance that came up, where it came up most alone."""
    best: dict[str, tuple[int, Tensor]] = {}
    for _ in range(16):
        clean = _clearest(make_surface(4, size, rng, None)[0])[None].expand(4, -1, -1, -1)
        for apply in (apply_scene, apply_camera):
            images, names = apply(clean, rng)
            for image, found in zip(images, names, strict=True):
                for name in found:
                    if name not in best or len(found) < best[name][0]:
                        best[name] = (len(found), image)
    return [(name, image, None) for name, (_, image) in sorted(best.items())]


def _draw(tile: Tile) -> Image.Image:
    """Return one tile with its outline and caption."""
    caption, image, mask = tile
    rgb = (image.clamp(0, 1).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    picture = Image.fromarray(rgb).resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)
    if mask is not None:
        grown = ndimage.binary_dilation(mask.numpy(), iterations=5)
        edge = grown & ~ndimage.binary_erosion(grown, iterations=2)
        line = Image.fromarray((edge * 255).astype(np.uint8)).resize((TILE_PX, TILE_PX), Image.Resampling.BOX)
        picture.paste(OUTLINE_RGB, mask=line.point(lambda v: min(255, int(v * 1.4))))
    out = Image.new("RGB", (TILE_PX, TILE_PX + CAPTION_PX), "white")
    out.paste(picture, (0, 0))
    ImageDraw.Draw(out).text((2, TILE_PX + 2), caption, fill="black", font=ImageFont.load_default(11))
    return out


def _arrange(sections: list[tuple[str, list[Tile]]]) -> Image.Image:
    """Return the sections below each other, COLUMNS tiles a row."""
    gap, head = 6, 30
    cell = TILE_PX + gap, TILE_PX + CAPTION_PX + gap
    rows = [-(-len(tiles) // COLUMNS) for _, tiles in sections]
    sheet = Image.new("RGB", (COLUMNS * cell[0] + gap, sum(rows) * cell[1] + head * len(sections)), "white")
    top = 0
    for (title, tiles), count in zip(sections, rows, strict=True):
        ImageDraw.Draw(sheet).text((gap, top + 7), title, fill="black", font=ImageFont.load_default(17))
        top += head
        for i, tile in enumerate(tiles):
            sheet.paste(_draw(tile), (gap + (i % COLUMNS) * cell[0], top + (i // COLUMNS) * cell[1]))
        top += count * cell[1]
    return sheet

"""The families of normal surfaces and the draw of one for a batch: a synthetic family or a crop of real photographs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from agvas_core.synthesis import surfaces_grain as grain
from agvas_core.synthesis import surfaces_pattern as pattern
from agvas_core.synthesis.colors import finish, sensor_grain
from agvas_core.synthesis.textures import TextureBank

Surface = Callable[[int, int, Generator], Tensor]

# How often each family is drawn. Patterns whose faults are single elements (dots, grids, weaves) need much practice.
WEIGHTS: dict[Surface, float] = {
    grain.stone: 1.5,
    grain.brushed_metal: 1.2,
    grain.cast_metal: 1.0,
    grain.rolled_steel: 1.6,
    grain.machined_metal: 1.2,
    grain.wood: 1.2,
    grain.marble: 0.8,
    grain.terrazzo: 0.5,
    grain.concrete: 1.2,
    grain.asphalt: 1.3,
    grain.leather: 0.8,
    grain.paper: 0.8,
    grain.cardboard: 0.5,
    grain.tissue: 0.8,
    grain.plastic: 1.0,
    grain.rubber: 0.5,
    grain.painted_metal: 0.8,
    grain.glass: 0.6,
    grain.carpet: 0.9,
    grain.biscuit: 0.6,
    grain.bread: 0.5,
    grain.cork: 0.3,
    grain.plaster: 0.6,
    pattern.woven_fabric: 1.4,
    pattern.knitted_fabric: 0.7,
    pattern.metal_grid: 0.9,
    pattern.wire_mesh: 0.7,
    pattern.dot_plate: 2.4,
    pattern.perforated_sheet: 0.7,
    pattern.checker_plate: 0.3,
    pattern.ceramic_tile: 0.9,
    pattern.brick: 0.6,
    pattern.printed_circuit: 0.9,
    pattern.corrugated_sheet: 0.7,
    pattern.striped_film: 0.5,
}


def _finished(family: Surface) -> Surface:
    """Return the family with grain and tone curve: images in [0, 1]."""

    def surface(b: int, size: int, rng: Generator) -> Tensor:
        return finish(sensor_grain(family(b, size, rng), rng), rng)

    surface.__doc__ = family.__doc__
    return surface


def _name(family: Surface) -> str:
    return family.__name__.replace("_", " ")


SURFACES: dict[str, Surface] = {_name(family): _finished(family) for family in WEIGHTS}
SURFACE_WEIGHTS: dict[str, float] = {_name(family): weight for family, weight in WEIGHTS.items()}


def pick(weights: dict[str, float], rng: Generator) -> str:
    """Return one name, drawn by weight."""
    values = torch.tensor(list(weights.values()), device=rng.device)
    return list(weights)[int(torch.multinomial(values, 1, generator=rng))]


def make_surface(b: int, size: int, rng: Generator, textures: TextureBank | None = None) -> tuple[Tensor, str]:
    """Return b images (b, 3, H, W) in [0, 1] of one family, and its name for sentences ("wood").

    With a bank, a share `textures.share` of the calls returns crops of real photographs of one material.
    """
    if textures is not None and float(torch.rand(1, generator=rng, device=rng.device)) < textures.share:
        return textures.sample(b, size, rng, rng.device)
    name = pick(SURFACE_WEIGHTS, rng)
    return SURFACES[name](b, size, rng), name

"""Objects on a background: one body per picture, its material, a drop shadow, and grounds apart from it in tone."""
# images (b, 3, H, W) in [0, 1]

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from agvas_core.synthesis import object_bodies as bodies
from agvas_core.synthesis.colors import any_color, mix
from agvas_core.synthesis.noise import chance, each, gaussian_rows, integer, normal, smooth_noise, uniform
from agvas_core.synthesis.repeats import inlays, several
from agvas_core.synthesis.surfaces import SURFACES, make_surface, pick
from agvas_core.synthesis.textures import TextureBank


@dataclass(frozen=True, eq=False)
class ObjectLayer:
    """One object per image, before it is laid on its background.

    Attributes:
        alpha: soft coverage (b, H, W) in [0, 1].
        rgb: shaded body (b, 3, H, W) in [0, 1].
        name: what it is, for sentences.
    """

    alpha: Tensor
    rgb: Tensor
    name: str


Body = Callable[[int, int, Generator, Tensor], tuple[Tensor, Tensor]]


METAL = ("brushed metal", "cast metal", "rolled steel", "machined metal", "painted metal", "plastic")
DULL = ("plastic", "rubber", "painted metal", "paper", "plaster")
ANY: tuple[str, ...] = ()
# name -> (body, how often, materials it is made of; empty for any surface or photograph)
TABLE: dict[str, tuple[Body, float, tuple[str, ...]]] = {
    "washer": (bodies.washer, 1.0, METAL),
    "hex nut": (bodies.nut, 1.0, METAL),
    "bolt head": (bodies.bolt_head, 0.8, METAL),
    "screw": (bodies.screw, 1.2, METAL),
    "gear": (bodies.gear, 1.0, METAL),
    "capsule": (bodies.capsule, 1.0, ("plastic", "paper", "glass")),
    "tablet": (bodies.tablet, 0.9, ("plaster", "paper", "plastic", "stone")),
    "bottle mouth": (bodies.bottle_mouth, 1.1, ("glass", "plastic", *METAL)),
    "carton": (bodies.carton, 1.0, ("cardboard", "paper", "plastic")),
    "biscuit": (bodies.biscuit, 2.0, ("biscuit", "bread", "biscuit")),
    "blister tray": (bodies.blister, 1.2, ("plastic", "brushed metal", "paper", "cardboard")),
    "leaf": (bodies.leaf, 0.5, ("leather", "paper", "plaster")),
    "connector": (bodies.connector, 1.0, DULL),
    "cable end": (bodies.cable, 0.8, ("rubber", "plastic")),
    "nut kernel": (bodies.kernel, 0.9, ("wood", "stone", "leather")),
    "plate": (bodies.plate, 1.0, (*METAL, "wood", "glass")),
    "part": (bodies.part, 5.0, ANY),
}
OBJECT_WEIGHTS: dict[str, float] = {name: entry[1] for name, entry in TABLE.items()}
SEVERAL_SHARE, INLAY_SHARE = 0.22, 0.2
INLAID = ("biscuit", "nut kernel", "part", "plate", "tablet", "carton", "washer")


def _layered(name: str, body: Body) -> Callable[[int, int, Generator, Tensor], ObjectLayer]:
    def make(b: int, size: int, rng: Generator, surface: Tensor) -> ObjectLayer:
        alpha, rgb = body(b, size, rng, surface)
        return ObjectLayer(alpha.clamp(0, 1), rgb.clamp(0, 1), name)

    make.__doc__ = body.__doc__
    return make


OBJECTS: dict[str, Callable[[int, int, Generator, Tensor], ObjectLayer]] = {
    n: _layered(n, e[0]) for n, e in TABLE.items()
}


def make_object_scene(
    b: int, size: int, rng: Generator, textures: TextureBank | None = None
) -> tuple[Tensor, Tensor, str, str]:
    """Return b pictures of one kind of object on backgrounds.

    Returns:
        images: (b, 3, H, W) in [0, 1].
        object_mask: bool (b, H, W), true on the object.
        surface_name: what the object is made of.
        object_name: what it is.
    """
    name = pick(OBJECT_WEIGHTS, rng)
    materials = TABLE[name][2]
    if materials:
        surface_name = materials[integer(rng, 0, len(materials) - 1)]
        surface = SURFACES[surface_name](b, size, rng)
    else:
        surface, surface_name = make_surface(b, size, rng, textures)
    # A body so dark that nothing shows on it is lifted.
    surface = surface + (0.12 - surface.mean((1, 2, 3), keepdim=True)).clamp(min=0)
    layer = OBJECTS[name](b, size, rng, surface)
    if name in INLAID and float(uniform(rng, (1,))) < INLAY_SHARE:
        layer = replace(layer, rgb=inlays(layer.rgb, rng))
    if float(uniform(rng, (1,))) < SEVERAL_SHARE:
        alpha, rgb = several(layer.alpha, layer.rgb, rng)
        layer = replace(layer, alpha=alpha, rgb=rgb)
    flat = name == "part" or float(uniform(rng, (1,))) < 0.6
    ground = _plain_ground(b, size, rng) if flat else _textured_ground(b, size, rng, textures)
    ground = _apart(ground, layer)
    images = mix(ground * (1 - _drop_shadow(layer.alpha, rng))[:, None], layer.rgb, layer.alpha)
    return images.clamp(0, 1), layer.alpha > 0.5, surface_name, name


def _plain_ground(b: int, size: int, rng: Generator) -> Tensor:
    """A table, a belt or a lit screen: one tone with a soft change of light."""
    tone = torch.where(
        chance(rng, b, 0.5)[:, None], any_color(rng, b, 0.4, (0.0, 0.2)), any_color(rng, b, 0.35, (0.2, 1.0))
    )
    light = smooth_noise(b, size, rng, 3) * each(rng, b, 0, 0.1)
    grain = normal(rng, (b, size, size)) * each(rng, b, 0, 0.03)
    return (tone * (1 + light + grain)[:, None]).clamp(0, 1)


def _textured_ground(b: int, size: int, rng: Generator, textures: TextureBank | None) -> Tensor:
    """Any surface, its contrast usually reduced."""
    ground, _ = make_surface(b, size, rng, textures)
    mean = ground.mean((2, 3), keepdim=True)
    return mean + (ground - mean) * uniform(rng, (b, 1, 1, 1), 0.2, 1.0)


def _apart(ground: Tensor, layer: ObjectLayer) -> Tensor:
    """Push the ground's tone away from the object's where they would be alike."""
    area = layer.alpha.sum((1, 2)).clamp(min=1)
    body = (layer.rgb.mean(1) * layer.alpha).sum((1, 2)) / area
    tone = ground.mean((1, 2, 3))
    close = (0.2 - (tone - body).abs()).clamp(min=0)
    move = torch.where((tone > body) & (body < 0.75) | (body < 0.3), close, -close)
    return (ground + 2.0 * move.view(-1, 1, 1, 1)).clamp(0, 1)


def _drop_shadow(alpha: Tensor, rng: Generator) -> Tensor:
    """Return the darkening (b, H, W) of the ground: the outline, shifted and blurred at a quarter of the size."""
    b, size, _ = alpha.shape
    small = F.avg_pool2d(alpha[:, None], 4)[:, 0]
    sigma, n = each(rng, b, 0.3, 5.0), small.shape[-1]
    far = size / 256 * 5
    down, across = gaussian_rows(n, sigma, each(rng, b, -far, far)), gaussian_rows(n, sigma, each(rng, b, -far, far))
    soft = F.interpolate((down @ small @ across.mT)[:, None], (size, size), mode="bilinear")[:, 0]
    return soft * each(rng, b, 0, 0.6) * chance(rng, b, 0.8)

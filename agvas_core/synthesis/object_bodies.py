"""The bodies of objects: outline, normal structure and shading of round, toothed, boxed and repeated parts."""
# a body lives in its own coordinates v, u: turned, shifted, and about 1 from the middle to the edge;
# every function: (b, size, rng, surface (b, 3, H, W)) -> coverage (b, H, W), colour (b, 3, H, W)

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from agvas_core.synthesis import outlines
from agvas_core.synthesis.colors import any_color, color, mix
from agvas_core.synthesis.lettering import text
from agvas_core.synthesis.noise import (
    angles,
    chance,
    coordinates,
    each,
    hash01,
    integer,
    rotate,
    seeds,
    smooth_noise,
    step,
    uniform,
)


class Pose:
    """Where the object lies: its coordinates v, u (b, H, W), the size of a pixel in them, and the light."""

    def __init__(self, b: int, size: int, rng: Generator, upright: float = 0.5) -> None:
        y, x = coordinates(size, rng.device)
        big = torch.where(chance(rng, b, 0.7), each(rng, b, 0.5, 0.98), each(rng, b, 0.4, 1.3))
        reach = torch.where(chance(rng, b, 0.7), each(rng, b, 0, 0.15), each(rng, b, 0, 0.6))
        y, x = y - reach * each(rng, b, -1, 1), x - reach * each(rng, b, -1, 1)
        turn = angles(rng, b, upright) + math.pi * chance(rng, b, 0.5)
        v, u = rotate(y, x, turn)
        self.v, self.u = v / big, u / big
        self.pixel = 2 / (size * big)
        light = each(rng, b, 0, 2 * math.pi)
        self.lit_v, self.lit_u = light.sin(), light.cos()

    def cover(self, distance: Tensor) -> Tensor:
        """Return soft coverage of what lies at a negative distance: one and a half pixels of softness."""
        return step(-distance, 1.5 * self.pixel)

    def rim(self, distance: Tensor, width: Tensor | float, v: Tensor | None = None, u: Tensor | None = None) -> Tensor:
        """Return the light on a rounded edge: bright towards the lamp, dark away from it."""
        v, u = self.v if v is None else v, self.u if u is None else u
        facing = (v * self.lit_v + u * self.lit_u) / torch.hypot(v, u).clamp(min=0.05)
        return facing * torch.exp(-(((distance + width) / width) ** 2))

    def sheen(self) -> Tensor:
        """Return a slow change of light over the body."""
        return self.v * self.lit_v + self.u * self.lit_u


def lit(images: Tensor, light: Tensor) -> Tensor:
    """Return images under relative light (b, H, W); 0 leaves them."""
    return (images * (1 + light).clamp(min=0.04)[:, None]).clamp(0, 1)


def washer(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A flat ring."""
    pose = Pose(b, size, rng)
    radius = torch.hypot(pose.v, pose.u)
    distance = torch.maximum(radius - 1, each(rng, b, 0.3, 0.75) - radius)
    light = each(rng, b, 0.1, 0.7) * pose.rim(distance, each(rng, b, 0.02, 0.1)) + each(rng, b, 0, 0.25) * pose.sheen()
    return pose.cover(distance), lit(surface, light)


def nut(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A hexagonal nut with a threaded hole and a turned chamfer."""
    pose = Pose(b, size, rng)
    radius = torch.hypot(pose.v, pose.u)
    bore = each(rng, b, 0.35, 0.55)
    outer = torch.maximum(outlines.polygon(pose.v, pose.u, 6, 0.86), radius - 0.98)
    distance = torch.maximum(outer, bore - radius)
    thread = 0.5 * torch.sin((radius - bore) * 90) * step(bore + each(rng, b, 0.06, 0.14) - radius, 0.03)
    chamfer = step(radius - 0.84, 0.04) * each(rng, b, -0.4, 0.3)
    light = thread + chamfer + each(rng, b, 0.1, 0.6) * pose.rim(distance, 0.04) + each(rng, b, 0, 0.25) * pose.sheen()
    return pose.cover(distance), lit(surface, light)


def bolt_head(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A round or hexagonal head with a slot, cross or hexagon recess."""
    pose = Pose(b, size, rng)
    v, u = pose.v, pose.u
    radius = torch.hypot(v, u)
    hexagon = chance(rng, b, 0.4)
    distance = torch.where(hexagon, outlines.polygon(v, u, 6, 0.88), radius - 0.95)
    slot = outlines.box(v, u, each(rng, b, 0.08, 0.14), each(rng, b, 0.5, 1.2), 0.02)
    cross = torch.minimum(outlines.box(v, u, 0.1, 0.5, 0.03), outlines.box(v, u, 0.5, 0.1, 0.03))
    socket = outlines.polygon(v, u, 6, each(rng, b, 0.3, 0.5))
    kind = torch.randint(0, 4, (b, 1, 1), generator=rng, device=rng.device)
    recess = torch.where(kind == 0, slot, torch.where(kind == 1, cross, socket))
    hollow = step(-recess, 2 * pose.pixel) * (kind < 3)
    dome = pose.sheen() * each(rng, b, 0.1, 0.5) - each(rng, b, 0, 0.3) * radius**2
    light = dome + each(rng, b, 0.1, 0.6) * pose.rim(distance, 0.06) - each(rng, b, 0.4, 0.85) * hollow
    light = light + 0.25 * torch.exp(-((recess / 0.03) ** 2)) * (kind < 3)
    return pose.cover(distance), lit(surface, light)


def screw(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A screw seen from the side: head, thread, tip."""
    pose = Pose(b, size, rng)
    v, u = pose.v, pose.u
    thick = each(rng, b, 0.1, 0.2)
    pitch = each(rng, b, 18, 50)
    start = each(rng, b, -0.6, 0.2)  # where the thread begins
    threaded = step(u - start, 0.02)
    taper = torch.where(chance(rng, b, 0.6), ((1 - u) / each(rng, b, 0.15, 0.5)).clamp(0, 1), torch.ones_like(u))
    width = thick * taper + threaded * 0.16 * thick * torch.sin(u * pitch + v * each(rng, b, 0, 6))
    shank = torch.maximum(torch.maximum(v.abs() - width, u - 1), -1 - u)
    head_half, head_long = thick * each(rng, b, 1.5, 2.4), each(rng, b, 0.08, 0.2)
    cone = (head_half * (1 - (u + 1) / (3 * head_long))).clamp(min=0) * chance(rng, b, 0.4)
    head = outlines.box(v, u + 1 - head_long, head_half, head_long, 0.03)
    head = torch.minimum(head, torch.maximum(v.abs() - cone, torch.maximum(-1 - u, u + 1 - 3 * head_long)))
    distance = torch.minimum(shank, head)
    across = v / torch.where(head < 0, head_half, thick * 1.1)
    barrel = 0.5 - across**2 + 0.8 * torch.exp(-(((across + 0.35) / 0.15) ** 2))
    grooves = threaded * torch.sin(u * pitch + v * 4) * each(rng, b, 0.3, 0.7) * (head > 0)
    return pose.cover(distance), lit(surface, each(rng, b, 0.3, 0.7) * barrel + grooves)


def gear(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A toothed wheel with a bore, sometimes with holes around it."""
    pose = Pose(b, size, rng)
    radius, angle = torch.hypot(pose.v, pose.u), torch.atan2(pose.v, pose.u)
    teeth = each(rng, b, 10, 42).floor()
    depth = each(rng, b, 0.06, 0.16)
    profile = torch.tanh(each(rng, b, 1.2, 4) * torch.sin(angle * teeth)) * depth / 2
    holes = torch.randint(3, 7, (b, 1, 1), generator=rng, device=rng.device)
    sector = torch.remainder(angle, 2 * math.pi / holes) - math.pi / holes
    ring, hole_radius = each(rng, b, 0.48, 0.6), each(rng, b, 0.1, 0.16)
    hole = hole_radius - torch.hypot(radius * sector.cos() - ring, radius * sector.sin())
    hole = torch.where(chance(rng, b, 0.5), hole, -torch.ones_like(hole))
    bore = each(rng, b, 0.12, 0.28)
    distance = torch.maximum(torch.maximum(radius - 0.93 - profile, bore - radius), hole)
    turned = torch.sin(radius * each(rng, b, 40, 120)) * each(rng, b, 0, 0.08)
    hub = torch.exp(-(((radius - bore - 0.1) / 0.03) ** 2)) * each(rng, b, -0.3, 0.3)
    light = turned + hub + each(rng, b, 0.1, 0.6) * pose.rim(distance, 0.03) + each(rng, b, 0, 0.3) * pose.sheen()
    return pose.cover(distance), lit(surface, light)


def capsule(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A two-coloured capsule with a print."""
    pose = Pose(b, size, rng, 0.4)
    v, u = pose.v, pose.u
    thick = each(rng, b, 0.28, 0.5)
    distance = outlines.box(v, u, thick, 1.0, thick)
    half = step(u - each(rng, b, -0.2, 0.2), 2 * pose.pixel)
    flat = surface.mean((2, 3), keepdim=True)
    body = mix(
        any_color(rng, b, 0.8, (0.5, 0.98)) * surface / flat.clamp(min=0.1), any_color(rng, b, 0.9, (0.2, 0.95)), half
    )
    ink = text(v, u + each(rng, b, -0.3, 0.3), thick * each(rng, b, 0.3, 0.6), rng, 1, 5) * chance(rng, b, 0.6)
    body = mix(body, any_color(rng, b, 0.5, (0.0, 0.3)), ink)
    across = v / thick
    light = each(rng, b, 0.2, 0.5) * (0.6 - across**2) + each(rng, b, 0.2, 0.9) * torch.exp(
        -(((across + 0.4) / 0.12) ** 2)
    )
    seam = -0.25 * torch.exp(-((u / 0.015) ** 2))
    return pose.cover(distance), lit(body.clamp(0, 1), light + seam)


def tablet(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A round or oval pressed pill with a score line or an imprint."""
    pose = Pose(b, size, rng, 0.4)
    v, u = (
        pose.v * torch.where(chance(rng, b, 0.4), each(rng, b, 1.2, 2.0), torch.ones(b, 1, 1, device=rng.device)),
        pose.u,
    )
    distance = torch.hypot(v, u) - 0.95
    score = torch.exp(-((u / each(rng, b, 0.02, 0.05)) ** 2)) * chance(rng, b, 0.5)
    mark = text(v, u, each(rng, b, 0.3, 0.6), rng, 1, 4) * chance(rng, b, 0.5)
    light = (
        0.3 * pose.sheen()
        + each(rng, b, 0.1, 0.5) * pose.rim(distance, each(rng, b, 0.05, 0.2))
        - 0.3 * score
        - 0.2 * mark
    )
    grain = surface / surface.mean((2, 3), keepdim=True).clamp(min=0.1)
    return pose.cover(distance), lit(any_color(rng, b, 0.6, (0.5, 0.98)) * (0.7 + 0.3 * grain), light)


def bottle_mouth(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A bottle or cup seen from above: rings of glass or metal around a dark or bright inside."""
    pose = Pose(b, size, rng)
    radius, angle = torch.hypot(pose.v, pose.u), torch.atan2(pose.v, pose.u)
    rings = torch.zeros_like(radius)
    for _ in range(4):
        place, width = each(rng, b, 0.3, 0.95), each(rng, b, 0.01, 0.08, log=True)
        glare = 0.6 + 0.4 * torch.cos(
            angle * torch.randint(1, 4, (b, 1, 1), generator=rng, device=rng.device) + each(rng, b, 0, 6)
        )
        rings = rings + each(rng, b, -0.7, 1.2) * glare * torch.exp(-(((radius - place) / width) ** 2))
    inside = step(each(rng, b, 0.4, 0.75) - radius, 3 * pose.pixel)
    body = mix(surface, any_color(rng, b, 0.5, (0.02, 0.9)), inside)
    knurl = torch.sin(angle * each(rng, b, 30, 90).floor()) * step(radius - 0.88, 0.03) * chance(rng, b, 0.4)
    return pose.cover(radius - 0.98), lit(body, rings + 0.3 * knurl + 0.15 * pose.sheen())


def carton(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A box face with a label, lines of print and a bar code."""
    pose = Pose(b, size, rng, 0.9)
    v, u = pose.v, pose.u
    half_v = each(rng, b, 0.5, 0.95)
    distance = outlines.box(v, u, half_v, 0.95, each(rng, b, 0.0, 0.12))
    label = outlines.box(
        v - each(rng, b, -0.2, 0.2), u, half_v * each(rng, b, 0.4, 0.85), each(rng, b, 0.4, 0.85), 0.03
    )
    body = mix(surface, any_color(rng, b, 0.7, (0.4, 1.0)), pose.cover(label) * chance(rng, b, 0.75))
    ink_color = any_color(rng, b, 0.8, (0.0, 0.35))
    up, left = each(rng, b, -0.3, 0.15), each(rng, b, -0.2, 0.2)
    ink = text(v - up, u - left, each(rng, b, 0.1, 0.26), rng, integer(rng, 1, 4), integer(rng, 5, 10), 0.3)
    bars_at = outlines.box(v - up - half_v * 0.55, u - left, half_v * 0.2, each(rng, b, 0.2, 0.4))
    bars = (
        (hash01((u * each(rng, b, 30, 60)).floor(), seed=seeds(rng, b)) < 0.5)
        * pose.cover(bars_at)
        * chance(rng, b, 0.5)
    )
    stripe = pose.cover((v + half_v * 0.75).abs() - each(rng, b, 0.04, 0.15)) * chance(rng, b, 0.5)
    body = mix(body, any_color(rng, b, 0.9, (0.2, 0.9)), stripe)
    body = mix(body, ink_color, torch.maximum(ink, bars))
    return pose.cover(distance), lit(body, 0.12 * pose.sheen() + 0.3 * pose.rim(distance, 0.02))


def biscuit(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A biscuit: round or square with a rough edge, browned rim; docker holes, chips, a cracked crust or crumbs."""
    pose = Pose(b, size, rng)
    v, u = pose.v, pose.u
    rough = smooth_noise(b, size, rng, 14) * each(rng, b, 0.0, 0.03) + smooth_noise(b, size, rng, 5) * each(
        rng, b, 0.0, 0.06
    )
    square = outlines.box(v, u, 0.85, each(rng, b, 0.7, 0.9), each(rng, b, 0.05, 0.4))
    distance = torch.where(chance(rng, b, 0.25), square, torch.hypot(v * each(rng, b, 0.9, 1.6), u) - 0.92) + rough
    pitch = each(rng, b, 0.25, 0.45)
    hole_v, hole_u = torch.remainder(v, pitch) - pitch / 2, torch.remainder(u, pitch) - pitch / 2
    holes = step(0.03 - torch.hypot(hole_v, hole_u), 0.03) * (distance < -0.15) * chance(rng, b, 0.35)
    brown = torch.exp(distance.clamp(max=0) / each(rng, b, 0.06, 0.25)) * each(rng, b, 0.1, 0.6)
    light = 0.3 * pose.rim(distance, 0.08) + 0.1 * pose.sheen() - 0.6 * holes
    toast = surface * (1 - brown[:, None] * torch.tensor((0.3, 0.5, 0.65), device=rng.device).view(1, 3, 1, 1))
    crust = smooth_noise(b, size, rng, 10)
    crevices = torch.exp(-((crust / each(rng, b, 0.03, 0.1)) ** 2)) * (smooth_noise(b, size, rng, 4) > 0.3)
    light = light + each(rng, b, 0, 0.15) * smooth_noise(b, size, rng, 18) - each(rng, b, 0, 0.45) * crevices
    chips = (
        step(smooth_noise(b, size, rng, 14) - each(rng, b, 1.2, 2.2), 0.3) * (distance < -0.06) * chance(rng, b, 0.5)
    )
    toast = mix(toast, any_color(rng, b, 0.9, (0.03, 0.4)).expand_as(toast), chips)
    crumbs = step(smooth_noise(b, size, rng, 40) - each(rng, b, 2.0, 3.0), 0.4) * (distance < 0.5) * chance(rng, b, 0.4)
    return torch.maximum(pose.cover(distance), crumbs), lit(toast, light)


def blister(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A tray of equal parts in rows: pills in foil, sockets, eggs in a carton."""
    pose = Pose(b, size, rng, 0.85)
    v, u = pose.v, pose.u
    half_v = each(rng, b, 0.55, 0.95)
    distance = outlines.box(v, u, half_v, 0.98, 0.08)
    rows, columns = each(rng, b, 2, 5).floor(), each(rng, b, 3, 7).floor()
    cell_v, cell_u = (v / (0.92 * half_v) + 1) * rows / 2, (u / 0.92 + 1) * columns / 2
    row, col = cell_v.floor(), cell_u.floor()
    present = (row >= 0) & (row < rows) & (col >= 0) & (col < columns)
    pitch_v, pitch_u = 1.84 * half_v / rows, 1.84 / columns
    dv, du = (cell_v - row - 0.5) * pitch_v, (cell_u - col - 0.5) * pitch_u
    reach = 0.5 * torch.minimum(pitch_v, pitch_u) * each(rng, b, 0.55, 0.85)
    long_v, long_u = (
        torch.where(chance(rng, b, 0.5), pitch_v * 0.4, reach),
        torch.where(chance(rng, b, 0.5), pitch_u * 0.4, reach),
    )
    pocket = outlines.box(dv, du, long_v, long_u, reach * each(rng, b, 0.3, 1.0))
    pill = pocket + each(rng, b, 0.1, 0.3) * reach
    pocket = torch.where(present, pocket, 1.0)
    pill = torch.where(present, pill, 1.0)
    tone = 1 + 0.06 * (hash01(row, col, seed=seeds(rng, b)) - 0.5)
    pill_color = any_color(rng, b, 0.8, (0.3, 0.98))
    shine = torch.exp(
        -(((dv - 0.4 * reach * pose.lit_v) ** 2 + (du - 0.4 * reach * pose.lit_u) ** 2) / (0.2 * reach) ** 2)
    )
    body = mix(surface, surface * uniform(rng, (b, 1, 1, 1), 0.5, 1.1), pose.cover(pocket))
    body = mix(body, pill_color * tone[:, None], pose.cover(pill))
    relief = 0.4 * pose.rim(pocket, 0.15 * reach, dv, du) + 0.4 * pose.rim(pill, 0.2 * reach, dv, du)
    return pose.cover(distance), lit(body, relief + each(rng, b, 0, 0.8) * shine * pose.cover(pill))


def leaf(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A leaf with a midrib and side veins."""
    pose = Pose(b, size, rng, 0.2)
    v, u = pose.v + 0.2 * pose.u**2 * each(rng, b, -1, 1), pose.u
    width = (
        each(rng, b, 0.3, 0.62)
        * (1 - u.abs().clamp(max=1) ** each(rng, b, 1.6, 2.6))
        * (1 - 0.35 * u * each(rng, b, 0, 1))
    )
    teeth = 0.02 * torch.sin(u * each(rng, b, 30, 80)) * chance(rng, b, 0.5)
    distance = torch.maximum(v.abs() - width - teeth, u.abs() - 1)
    midrib = torch.exp(-((v / each(rng, b, 0.01, 0.03)) ** 2))
    branch = torch.remainder((u + v.abs() * each(rng, b, 0.6, 1.3)) * each(rng, b, 4, 9), 1.0) - 0.5
    veins = torch.exp(-((branch / 0.07) ** 2)) * 0.6
    green = color(rng, b, (0.12, 0.25, 0.06), (0.45, 0.62, 0.25), 0.1)
    light = (
        torch.maximum(midrib, veins) * each(rng, b, 0.1, 0.6)
        + 0.2 * branch
        + 0.15 * torch.sign(v) * each(rng, b, -1, 1)
    )
    grain = surface / surface.mean((2, 3), keepdim=True).clamp(min=0.1)
    return pose.cover(distance), lit(green * (0.6 + 0.4 * grain), light)


def connector(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A housing with one or two rows of contacts."""
    pose = Pose(b, size, rng, 0.85)
    v, u = pose.v, pose.u
    half_v = each(rng, b, 0.3, 0.6)
    rows, pins = torch.randint(1, 3, (b, 1, 1), generator=rng, device=rng.device), each(rng, b, 4, 13).floor()
    housing = outlines.box(v, u, half_v, 0.95, 0.05)
    cell_v, cell_u = (v / (0.7 * half_v) + 1) * rows / 2, (u / 0.85 + 1) * pins / 2
    dv = (cell_v - cell_v.floor() - 0.5) * 1.4 * half_v / rows
    du = (cell_u - cell_u.floor() - 0.5) * 1.7 / pins
    present = (cell_v >= 0) & (cell_v < rows) & (cell_u >= 0) & (cell_u < pins)
    socket = torch.where(present, outlines.box(dv, du, 0.45 * half_v / rows, 0.6 / pins, 0.01), 1.0)
    contact = torch.where(present, outlines.box(dv, du, 0.3 * half_v / rows, 0.25 / pins, 0.01), 1.0)
    leg = outlines.box(v - half_v, du, 0.35, 0.2 / pins).clamp(min=-1)
    legs = torch.where((cell_u >= 0) & (cell_u < pins) & chance(rng, b, 0.5), leg, 1.0)
    metal = color(rng, b, (0.6, 0.55, 0.4), (0.92, 0.88, 0.8), 0.0)
    dark = uniform(rng, (b, 1, 1, 1), 0.15, 0.7)
    body = mix(surface, surface * dark, pose.cover(socket))
    body = mix(body, metal, torch.maximum(pose.cover(contact), pose.cover(legs) * (housing > 0)))
    light = 0.35 * pose.rim(housing, 0.04) + 0.15 * pose.sheen() - 0.4 * pose.rim(socket, 0.02, dv, du)
    return pose.cover(torch.minimum(housing, legs)), lit(body, light)


def cable(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A cut cable: a sheath around a few insulated cores with bright strands."""
    pose = Pose(b, size, rng, 0.1)
    radius, angle = torch.hypot(pose.v, pose.u), torch.atan2(pose.v, pose.u)
    cores = torch.randint(3, 6, (b, 1, 1), generator=rng, device=rng.device)
    sector = torch.remainder(angle, 2 * math.pi / cores)
    which = torch.remainder(angle / (2 * math.pi / cores), cores).floor()
    ring = 0.52
    dv, du = radius * (sector - math.pi / cores).sin(), radius * (sector - math.pi / cores).cos() - ring
    core_radius = 0.92 * ring * (math.pi / cores).sin()
    core = torch.hypot(dv, du) - core_radius
    strand = each(rng, b, 12, 26)
    wires = torch.sin(pose.v * strand * 3.1) * torch.sin(pose.u * strand * 3.1 + pose.v * strand)
    copper = color(rng, b, (0.55, 0.35, 0.22), (0.85, 0.7, 0.55), 0.1)
    tone = hash01(which, seed=seeds(rng, b))
    insulation = mix(any_color(rng, b, 0.9), any_color(rng, b, 0.9), tone)
    body = mix(surface, any_color(rng, b, 0.3, (0.05, 0.5)), step(0.88 * ring * 2 - radius, 3 * pose.pixel) * 0.9)
    body = mix(body, insulation, pose.cover(core))
    body = mix(
        body, (copper * (1 + 0.5 * wires[:, None])).clamp(0, 1), pose.cover(core + core_radius * each(rng, b, 0.3, 0.5))
    )
    return pose.cover(radius - 1), lit(body, 0.3 * pose.rim(core, 0.05, dv, du) + 0.2 * pose.rim(radius - 1, 0.04))


def kernel(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A nut, bean or fruit: a bulging oval with lengthwise streaks and a pale end."""
    pose = Pose(b, size, rng, 0.2)
    v, u = pose.v / (0.95 - 0.3 * each(rng, b, -0.3, 1) * pose.u), pose.u
    slim = each(rng, b, 0.6, 1.0)
    radius = torch.hypot(v / slim, u) + 0.01 * smooth_noise(b, size, rng, 6)
    streaks = torch.sin(v / (1.05 - u * u).clamp(min=0.1).sqrt() * each(rng, b, 10, 40) + smooth_noise(b, size, rng, 6))
    base = color(rng, b, (0.4, 0.22, 0.1), (0.75, 0.52, 0.3), 0.25)
    body = base * (0.6 + 0.4 * surface / surface.mean((2, 3), keepdim=True).clamp(min=0.1))
    pale = step(u - each(rng, b, 0.55, 1.2) + 0.04 * smooth_noise(b, size, rng, 8), 0.2)
    body = mix(body.clamp(0, 1), color(rng, b, (0.65, 0.5, 0.35), (0.85, 0.75, 0.6), 0.0), pale * 0.8)
    ball = 0.35 - 0.8 * radius**2 + 0.7 * pose.sheen() * each(rng, b, 0.3, 1)
    spot = torch.exp(-((v - 0.3 * pose.lit_v) ** 2 + (u - 0.3 * pose.lit_u) ** 2) / 0.03) * each(rng, b, 0, 0.6)
    return pose.cover(radius - 0.97), lit(body, ball + spot + 0.1 * streaks * each(rng, b, 0, 1))


def plate(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A flat part with mounting holes in its corners and an engraved number."""
    pose = Pose(b, size, rng, 0.9)
    v, u = pose.v, pose.u
    half_v = each(rng, b, 0.5, 0.95)
    corner = each(rng, b, 0, 0.3)
    inset, radius = each(rng, b, 0.15, 0.25), each(rng, b, 0.04, 0.11)
    hole = torch.hypot(v.abs() - half_v + inset, u.abs() - 0.95 + inset) - radius
    hole = torch.where(chance(rng, b, 0.75), hole, 1.0)
    distance = torch.maximum(outlines.box(v, u, half_v, 0.95, corner), -hole)
    sink = pose.cover(hole - each(rng, b, 0.02, 0.06)) * each(rng, b, -0.5, 0.3)
    mark = (
        text(v - each(rng, b, -0.3, 0.3), u, each(rng, b, 0.1, 0.3), rng, 1, 7)
        * chance(rng, b, 0.5)
        * each(rng, b, -0.6, 0.3)
    )
    light = sink + mark + each(rng, b, 0.1, 0.7) * pose.rim(distance, 0.03) + each(rng, b, 0, 0.2) * pose.sheen()
    return pose.cover(distance), lit(surface, light)


def part_at_border(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A part that fills the picture but for strips at one to four sides."""
    inside, rim, _ = outlines.part_border(b, size, rng)
    return inside, lit(mix(surface, torch.ones_like(surface), rim.clamp(0, 1)), rim.clamp(max=0))


def lump(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """A piece without a regular outline: cast, grown, baked or broken from something."""
    pose = Pose(b, size, rng)
    wavy = each(rng, b, 0, 0.12) * smooth_noise(b, size, rng, 4) + each(rng, b, 0, 0.04) * smooth_noise(
        b, size, rng, 16
    )
    distance = torch.hypot(pose.v * each(rng, b, 1.0, 2.2), pose.u) - 0.85 + wavy
    dome = each(rng, b, 0, 0.4) * pose.sheen() - each(rng, b, 0, 0.35) * distance.clamp(-1, 0).add(1).square()
    bumps = each(rng, b, 0, 0.2) * smooth_noise(b, size, rng, 9)
    return pose.cover(distance), lit(surface, dome + bumps + each(rng, b, 0, 0.4) * pose.rim(distance, 0.06))


def part(b: int, size: int, rng: Generator, surface: Tensor) -> tuple[Tensor, Tensor]:
    """Any part: one that ends at or near the picture's border, or a lump."""
    body = part_at_border if float(uniform(rng, (1,))) < 0.6 else lump
    return body(b, size, rng, surface)

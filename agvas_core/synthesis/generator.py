"""Whole inspection images: a scene, its normal disturbances, its defects, the camera, and the facts about all of it."""
# B images of a batch, b images of one family, H = W = size

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from agvas_core.synthesis.defect_fills import smooth
from agvas_core.synthesis.defects import DEFECTS
from agvas_core.synthesis.facts import DefectFacts, SceneFacts, SyntheticBatch
from agvas_core.synthesis.lighting import apply_camera, apply_scene
from agvas_core.synthesis.measure import measure
from agvas_core.synthesis.objects import make_object_scene
from agvas_core.synthesis.surfaces import make_surface
from agvas_core.synthesis.textures import TextureBank

# How often each kind is drawn: what is thin, small or hard to name comes more often.
KIND_WEIGHTS: dict[str, float] = {
    "scratch": 1.5, "crack": 1.7, "hole": 1.0, "pit": 1.2, "dent": 1.0, "bump": 0.9, "stain": 1.2, "discoloration": 1.0,
    "contamination": 1.0, "fiber": 0.9, "missing part": 0.9, "chipped edge": 0.8, "deformation": 0.7, "misprint": 0.6,
    "weave fault": 0.6, "corrosion": 0.8, "burn": 0.8, "blur": 0.7, "foreign patch": 1.0,
}  # fmt: skip
REGULAR_WORDS = (
    "dot", "grid", "mesh", "woven", "knit", "fabric", "perforat", "checker", "tile", "brick", "corrugated", "striped",
)  # fmt: skip
REGULAR_FACTOR = {"weave fault": 7.0, "missing part": 4.0, "deformation": 1.5, "foreign patch": 1.3}
IRREGULAR_FACTOR = {"weave fault": 0.4, "deformation": 0.6}  # on random texture they can hardly be seen
TEXTURAL = {"blur", "foreign patch", "weave fault", "missing part", "deformation"}  # judged by their texture, too
DEFECT_COUNT_WEIGHTS = (0.6, 0.2, 0.1, 0.06, 0.04)
CROWDED_WEIGHTS = (0.18, 0.18, 0.18, 0.18, 0.16, 0.04, 0.03, 0.03, 0.02)
MIN_CHANGE = 0.04  # mean change inside a mask below which nobody sees the defect
MIN_EXTENT = 6 / 256  # longer side of the smallest box, share of the image
MIN_SEEN = 0.015  # mean change inside a mask in the picture as it is taken, below which a label teaches nothing
MIN_SEEN_GRAIN = 0.9  # and in shares of the grain around it (grain of 0.01 is there always)
REGULAR_TEXTURE = 0.5  # of a pattern's contrast hides a defect: where it goes on is known
ALIKE_SHARE = 0.35  # how often a further defect is of the kind before it: what goes wrong, goes wrong again
EXTRA_ROUNDS = 3  # further attempts for images whose defect came out invisible


class SceneGenerator:
    """Make labelled inspection images without end.

    Args:
        size: height and width in px.
        textures: photographs of normal surfaces to use beside the synthetic ones, or None.
        normal_share: share of images without any defect.
        object_share: share of images that show an object on a ground.
        max_defects: most defects in one image; at most, and by default, 5, or 9 where it is crowded.
        family_size: images that share a surface or object family (each with its own parameters).
        regular_boost: prefer faults of single elements on regular patterns.
        crowded: more defects an image, all counts alike often: more to learn from every pixel that is computed.
    """

    def __init__(
        self,
        size: int = 256,
        textures: TextureBank | None = None,
        normal_share: float = 0.42,
        object_share: float = 0.42,
        max_defects: int | None = None,
        family_size: int = 4,
        regular_boost: bool = True,
        crowded: bool = False,
    ) -> None:
        weights = CROWDED_WEIGHTS if crowded else DEFECT_COUNT_WEIGHTS
        max_defects = len(weights) if max_defects is None else max_defects
        if not 1 <= max_defects <= len(weights):
            raise ValueError(f"max_defects must be 1 to {len(weights)}, got {max_defects}")
        self.size = size
        self.textures = textures
        self.normal_share = normal_share
        self.object_share = object_share
        self.max_defects = max_defects
        self.count_weights = weights[:max_defects]
        self.family_size = family_size
        self.regular_boost = regular_boost

    @torch.no_grad()
    def batch(self, n: int, seed: int | Generator, device: str | torch.device = "cpu") -> SyntheticBatch:
        """Return n images in random order; the same seed on the same device gives the same batch."""
        rng = seed if isinstance(seed, Generator) else Generator(device).manual_seed(seed)
        dice = random.Random(int(torch.randint(2**31, (), generator=rng, device=rng.device)))
        # A processor is fastest with what fits its cache, a GPU with everything at once.
        chunk = max(1, n) if rng.device.type == "cuda" else self.family_size
        parts = [self._make(min(chunk, n - start), rng, dice) for start in range(0, n, chunk)]
        order = list(range(n))
        dice.shuffle(order)
        images, labels = torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts])
        facts = [scene for p in parts for scene in p.facts]
        return SyntheticBatch(images[order], labels[order], [facts[i] for i in order])

    def _make(self, n: int, rng: Generator, dice: random.Random) -> SyntheticBatch:
        """Return n images, family by family."""
        images, allowed, surfaces, objects = self._scenes(n, rng, dice)
        images, scene_names = apply_scene(images, rng)
        clean = images
        wanted = [self._count(dice) for _ in range(n)]
        images, labels, kinds = self._plant(images, allowed, wanted, surfaces, rng, dice)
        taken = rng.get_state()
        shot, camera_names = apply_camera(images, rng)
        shot = shot.clamp(0, 1)
        if any(kinds):
            rng.set_state(taken)  # the same camera looks at the scene without its defects
            without_defects, _ = apply_camera(clean, rng)
            labels = still_seen(shot, without_defects.clamp(0, 1), labels, self._hiding(surfaces, labels.device))

        shot = (shot * 255 + 0.5).to(torch.uint8)
        facts: list[SceneFacts] = []
        host_labels, with_defects, without = (x.cpu().numpy() for x in (labels, images, clean))
        for i in range(n):
            defects: tuple[DefectFacts, ...] = ()
            if kinds[i]:
                host_labels[i], defects = measure(with_defects[i], host_labels[i], kinds[i], without[i], min_area_px=8)
            nuisances = (*scene_names[i], *camera_names[i])
            facts.append(SceneFacts(surfaces[i], objects[i], nuisances, defects, (self.size, self.size)))

        return SyntheticBatch(shot, torch.from_numpy(host_labels).to(shot.device), facts)

    def _count(self, dice: random.Random) -> int:
        """Return how many defects an image shall have."""
        if dice.random() < self.normal_share:
            return 0
        return dice.choices(range(1, self.max_defects + 1), self.count_weights)[0]

    def _scenes(
        self, n: int, rng: Generator, dice: random.Random
    ) -> tuple[Tensor, Tensor, list[str], list[str | None]]:
        """Return n clean scenes (n, 3, H, W), where defects may lie (n, H, W), and the families' names."""
        images, allowed, surfaces, objects = [], [], [], []
        for start in range(0, n, self.family_size):
            b = min(self.family_size, n - start)
            name: str | None = None
            if dice.random() < self.object_share:
                scene, mask, surface, name = make_object_scene(b, self.size, rng, self.textures)
                mask = mask | (mask.flatten(1).sum(1) < 0.01 * self.size**2).view(b, 1, 1)
            else:
                scene, surface = make_surface(b, self.size, rng, self.textures)
                mask = torch.ones(b, self.size, self.size, dtype=torch.bool, device=scene.device)
            images.append(scene)
            allowed.append(mask)
            surfaces += [surface] * b
            objects += [name] * b
        return torch.cat(images), torch.cat(allowed), surfaces, objects

    def _plant(
        self,
        images: Tensor,
        allowed: Tensor,
        wanted: list[int],
        surfaces: list[str],
        rng: Generator,
        dice: random.Random,
    ) -> tuple[Tensor, Tensor, list[list[str]]]:
        """Return the images with their defects, the label map uint8 (n, H, W), and the kinds by label."""
        labels = torch.zeros(allowed.shape, dtype=torch.uint8, device=images.device)
        kinds: list[list[str]] = [[] for _ in wanted]
        images = images.clone()
        for _ in range(self.max_defects + EXTRA_ROUNDS):
            groups: dict[str, list[int]] = {}
            for i, count in enumerate(wanted):
                if len(kinds[i]) < count:
                    again = kinds[i] and dice.random() < ALIKE_SHARE
                    groups.setdefault(kinds[i][-1] if again else self._kind(surfaces[i], dice), []).append(i)
            if not groups:
                break
            for kind, rows in groups.items():
                index = torch.tensor(rows, device=images.device)
                before = images[index]
                after, soft = DEFECTS[kind](before, allowed[index], rng)
                after = after.clamp(0, 1)
                hiding = self._hiding([surfaces[i] for i in rows], images.device)
                mask, good = visible(before, after, soft, labels[index] > 0, hiding)
                if kind in TEXTURAL:
                    regular = [_is_regular(surfaces[i]) for i in rows]
                    if kind == "deformation":  # a bent outline is seen on any material
                        regular = [r or not bool(allowed[i].all()) for r, i in zip(regular, rows, strict=True)]
                    good &= stands_out(before, after, mask) | torch.tensor(regular, device=good.device)
                keep = good.tolist()
                for row, i in enumerate(rows):
                    if keep[row]:
                        kinds[i].append(kind)
                        images[i] = after[row]
                        labels[i][mask[row]] = len(kinds[i])
        return images, labels, kinds

    @staticmethod
    def _hiding(surfaces: list[str], device: torch.device) -> Tensor:
        """Return how much of each surface's own contrast (b,) hides a defect on it."""
        return torch.tensor([REGULAR_TEXTURE if _is_regular(s) else 1.0 for s in surfaces], device=device)

    def _kind(self, surface: str, dice: random.Random) -> str:
        """Draw a kind of defect that suits the surface."""
        factor = (REGULAR_FACTOR if self.regular_boost else {}) if _is_regular(surface) else IRREGULAR_FACTOR
        weights = [w * factor.get(k, 1.0) for k, w in KIND_WEIGHTS.items()]
        return dice.choices(list(KIND_WEIGHTS), weights)[0]


def _is_regular(surface: str) -> bool:
    """Return whether the surface repeats itself, so that a single wrong element is seen."""
    return any(word in surface for word in REGULAR_WORDS)


def stands_out(before: Tensor, after: Tensor, mask: Tensor) -> Tensor:
    """Return whether tone, colour or grain inside the mask differ from before (b,), not only where each grain lies."""
    area = mask.flatten(1).sum(1).clamp(min=1)

    def inside(values: Tensor) -> Tensor:  # (b, C, H, W) -> (b, C)
        return (values * mask[:, None]).flatten(2).sum(2) / area[:, None]

    def grain(images: Tensor) -> Tensor:  # strength of the detail down and across
        gray = images.mean(1, keepdim=True)
        down, across = (gray - gray.roll(2, 2)).abs(), (gray - gray.roll(2, 3)).abs()
        return inside(torch.cat([down, across], 1))

    old, new = grain(before), grain(after)
    tone = (inside(after) - inside(before)).abs().amax(1)
    ratio = ((new + 0.004) / (old + 0.004)).log().abs()
    rougher = (ratio > 0.55) & ((new - old).abs() > 0.015)
    return (tone > 0.03 + 0.3 * old.amax(1)) | rougher.any(1)


def nearby(where: Tensor, cell: int) -> Tensor:
    """Return where a bool map (b, H, W) is true within about two cells: cheap, on a coarse grid."""
    coarse = F.max_pool2d(where.float()[:, None], cell, ceil_mode=True)
    coarse = F.max_pool2d(coarse, 5, 1, 2)
    return F.interpolate(coarse, scale_factor=cell, mode="nearest")[:, 0, : where.shape[1], : where.shape[2]] > 0


def visible(
    before: Tensor, after: Tensor, soft: Tensor, taken: Tensor, hiding: Tensor | float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return the tight mask of what can be seen (b, H, W) and whether the defect may stay (b,).

    The mask is the soft mask above one half, where the picture really changed nearby. A defect stays when its mean
    change clears a floor and the local texture, of which a share `hiding` (b,) counts, when it is large enough, and
    when it does not cover an older one.
    """
    b, h, w = soft.shape
    region = soft > 0.5
    change = (after - before).abs().amax(1)  # (b, H, W)
    size = region.flatten(1).sum(1).clamp(min=1)
    mean = (change * region).flatten(1).sum(1) / size
    floor = (0.3 * mean).clamp(min=0.02).view(b, 1, 1)
    near = nearby(change > floor, max(2, h // 64))
    mask = region & near & ~taken

    area = mask.flatten(1).sum(1)
    mean = (change * mask).flatten(1).sum(1) / area.clamp(min=1)
    rough = (before - smooth(before, max(2, h // 32))).abs().mean(1)
    texture = hiding * (rough * mask).flatten(1).sum(1) / area.clamp(min=1)
    clear = mean > torch.maximum(torch.full_like(mean, MIN_CHANGE), texture / (1 + area.sqrt() / (h / 10)))
    extent = torch.maximum(mask.any(1).sum(1), mask.any(2).sum(1))
    large = (area >= 8) & (extent >= max(4, round(MIN_EXTENT * h)))
    fresh = (region & taken).flatten(1).sum(1) < 0.2 * size
    return mask, clear & large & fresh


def even(images: Tensor, px: int) -> Tensor:
    """Return the mean of the square of odd side px around each pixel (b, C, H, W), as much of it as lies inside.

    By running sums down and then across, for torch's pooling on a CPU takes as long as the square has pixels.
    """
    for dim in (2, 3):
        n = images.shape[dim]
        at = torch.arange(n, device=images.device)
        first, stop = (at - px // 2).clamp(min=0), (at + px // 2 + 1).clamp(max=n)
        sums = F.pad(images.cumsum(dim), (1, 0) if dim == 3 else (0, 0, 1, 0))
        count = (stop - first).view(-1, *[1] * (3 - dim))
        images = (sums.index_select(dim, stop) - sums.index_select(dim, first)) / count
    return images


def still_seen(shot: Tensor, clean: Tensor, labels: Tensor, hiding: Tensor) -> Tensor:
    """Return the labels (b, H, W) without those of defects that the camera has hidden.

    Args:
        shot: the pictures as they are taken (b, 3, H, W).
        clean: the same without the defects, by the same camera with the same noise.
        labels: uint8 (b, H, W), the defects' numbers.
        hiding: share of the grain that hides a defect (b,).
    """
    wide = max(3, shot.shape[-1] // 32 * 2 + 1)
    change = even(shot - clean, 3).abs().amax(1)  # (b, H, W)
    small = even(clean, 3)
    grain = even((small - even(clean, wide)).abs().mean(1, keepdim=True), wide)[:, 0]
    needed = (MIN_SEEN_GRAIN * hiding.view(-1, 1, 1) * (grain + 0.01)).clamp(min=MIN_SEEN)
    clear = (change / needed).flatten(1)
    each = labels.flatten(1).long()  # (b, H * W)
    total = torch.zeros(len(labels), int(each.max()) + 1, device=labels.device)
    mean = total.scatter_add(1, each, clear) / total.scatter_add(1, each, torch.ones_like(clear)).clamp(min=1)
    return torch.where(mean.gather(1, each).view(labels.shape) < 1, 0, labels)

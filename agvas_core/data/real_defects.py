"""Real labelled defects from folders of the MVTec layout, as crops with the same kind of facts as synthetic images."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Generator

from agvas_core.data.mvtec_folder import GOOD, find_samples, load_mask
from agvas_core.processing import open_image
from agvas_core.synthesis.facts import DEFECT_KINDS, SceneFacts, SyntheticBatch
from agvas_core.synthesis.measure import measure

KIND_OF_FOLDER: dict[str, str] = {
    "pitting": "pit", "pore": "pit", "pothole": "hole", "symptom": "stain", "scratches": "scratch", "cracked": "crack",
}  # fmt: skip
SURFACE_OF_CATEGORY: dict[str, str] = {
    "ball_screw": "machined metal", "asphalt_road": "asphalt", "coffee_leaf": "leaf", "lpbf": "printed metal",
}  # fmt: skip
ORIENTATION = 0x0112  # the EXIF tag of a camera that was held askew
MAX_PARTS = 5  # further connected parts are counted with the smallest of these
MIN_DEFECT_PX = 12  # a crop with fewer defect pixels is drawn again
MAX_TRIES = 20


@dataclass(frozen=True)
class _Photo:
    """One file, still compressed, as memory for decoded ones would be gigabytes; its mask is a PNG of 0 and 255."""

    image: bytes
    mask: bytes | None
    kind: str | None
    category: str


class RealDefects:
    """Photographs in MVTec layout; see data.mvtec_folder.

    Args:
        folder: a category, a set of categories, or a folder of sets.
        good_share: share of the draws that start from a photograph without defect.

    Raises:
        FileNotFoundError: when the folder holds no photograph, or one without its mask.
        ValueError: when a photograph or a mask cannot be read.
    """

    def __init__(self, folder: str | Path, good_share: float = 0.35) -> None:
        self.good_share = good_share
        self.groups: dict[tuple[str, str], list[_Photo]] = {}  # (category, defect) -> photographs
        for sample in find_samples(folder):
            mask = None if sample.mask_path is None else _compressed(sample.mask_path)
            kind = None if sample.mask_path is None else kind_of(sample.defect)
            category = Path(sample.category).name
            photo = _Photo(_plain(sample.image_path), mask, kind, category)
            self.groups.setdefault((category, sample.defect), []).append(photo)

    def __len__(self) -> int:
        return sum(map(len, self.groups.values()))

    def batch(self, n: int, size: int, seed: int | Generator, device: str | torch.device = "cpu") -> SyntheticBatch:
        """Return n crops of size x size px; every category and defect comes about equally often."""
        rng = seed if isinstance(seed, Generator) else Generator().manual_seed(seed)
        dice = np.random.default_rng(int(torch.randint(2**31, (), generator=rng, device=rng.device)))
        images, labels, facts = [], [], []
        for _ in range(n):
            image, label, fact = self._sample(size, dice)
            images.append(torch.from_numpy(image))
            labels.append(torch.from_numpy(label))
            facts.append(fact)
        return SyntheticBatch(torch.stack(images).to(device), torch.stack(labels).to(device), facts)

    def _sample(self, size: int, dice: np.random.Generator) -> tuple[NDArray, NDArray, SceneFacts]:
        """Return uint8 (3, H, W), labels uint8 (H, W) and the facts of one crop."""
        good = dice.random() < self.good_share
        keys = [k for k in self.groups if (k[1] == GOOD) == good] or list(self.groups)
        for _ in range(MAX_TRIES):
            group = self.groups[keys[dice.integers(len(keys))]]
            photo = group[dice.integers(len(group))]
            rgb, mask = _crop(photo, size, dice)
            if photo.mask is None or mask.sum() >= MIN_DEFECT_PX:
                break
        else:
            raise ValueError(f"no crop with {MIN_DEFECT_PX} px of defect in {MAX_TRIES} tries; are the masks empty?")
        rgb = jitter(rgb, dice)
        labels = number_parts(mask)
        kinds = [photo.kind or ""] * int(labels.max())
        chw = np.ascontiguousarray(rgb.transpose(2, 0, 1))
        labels, defects = measure(chw.astype(np.float32) / 255, labels, kinds)
        surface = SURFACE_OF_CATEGORY.get(photo.category, photo.category.replace("_", " "))
        return chw, labels, SceneFacts(surface, None, (), defects, (size, size))


def kind_of(folder_name: str) -> str:
    """Return the defect kind for a folder's name; an unknown one is a stain, the least specific kind."""
    spoken = folder_name.lower().replace("_", " ")
    return spoken if spoken in DEFECT_KINDS else KIND_OF_FOLDER.get(folder_name.lower(), "stain")


def _plain(image_path: Path) -> bytes:
    """Return a photograph's bytes as they are, or those of its upright 8-bit picture where they are something else."""
    try:
        with Image.open(image_path) as picture:
            plain = picture.mode in ("RGB", "L") and picture.getexif().get(ORIENTATION, 1) == 1
    except OSError as error:
        raise ValueError(f"{image_path} is not a readable photograph ({error}).") from error
    return image_path.read_bytes() if plain else _png(open_image(image_path).rgb)


def _compressed(mask_path: Path) -> bytes:
    """Return a mask, whatever its values are, as a PNG of 0 and 255."""
    try:
        with Image.open(mask_path) as drawn:
            width, height = drawn.size
    except OSError as error:
        raise ValueError(f"{mask_path} is not a readable mask ({error}).") from error
    return _png(load_mask(mask_path, (height, width)).astype(np.uint8) * 255)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "PNG")
    return packed.getvalue()


def _crop(photo: _Photo, size: int, dice: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Return uint8 (size, size, 3) and bool (size, size): half to all of the short side, flipped and turned."""
    image = Image.open(io.BytesIO(photo.image)).convert("RGB")
    side = int(min(image.size) * dice.uniform(0.5, 1.0))
    drawn, anchor = None, [int(dice.integers(length)) for length in image.size]
    if photo.mask is not None:
        drawn = Image.open(io.BytesIO(photo.mask)).convert("L")
        if drawn.size != image.size:
            drawn = drawn.resize(image.size, Image.Resampling.NEAREST)
        # Around a labelled pixel: elsewhere in such photographs small defects may be unlabelled.
        marked = np.argwhere(np.asarray(drawn) > 127)
        if len(marked):
            anchor = marked[dice.integers(len(marked))][::-1].tolist()
    corner = [
        int(dice.integers(max(0, at - side + 1), min(length - side, at) + 1))
        for at, length in zip(anchor, image.size, strict=True)
    ]
    box = (corner[0], corner[1], corner[0] + side, corner[1] + side)
    rgb = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0))
    mask = np.zeros((size, size), bool)
    if drawn is not None:
        mask = np.asarray(drawn.resize((size, size), Image.Resampling.BOX, box=box)) > 127
    turns, flip = int(dice.integers(4)), bool(dice.integers(2))
    rgb, mask = np.rot90(rgb, turns), np.rot90(mask, turns)
    return (rgb[:, ::-1], mask[:, ::-1]) if flip else (rgb, mask)


def jitter(rgb: NDArray, dice: np.random.Generator) -> NDArray:
    """Vary gain, contrast and white balance; a fifth of the crops gray. uint8 in, uint8 out."""
    out = rgb.astype(np.float32) / 255
    if dice.random() < 0.2:
        out = np.repeat(out.mean(2, keepdims=True), 3, 2)
    mean = out.mean()
    out = (out - mean) * dice.uniform(0.7, 1.3) + mean * dice.uniform(0.75, 1.25)
    out = out * (1 + dice.normal(0, 0.05, 3).astype(np.float32))
    return (out.clip(0, 1) * 255).round().astype(np.uint8)


def number_parts(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return labels uint8 (H, W): the largest connected parts 1 to MAX_PARTS, what is left joined to the last."""
    parts, n = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=n + 1)[1:]
    renumber = np.zeros(n + 1, np.uint8)
    renumber[1 + np.argsort(-sizes, kind="stable")] = np.minimum(np.arange(n) + 1, MAX_PARTS)
    return renumber[parts]

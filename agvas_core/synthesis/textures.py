"""Real photographs of normal surfaces, from a folder that the user names; everything works without them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from agvas_core.synthesis.colors import luminance
from agvas_core.synthesis.noise import chance, integer, log_uniform, normal, uniform

SUFFIXES = {".jpg", ".jpeg", ".png"}
# Material words of a MANIFEST.csv that read badly in a sentence.
SPOKEN = {"other": "textured", "material": "textured", "ground": "gravel", "plaster_paint": "plaster", "tile": "tiled"}


class TextureBank:
    """Photographs kept as uint8 tensors in memory, sampled as jittered crops of one material at a time.

    Args:
        folder: searched recursively for jpg and png; a MANIFEST.csv (columns file, material) names the materials,
            else the name of the picture's own folder does.
        share: share of the surfaces that are real, 0 to 1.
        long_side_px: larger photographs are scaled down to this.

    Raises:
        FileNotFoundError: when the folder holds no picture.
    """

    def __init__(self, folder: str | Path, *, share: float = 0.4, long_side_px: int = 768) -> None:
        folder = Path(folder)
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not paths:
            raise FileNotFoundError(f"no .jpg or .png photograph under {folder}")
        self.share = share
        self.photos: dict[str, list[Tensor]] = {}  # material -> uint8 (3, H, W)
        materials = _manifest(folder)
        for path in paths:
            material = materials.get(path.relative_to(folder).as_posix(), path.parent.name)
            name = SPOKEN.get(material, material).replace("_", " ")
            self.photos.setdefault(name, []).append(_load(path, long_side_px))

    def __len__(self) -> int:
        return sum(map(len, self.photos.values()))

    def sample(self, b: int, size: int, rng: Generator, device: torch.device | str) -> tuple[Tensor, str]:
        """Return crops (b, 3, size, size) in [0, 1] of one material, and its name."""
        names = sorted(self.photos)
        weights = torch.tensor([len(self.photos[n]) for n in names], dtype=torch.float32, device=rng.device)
        name = names[int(torch.multinomial(weights.sqrt(), 1, generator=rng))]
        photos = self.photos[name]
        crops = [_crop(photos[integer(rng, 0, len(photos) - 1)], size, rng, device) for _ in range(b)]
        return _jitter(torch.stack(crops), rng), name


def _manifest(folder: Path) -> dict[str, str]:
    """Return material by file, empty without a MANIFEST.csv."""
    path = folder / "MANIFEST.csv"
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as handle:
        return {row["file"]: row["material"] for row in csv.DictReader(handle)}


def _load(path: Path, long_side_px: int) -> Tensor:
    with Image.open(path) as file:
        image = file.convert("RGB")
        image.thumbnail((long_side_px, long_side_px))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _crop(photo: Tensor, size: int, rng: Generator, device: torch.device | str) -> Tensor:
    """Return one square crop (3, size, size): 0.35 to 1 of the short side, enlarged at most 1.6 times, turned."""
    short = min(photo.shape[1:])
    smallest = min(short, max(int(0.35 * short), int(size / 1.6)))
    side = integer(rng, smallest, short)
    top, left = integer(rng, 0, photo.shape[1] - side), integer(rng, 0, photo.shape[2] - side)
    crop = photo[:, top : top + side, left : left + side].to(device, torch.float32)
    crop = F.interpolate(crop[None], (size, size), mode="bilinear", antialias=side > size)[0] / 255
    crop = torch.rot90(crop, integer(rng, 0, 3), (1, 2))
    return crop.flip(2) if integer(rng, 0, 1) else crop


def _jitter(images: Tensor, rng: Generator) -> Tensor:
    """Vary white balance, gain, contrast; a quarter of the images gray."""
    b = len(images)
    images = torch.where(chance(rng, b, 0.25)[:, None], luminance(images), images)
    images = images * (1 + 0.06 * normal(rng, (b, 3, 1, 1))) * log_uniform(rng, (b, 1, 1, 1), 0.55, 1.3)
    mean = images.mean((1, 2, 3), keepdim=True)
    return (mean + (images - mean) * uniform(rng, (b, 1, 1, 1), 0.6, 1.15)).clamp(0, 1)

"""MVTec layout: <category>/test/<good|defect>/NAME.ext with <category>/ground_truth/<defect>/NAME_mask.png."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agvas_core.processing import open_image, open_picture
from agvas_core.structures import InspectionImage

GOOD = "good"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Sample:
    """One image of a set and where its truth lies.

    Attributes:
        image_path: the image.
        mask_path: its mask, or None for a normal image.
        category: path of the category below the root ("cookie", or "aws_cookies/cookie" for nested sets).
        defect: the folder's name; "good" for normal images.
    """

    image_path: Path
    mask_path: Path | None
    category: str
    defect: str


def find_samples(root: str | Path) -> list[Sample]:
    """Return the test images of every category below a folder, sorted by category, defect and name.

    Args:
        root: a category, a set of categories, or a folder of sets.

    Raises:
        FileNotFoundError: when the folder is missing, holds no category, or a defect image has no mask.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}.")
    samples = [sample for category in _category_folders(root) for sample in _category_samples(root, category)]
    if not samples:
        raise FileNotFoundError(
            f"No images in {root}: expected <category>/test/{GOOD}/NAME.png and <category>/test/<defect>/NAME.png, "
            "with masks in <category>/ground_truth/<defect>/NAME_mask.png."
        )
    return samples


def train_samples(root: str | Path) -> list[Sample]:
    """Return the normal images of <category>/train/good of the categories that find_samples finds, sorted alike."""
    root = Path(root)
    return [
        Sample(image_path, None, _category_name(root, category), GOOD)
        for category in _category_folders(root)
        if (category / "train" / GOOD).is_dir()
        for image_path in sorted(_images(category / "train" / GOOD))
    ]


def load_sample(sample: Sample) -> tuple[InspectionImage, NDArray[np.bool_]]:
    """Return the image and its gt_mask, bool (H, W); a mask of another size is resized to the image, nearest.

    Raises:
        ValueError: when a file cannot be read.
    """
    try:
        image = open_image(sample.image_path)
    except ValueError as error:
        raise ValueError(f"{sample.image_path}: {error}") from error
    if sample.mask_path is None:
        return image, np.zeros(image.size_hw, dtype=bool)
    return image, load_mask(sample.mask_path, image.size_hw)


def load_mask(path: str | Path, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask file as bool (H, W): any value above 0 is anomalous; transparency is ignored.

    It is turned upright as images are.

    Raises:
        ValueError: when the file cannot be read, or is too large.
    """
    height, width = size_hw
    try:
        picture = open_picture(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a readable mask: {error}") from error
    values = np.asarray(picture.convert("RGB") if picture.mode not in ("1", "L", "I", "F", "I;16") else picture)
    mask = (values.max(axis=2) if values.ndim == 3 else values) > _floor(values, Path(path))
    if mask.shape != (height, width):
        resized = Image.fromarray(mask.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
        mask = np.asarray(resized) > 0
    return mask


def _floor(values: NDArray, path: Path) -> int:
    """Return the highest value that is background: JPEG masks ring, all others are exact."""
    is_lossy = path.suffix.lower() in (".jpg", ".jpeg", ".webp")
    return 127 if is_lossy and values.size and values.max() > 127 else 0


def _category_folders(root: Path) -> Iterator[Path]:
    """Yield the folders with a test folder: root itself, its children, or its grandchildren."""
    for level in ([root], sorted(_folders(root)), sorted(g for child in _folders(root) for g in _folders(child))):
        yield from (folder for folder in level if (folder / "test").is_dir())


def _category_samples(root: Path, category: Path) -> Iterator[Sample]:
    name = _category_name(root, category)
    for folder in sorted(_folders(category / "test")):
        masks = {} if folder.name == GOOD else _masks_by_stem(category / "ground_truth" / folder.name)
        for image_path in sorted(_images(folder)):
            mask_path = None
            if folder.name != GOOD:
                stem = image_path.stem
                mask_path = masks.get(f"{stem}_mask") or masks.get(stem)
                if mask_path is None:
                    wanted = category / "ground_truth" / folder.name / f"{stem}_mask.png"
                    raise FileNotFoundError(f"{image_path} has no mask: expected {wanted} or {stem}.png beside it.")
            yield Sample(image_path, mask_path, name, folder.name)


def _category_name(root: Path, category: Path) -> str:
    return category.name if category == root else category.relative_to(root).as_posix()


def _masks_by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in _images(folder)} if folder.is_dir() else {}


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _images(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()]

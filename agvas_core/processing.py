"""Image in, canvas for the model, maps back: open_image reads any picture; fit and restore go there and back."""

# H, W: the uploaded image's own size. C: side of the square canvas. h, w: size of a map over the whole canvas.

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from agvas_core.picture_files import decode, deep_colors, loaded, read_bytes
from agvas_core.pixel_values import array_to_rgb, picture_to_rgb
from agvas_core.structures import InspectionImage

_CELLS_AT_ONCE = 2**16


def open_image(source: str | Path | bytes | Image.Image | NDArray, name: str | None = None) -> InspectionImage:
    """Return any picture as upright 8-bit RGB.

    EXIF orientation is applied; of an animation the first frame is taken. Transparent pixels show white, except when
    every pixel is transparent (an unused alpha channel), which is then ignored. 16-bit and float greys are stretched
    between their robust extremes (see stretch_to_uint8); a float array within [0, 1] is scaled by 255. Of 16-bit
    colours the upper 8 bits are taken; a PNG or TIFF that they leave nearly black, with 10, 12 or 14 bits in use, is
    stretched as greys are. Not so a PPM file: Pillow gives only its upper bits.

    Args:
        source: path, the bytes of a file, a PIL image, or an array (H, W), (H, W, 1 | 2 | 3 | 4) of grey, grey +
            alpha, RGB or RGBA: bool, uint8, or deeper.
        name: the name to show; by default the file's name.

    Raises:
        FileNotFoundError: when the path does not exist.
        ValueError: when it is empty, too large, damaged or not an image; the message is a sentence for the user.
    """
    if isinstance(source, (str, Path)):
        return _inspection_image(_bytes_to_rgb(read_bytes(Path(source))), name or Path(source).name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _inspection_image(_bytes_to_rgb(bytes(source)), name or "image")
    if isinstance(source, Image.Image):
        shown = name or Path(str(getattr(source, "filename", "") or "image")).name
        return _inspection_image(picture_to_rgb(loaded(source)), shown)
    if isinstance(source, np.ndarray):
        return _inspection_image(array_to_rgb(source), name or "image")
    raise ValueError(f"Cannot read an image from a {type(source).__name__}; give a path, bytes, image or array.")


def open_picture(path: str | Path) -> Image.Image:
    """Return a picture file upright and decoded, in its own mode; raises what open_image does."""
    return loaded(decode(read_bytes(Path(path))))


@dataclass(frozen=True)
class Letterbox:
    """How an image lies on the canvas: scaled into the upper left corner, the rest repeats its last row and column.

    Attributes:
        size_hw: the image's own height and width, px.
        canvas: side of the square canvas, px.
    """

    size_hw: tuple[int, int]
    canvas: int

    @property
    def content_hw(self) -> tuple[int, int]:
        """Height and width of the scaled image on the canvas, whole px and at least 1."""
        longest = max(self.size_hw)
        height, width = (max(1, math.floor(side * self.canvas / longest + 0.5)) for side in self.size_hw)
        return height, width


def fit(rgb: NDArray[np.uint8], canvas: int, *, bilinear: bool = False) -> tuple[NDArray[np.uint8], Letterbox]:
    """Scale an image's longer side to the canvas, and fill the canvas to the right and below.

    The fill repeats the last column and row: a border in black or in the mean colour would be the strongest edge
    of many pictures, and an anomaly of its own.

    Args:
        rgb: uint8 (H, W, 3).
        canvas: C, side in px.
        bilinear: scale as SAM's own preprocessing does, and the other pretrained encoders'.

    Returns:
        uint8 (C, C, 3), and how to come back.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise ValueError(f"rgb must be uint8 (H, W, 3); got {rgb.dtype} {rgb.shape}.")
    if canvas < 1:
        raise ValueError(f"canvas must be at least 1 px; got {canvas}.")
    letterbox = Letterbox((int(rgb.shape[0]), int(rgb.shape[1])), int(canvas))
    height, width = letterbox.content_hw
    content = rgb
    if (height, width) != letterbox.size_hw:
        shrinks = canvas < max(letterbox.size_hw)
        picture = Image.fromarray(np.ascontiguousarray(rgb))
        kernel = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
        # The gap lets Pillow average whole blocks first: as good at this size, and several times faster.
        gap = 3.0 if shrinks else None
        if bilinear:
            kernel, gap = Image.Resampling.BILINEAR, None
        content = np.asarray(picture.resize((width, height), kernel, reducing_gap=gap))
    padded = np.pad(content, ((0, canvas - height), (0, canvas - width), (0, 0)), mode="edge")  # (C, C, 3)
    return padded, letterbox


def restore(canvas_map: Tensor | ArrayLike, letterbox: Letterbox) -> NDArray[np.float32]:
    """Bring a map over the canvas back to the image: the exact inverse of fit.

    Each original pixel's centre is carried into the map's coordinates (no half-pixel shift, whatever the map's
    resolution) and read with a triangle kernel, widened where the map is finer than the image; cells that hold
    fill only are never read.

    Args:
        canvas_map: (..., h, w) at any resolution, covering the whole canvas; a tensor is worked on where it is.
        letterbox: from fit.

    Returns:
        float32 (..., H, W), within the range of the values given.
    """
    values = canvas_map.detach() if isinstance(canvas_map, Tensor) else torch.from_numpy(np.array(canvas_map))
    values = values.float()  # (..., h, w)
    if values.ndim < 2:
        raise ValueError(f"canvas_map must have the shape (..., h, w); got {tuple(values.shape)}.")
    (height, width), (content_h, content_w) = letterbox.size_hw, letterbox.content_hw
    h, w = values.shape[-2:]
    with torch.autocast(values.device.type, enabled=False):  # a map is not to lose its last digits on its way back
        values = _read_rows(values.mT, width, content_w * w / letterbox.canvas).mT  # (..., h, W)
        return _read_rows(values, height, content_h * h / letterbox.canvas).cpu().numpy()


def limit_canvas(size_hw: tuple[int, int], serving_px: int, multiple: int = 32) -> int:
    """Return the canvas for an image: serving_px, or its own longer side if that is less.

    Args:
        size_hw: height and width of the image, px.
        serving_px: side at which the model serves large images, px, a multiple of `multiple`.
        multiple: the canvas is a multiple of this, rounded up.
    """
    if serving_px < multiple or serving_px % multiple:
        raise ValueError(f"serving_px must be a multiple of {multiple}; got {serving_px}.")
    return min(serving_px, -(-max(size_hw) // multiple) * multiple)


def _centers(size: int, content: float) -> NDArray[np.float64]:
    """Return where the centres of `size` pixels lie in the first `content` cells, in cell indices."""
    return (np.arange(size) + 0.5) * content / size - 0.5


def _valid_cells(content: float, cells: int) -> int:
    """Return how many cells hold content, at least in part."""
    return min(cells, max(1, math.ceil(content - 1e-6)))


def _read_rows(values: Tensor, size: int, content: float) -> Tensor:
    """Return (..., size, W) from the first `content` rows of (..., h, W)."""
    cells = values.shape[-2]
    if content > size:
        return torch.from_numpy(_kernel(size, content, cells)).to(values.device) @ values
    # Two taps, the same numbers as the kernel's: a product with a matrix of zeros would take seconds on large images,
    # and that matrix gigabytes for one that is a few pixels high and very long.
    values, last = values.contiguous(), _valid_cells(content, cells) - 1
    centers = np.clip(_centers(size, content), 0, last)
    upper = torch.from_numpy(np.floor(centers).astype(np.int64)).to(values.device)  # (size,)
    weight = torch.from_numpy((centers % 1.0).astype(np.float32)).to(values.device)[:, None]  # (size, 1)
    lower = (upper + 1).clamp(max=last)
    if values.device.type != "cpu":
        return values.index_select(-2, upper).lerp_(values.index_select(-2, lower), weight)
    out = values.new_empty(*values.shape[:-2], size, values.shape[-1])
    at_once = max(1, _CELLS_AT_ONCE // values.shape[-1])
    for rows in torch.arange(size).split(at_once):  # stays in the cache; twice as fast on large images
        above, below = values.index_select(-2, upper[rows]), values.index_select(-2, lower[rows])
        torch.lerp(above, below, weight[rows], out=out[..., rows[0] : rows[-1] + 1, :])
    return out


def _kernel(size: int, content: float, cells: int) -> NDArray[np.float32]:
    """Return (size, cells) weights, rows summing to 1, that read `size` pixels from the first `content` cells."""
    centers = _centers(size, content)  # (size,)
    reach = max(1.0, content / size)  # half width of the triangle
    valid = _valid_cells(content, cells)
    distance = np.abs(centers[:, None] - np.arange(valid)[None, :]) / reach
    weights = np.zeros((size, cells))
    weights[:, :valid] = np.maximum(0.0, 1.0 - distance)
    empty = weights.sum(axis=1) == 0.0  # centre beyond the last valid cell: a sliver thinner than a cell
    weights[empty, np.clip(np.rint(centers[empty]), 0, valid - 1).astype(int)] = 1.0
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _bytes_to_rgb(data: bytes) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) from a file's bytes."""
    picture = loaded(decode(data))
    deep = deep_colors(picture, data)
    return picture_to_rgb(picture) if deep is None else array_to_rgb(deep)


def _inspection_image(rgb: NDArray[np.uint8], name: str) -> InspectionImage:
    rgb = np.ascontiguousarray(rgb)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{rgb.shape[0]}x{rgb.shape[1]}:".encode())
    digest.update(rgb.data)
    return InspectionImage(digest.hexdigest(), rgb, name)

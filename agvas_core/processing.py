"""Image in, canvas for the model, maps back: open_image reads any picture; fit and restore go there and back."""

# H, W: the uploaded image's own size. C: side of the square canvas. h, w: size of a map over the whole canvas.

from __future__ import annotations

import hashlib
import io
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from agvas_core import tiff
from agvas_core.structures import InspectionImage

MAX_MEGAPIXELS = 40.0
MAX_SIDE_PX = 30_000  # a picture one pixel high is small in megapixels, however long it is to work on
MAX_FILE_MB = 256
# Only readers that run no other program (EPS would start Ghostscript); phones' MPO files are opened as JPEG.
FORMATS: tuple[str, ...] = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
WANTED = "upload a PNG, JPEG, WebP, BMP or TIFF image"

_CELLS_AT_ONCE = 2**16
_NEARLY_BLACK = 64  # above the upper 8 of 16 bits, where 14 or fewer are in use
_FOREIGN = "B" if sys.byteorder == "little" else "L"
_GREY_ALPHA = "LA;16B"
_OTHER_BYTES = {
    f"{colors};16{order}": f"{colors};16{other}"
    for colors in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", _FOREIGN))
} | {_GREY_ALPHA: "RGBA"}  # its four bytes as they are: Pillow has no other reader of them
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


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
        return _inspection_image(_bytes_to_rgb(_read_bytes(Path(source))), name or Path(source).name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _inspection_image(_bytes_to_rgb(bytes(source)), name or "image")
    if isinstance(source, Image.Image):
        shown = name or Path(str(getattr(source, "filename", "") or "image")).name
        return _inspection_image(_picture_to_rgb(_loaded(source)), shown)
    if isinstance(source, np.ndarray):
        return _inspection_image(_array_to_rgb(source), name or "image")
    raise ValueError(f"Cannot read an image from a {type(source).__name__}; give a path, bytes, image or array.")


def open_picture(path: str | Path) -> Image.Image:
    """Return a picture file upright and decoded, in its own mode; raises what open_image does."""
    return _loaded(_decode(_read_bytes(Path(path))))


def stretch_to_uint8(values: ArrayLike) -> NDArray[np.uint8]:
    """Return deep grey values of any range as uint8 of the same shape.

    Black and white are the 0.1 and 99.9 percentiles, widened towards the true extremes by at most half their
    distance each: a dead pixel does not eat the contrast, and a small bright defect is not clipped. NaN and -inf
    become black, +inf white; an image of one value becomes its place in the type's range (floats: in [0, 1]).
    """
    array = np.asarray(values)
    if array.dtype == np.uint16 and array.size:  # by a table: a colour photo of 40 MP would take gigabytes in floats
        table = _between(np.arange(2**16, dtype=np.float64), *_extremes(array, 65535.0))
        return table[array]
    full_scale = float(np.iinfo(array.dtype).max) if np.issubdtype(array.dtype, np.integer) else 1.0
    deep = array.astype(np.float64)
    finite = deep[np.isfinite(deep)]
    if finite.size == 0:
        return np.where(deep == np.inf, 255, 0).astype(np.uint8)
    low, high = _extremes(finite, full_scale)
    return _between(np.nan_to_num(deep, nan=low, neginf=low, posinf=high), low, high)


def _extremes(finite: NDArray, full_scale: float) -> tuple[float, float]:
    """Return what becomes black and what white; full_scale: what is white where all values are equal."""
    low, high = (float(value) for value in np.percentile(finite, (0.1, 99.9)))
    margin = (high - low) / 2
    low, high = max(float(finite.min()), low - margin), min(float(finite.max()), high + margin)
    if high <= low:  # all but single pixels are equal
        low, high = float(finite.min()), float(finite.max())
    if high <= low:
        low, high = 0.0, full_scale
    return low, high


def _between(deep: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    return np.rint(255.0 * np.clip((deep - low) / (high - low), 0.0, 1.0)).astype(np.uint8)


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


def _read_bytes(path: Path) -> bytes:
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; {WANTED}.")
    with path.open("rb") as file:
        data = file.read(MAX_FILE_MB * 1024 * 1024 + 1)
    if len(data) > MAX_FILE_MB * 1024 * 1024:
        kind = _foreign_kind(data)
        raise ValueError(f"This file is {kind}; {WANTED}." if kind else f"This file is larger than {MAX_FILE_MB} MB.")
    return data


def _decode(data: bytes) -> Image.Image:
    if not data:
        raise ValueError(f"This file is empty; {WANTED}.")
    try:
        Image.init()  # registers the readers of this build of Pillow, which may lack some
        return Image.open(io.BytesIO(data), formats=[form for form in FORMATS if form in Image.OPEN])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"This image is far too large; the limit is {MAX_MEGAPIXELS:g} megapixels.") from error
    except UnidentifiedImageError as error:
        kind = _foreign_kind(data)
        if kind:
            raise ValueError(f"This file is {kind}; {WANTED}.") from error
        if tiff.has_unknown_pixels(data):
            raise ValueError(tiff.UNKNOWN_PIXELS) from error
        raise ValueError(f"This file is damaged or not an image; {WANTED}.") from error
    except Exception as error:  # a header that a reader chokes on
        raise ValueError(f"This image is damaged or incomplete ({error}); save or export it again.") from error


def _foreign_kind(data: bytes) -> str | None:
    """Name what a file is by its first bytes, with its article, when it is something known that we do not read."""
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    starts = (
        (b"%pdf", "a PDF"),
        (b"8bps", "a Photoshop document"),
        (b"%!ps", "a PostScript file"),
        (b"\x1a\x45\xdf\xa3", "a video"),
        (b"flv", "a video"),
        (b"\x00\x00\x01\xba", "a video"),
        (b"\x00\x00\x01\xb3", "a video"),
        (b"<!doctype html", "an HTML page"),
        (b"<html", "an HTML page"),
        (b"pk\x03\x04", "a ZIP archive or an office document"),
        (b"\x1f\x8b", "a compressed archive"),
        (b"7z\xbc\xaf", "a compressed archive"),
        (b"rar!", "a compressed archive"),
        (b"\x93numpy", "a NumPy array"),
        (b"id3", "a sound file"),
    )
    for start, kind in starts:
        if head.startswith(start.lower()):
            return kind
    if head.startswith((b"<svg", b"<?xml", b"<!doctype svg", b"<!--")) and b"<svg" in data[:4096].lower():
        return "an SVG drawing"
    if data[4:8] == b"ftyp":
        brands = data[8:32]
        if any(brand in brands for brand in (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1")):
            return "a HEIC photo"
        return "an AVIF image that cannot be read here" if b"avif" in brands else "a video"
    if head.startswith(b"riff") and data[8:12] == b"AVI ":
        return "a video"
    if head.startswith(b"riff") and data[8:12] == b"WAVE":
        return "a sound file"
    if data[128:132] == b"DICM":
        return "a DICOM scan"
    if data[:1024].isascii() and b"\x00" not in data[:1024]:
        return "a text file"
    return None


def _check_size(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"This image has no pixels ({width} x {height}).")
    megapixels = height * width / 1e6
    if megapixels > MAX_MEGAPIXELS:
        raise ValueError(
            f"This image has {width} x {height} = {megapixels:.0f} megapixels; the limit is {MAX_MEGAPIXELS:g}. "
            "Crop it or scale it down."
        )
    if max(height, width) > MAX_SIDE_PX:
        raise ValueError(
            f"This image has {width} x {height} px; the limit of its longer side is {MAX_SIDE_PX:,} px. "
            "Crop it or scale it down."
        )


def _loaded(picture: Image.Image) -> Image.Image:
    """Return a picture decoded and upright, unless it is too large or damaged."""
    _check_size(picture.height, picture.width)
    tiff.check_planes(picture)
    try:
        picture.load()
    except Exception as error:  # Pillow's readers raise almost anything on damaged data
        raise ValueError(f"This image is damaged or incomplete ({error}); save or export it again.") from error
    return tiff.turned(_upright(picture)) if tiff.shows_negative(picture) else _upright(picture)


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture) or picture
    except Exception:  # broken EXIF: the pixels are still good
        return picture


def _bytes_to_rgb(data: bytes) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) from a file's bytes."""
    picture = _loaded(_decode(data))
    low = _low_bytes(data) if _may_be_deep(picture) else None
    return _picture_to_rgb(picture) if low is None else _array_to_rgb(_deep_colors(picture, low))


def _may_be_deep(picture: Image.Image) -> bool:
    """Whether 8 bits of a picture are so dark that most of what it shows may be in 8 lower ones."""
    if picture.mode not in ("RGB", "RGBA") or "transparency" in picture.info:
        return False
    extrema: Any = picture.getextrema()
    return max(most for _, most in extrema[:3]) < _NEARLY_BLACK


def _low_bytes(data: bytes) -> NDArray[np.uint8] | None:
    """Return the lower 8 bits, (H, W, 3 | 4), of a PNG or TIFF with 16 bits a colour; None of any other picture.

    Pillow keeps one byte of each value, the upper one; told that the file has the other byte order, it keeps the lower.
    """
    picture: Any = _decode(data)
    if picture.format not in ("PNG", "TIFF"):
        return None
    raws = [tile.args if isinstance(tile.args, str) else tile.args[0] for tile in picture.tile]
    if not raws or any(raw not in _OTHER_BYTES for raw in raws):
        return None
    picture.tile = [
        tile._replace(args=_OTHER_BYTES[raw] if isinstance(tile.args, str) else (_OTHER_BYTES[raw], *tile.args[1:]))
        for raw, tile in zip(raws, picture.tile, strict=True)
    ]
    low = np.asarray(_loaded(picture))
    return low[..., [1, 1, 1, 3]] if raws[0] == _GREY_ALPHA else low


def _deep_colors(high: Image.Image, low: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return uint16 (H, W, 3 | 4) of upper and lower bytes; alpha, which may use as few bits, is made to fill them."""
    deep = np.asarray(high).astype(np.uint16)
    deep <<= 8
    deep |= low
    if deep.shape[2] == 4:
        most = int(deep[..., 3].max())
        if 0 < most < _NEARLY_BLACK << 8:
            deep[..., 3] = deep[..., 3].astype(np.uint32) * 65535 // most
    return deep


def _picture_to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) from a loaded PIL image of any mode."""
    if picture.mode in _DEEP_MODES:
        values = np.asarray(picture)
        if picture.mode == "I" and values.min() >= 0 and values.max() <= 65535:  # as Pillow reads PGM files of 16 bits
            values = values.astype(np.uint16)
        return _gray_to_rgb(stretch_to_uint8(values))
    has_alpha = picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
    if not has_alpha:
        return np.array(picture.convert("RGB"))
    if picture.mode in ("RGBa", "La"):
        picture = picture.convert(picture.mode[:-1] + "A")
    return _on_white(np.asarray(picture.convert("RGBA")))


def _array_to_rgb(array: NDArray) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) from an array of grey, grey + alpha, RGB or RGBA values."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise ValueError(f"An image array must be (H, W) or (H, W, 1 | 2 | 3 | 4); got {array.shape}.")
    _check_size(int(array.shape[0]), int(array.shape[1]))
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype != np.uint8:
        if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
            raise ValueError(f"An image array must hold numbers; got {array.dtype}.")
        array = _deep_array_to_uint8(array)
    channels = 1 if array.ndim == 2 else array.shape[2]
    if channels == 1:
        return _gray_to_rgb(array.reshape(array.shape[:2]))
    if channels == 3:
        return np.array(array)
    colors = array[..., :1].repeat(3, axis=2) if channels == 2 else array[..., :3]
    return _on_white(np.concatenate((colors, array[..., -1:]), axis=2))


def _deep_array_to_uint8(array: NDArray) -> NDArray[np.uint8]:
    is_float = np.issubdtype(array.dtype, np.floating)
    in_unit = is_float and bool(np.isfinite(array).all()) and array.min() >= 0.0 and array.max() <= 1.0
    if in_unit:
        return np.rint(array * 255.0).astype(np.uint8)
    if array.ndim == 3 and array.shape[2] in (2, 4):  # alpha has a range of its own
        full_scale = 1.0 if is_float else float(np.iinfo(array.dtype).max)
        alpha = np.rint(255.0 * np.clip(np.nan_to_num(array[..., -1:] / full_scale), 0.0, 1.0)).astype(np.uint8)
        return np.concatenate((stretch_to_uint8(array[..., :-1]), alpha), axis=2)
    return stretch_to_uint8(array)


def _gray_to_rgb(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(gray[:, :, None], 3, axis=2)


def _on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3): colours over white; an alpha of zero everywhere counts as unused."""
    color, alpha = rgba[..., :3], rgba[..., 3:]
    if alpha.min() == 255 or alpha.max() == 0:
        return np.array(color)
    opacity = alpha.astype(np.float32) / 255.0  # (H, W, 1)
    return np.rint(color * opacity + 255.0 * (1.0 - opacity)).astype(np.uint8)


def _inspection_image(rgb: NDArray[np.uint8], name: str) -> InspectionImage:
    rgb = np.ascontiguousarray(rgb)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{rgb.shape[0]}x{rgb.shape[1]}:".encode())
    digest.update(rgb.data)
    return InspectionImage(digest.hexdigest(), rgb, name)

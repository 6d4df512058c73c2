"""Picture files: bytes in, a decoded and upright picture out, or a sentence that says what is wrong with them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from agvas_core import tiff

MAX_MEGAPIXELS = 40.0
MAX_SIDE_PX = 30_000  # a picture one pixel high is small in megapixels, however long it is to work on
MAX_FILE_MB = 256
# Only readers that run no other program (EPS would start Ghostscript); phones' MPO files are opened as JPEG.
FORMATS: tuple[str, ...] = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
WANTED = "upload a PNG, JPEG, WebP, BMP or TIFF image"

_NEARLY_BLACK = 64  # above the upper 8 of 16 bits, where 14 or fewer are in use
_FOREIGN = "B" if sys.byteorder == "little" else "L"
_GREY_ALPHA = "LA;16B"
_OTHER_BYTES = {
    f"{colors};16{order}": f"{colors};16{other}"
    for colors in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", _FOREIGN))
} | {_GREY_ALPHA: "RGBA"}  # its four bytes as they are: Pillow has no other reader of them


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; FileNotFoundError or ValueError, a sentence for the user, when it is none or too large."""
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


def decode(data: bytes) -> Image.Image:
    """Return a file's picture, its pixels not read yet; ValueError, a sentence for the user, when it is no image."""
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


def check_size(height: int, width: int) -> None:
    """Raise ValueError, a sentence for the user, when an image of this size, px, is empty or too large to work on."""
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


def loaded(picture: Image.Image) -> Image.Image:
    """Return a picture decoded and upright, unless it is too large or damaged."""
    check_size(picture.height, picture.width)
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


def deep_colors(picture: Image.Image, data: bytes) -> NDArray[np.uint16] | None:
    """Return all 16 bits of colours, uint16 (H, W, 3 | 4), of a PNG or TIFF whose upper 8 are nearly black, or None.

    picture: the file's, loaded. Alpha, which may use as few bits, is made to fill them.
    """
    low = _low_bytes(data) if _may_be_deep(picture) else None
    if low is None:
        return None
    deep = np.asarray(picture).astype(np.uint16)
    deep <<= 8
    deep |= low
    if deep.shape[2] == 4:
        most = int(deep[..., 3].max())
        if 0 < most < _NEARLY_BLACK << 8:
            deep[..., 3] = deep[..., 3].astype(np.uint32) * 65535 // most
    return deep


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
    picture: Any = decode(data)
    if picture.format not in ("PNG", "TIFF"):
        return None
    raws = [tile.args if isinstance(tile.args, str) else tile.args[0] for tile in picture.tile]
    if not raws or any(raw not in _OTHER_BYTES for raw in raws):
        return None
    picture.tile = [
        tile._replace(args=_OTHER_BYTES[raw] if isinstance(tile.args, str) else (_OTHER_BYTES[raw], *tile.args[1:]))
        for raw, tile in zip(raws, picture.tile, strict=True)
    ]
    low = np.asarray(loaded(picture))
    return low[..., [1, 1, 1, 3]] if raws[0] == _GREY_ALPHA else low

"""TIFF files that Pillow reads otherwise than they are meant, or not at all."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

UNKNOWN_PIXELS = "The kind of pixels in this TIFF cannot be read here; save it as 8- or 16-bit grey or RGB."

# how a file begins in both byte orders, and the bytes of its header; the last two are BigTIFF
_HEADERS = {b"II*\0": 8, b"MM\0*": 8, b"II+\0": 16, b"MM\0+": 16}
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _PLANAR = 256, 257, 258, 262, 284  # tags
_WHITE_IS_ZERO, _PLANES = 0, 2


def has_unknown_pixels(data: bytes) -> bool:
    """Return whether a file that Pillow cannot open is a whole TIFF all the same: half and double floats, say."""
    header = data[: _HEADERS.get(data[:4], 0)]
    if not header:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a directory that breaks off
            tags = TiffImagePlugin.ImageFileDirectory_v2(header)
            file = io.BytesIO(data)
            file.seek(tags.next)
            tags.load(file)
            return all(tags.get(tag) for tag in (_WIDTH, _HEIGHT, _BITS))
    except Exception:  # Pillow's readers raise almost anything on damaged data
        return False


def check_planes(picture: Any) -> None:
    """Refuse a TIFF whose 16-bit planes Pillow would read as planes of 8 bits, which gives stripes of noise."""
    if picture.format != "TIFF" or not picture.tile:
        return
    tags, args = picture.tag_v2, picture.tile[0].args
    if tags.get(_PLANAR) == _PLANES and max(tags.get(_BITS, (8,))) > 8 and args[0] in ("R", "C"):
        raise ValueError(
            "This TIFF holds more than 8 bits a colour in a plane for each colour, uncompressed, which cannot be read "
            "here; save it with its colours together, or as a PNG."
        )


def shows_negative(picture: Any) -> bool:
    """Return whether Pillow leaves the deep greys of a TIFF as they are though 0 is white in it; it turns 8 bits."""
    tags = getattr(picture, "tag_v2", {}) if picture.format == "TIFF" else {}
    return picture.mode in ("I;16", "F") and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def turned(negative: Image.Image) -> Image.Image:
    """Return a picture of deep greys with black for white; floats are taken to lie between 0 and 1."""
    values = np.asarray(negative)
    return Image.fromarray(np.float32(1) - values if negative.mode == "F" else np.iinfo(values.dtype).max - values)

"""Pixel values of any depth and number of channels as 8-bit RGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from agvas_core.picture_files import check_size

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


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


def picture_to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
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


def array_to_rgb(array: NDArray) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) from an array of grey, grey + alpha, RGB or RGBA values."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise ValueError(f"An image array must be (H, W) or (H, W, 1 | 2 | 3 | 4); got {array.shape}.")
    check_size(int(array.shape[0]), int(array.shape[1]))
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

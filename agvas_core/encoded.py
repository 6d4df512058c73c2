"""What is kept of images and of chats: encoded views, read tokens, and what is to be read, said or decoded."""

# L tokens, D width of the LLM, H, W the image's own size

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from agvas_core.modeling.agvas import ImageFeatures
from agvas_core.modeling.pixel_features import PixelFeatures
from agvas_core.processing import Letterbox
from agvas_core.structures import Prediction
from agvas_core.views import View


@dataclass(frozen=True, eq=False)
class Glimpse:
    """A further view of an image: its features, kept in half precision, and how its canvas maps back to it."""

    view: View
    features: PixelFeatures
    letterbox: Letterbox


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """What is kept of an image: features of its canvas, and how the canvas maps back.

    Attributes:
        rgb: the image itself, uint8 (H, W, 3): a mask's outlines follow it.
        again: further looks at the whole image, mirrored and smaller; their maps become one.
        tiles: parts of it seen larger, when a close look was asked for or it is long and narrow.
        whole_share: weight of the maps of the whole where there are tiles.
    """

    image_id: str
    features: ImageFeatures
    letterbox: Letterbox
    canvas_hw: tuple[int, int]
    rgb: NDArray[np.uint8]
    again: tuple[Glimpse, ...] = ()
    tiles: tuple[Glimpse, ...] = ()
    whole_share: float = 1.0

    @property
    def tokens(self) -> int:
        """Placeholders of it in the LLM's input."""
        return self.features.visual.shape[1]

    @property
    def seen_px(self) -> int:
        """How much of it a look shows, px along its longer side: one of the tiles, where there are any."""
        if not self.tiles:
            return max(self.letterbox.size_hw)
        left, top, right, bottom = self.tiles[0].view.box_xyxy
        return max(right - left, bottom - top)

    @property
    def nbytes(self) -> int:
        """Memory of the image and of all features kept, the further looks' included."""
        pixel = [self.features.pixel, *(glimpse.features for glimpse in (*self.again, *self.tiles))]
        tensors = [self.features.visual, *(t for features in pixel for t in (*features.tensors, features.image))]
        return self.rgb.nbytes + sum(tensor.nbytes for tensor in tensors if tensor is not None)


@dataclass(eq=False)
class Prefix:
    """Tokens that the LLM has read, their cache, and the last hidden states of the newest ones.

    Attributes:
        ids: token ids read so far.
        cache: their keys and values.
        hidden: (1, L', D), states of the last L' tokens read.
        image_id: the image in it.
        region_key: digests of the masks whose tokens are in it; prefixes with other regions are not mixed up.
    """

    ids: list[int]
    cache: DynamicCache
    hidden: Tensor
    image_id: str
    region_key: tuple[bytes, ...]


@dataclass(frozen=True, eq=False)
class Reading:
    """What is to be read; see AnomalyPredictor.read."""

    ids: list[int]
    encoded: EncodedImage
    region_masks: Tensor | None = None
    anchors: bool = False


@dataclass(frozen=True, eq=False)
class Look:
    """What a mask is made of: anchor states (1, 3, D), pixel features of batch 1, how their canvas maps back."""

    states: Tensor
    features: PixelFeatures
    letterbox: Letterbox


@dataclass(frozen=True, eq=False)
class Step:
    """The next word of a reply: the state (1, D) that it follows, the cache of all before, or which word it must be."""

    hidden: Tensor
    cache: DynamicCache
    forced: int | None


def digest(mask: Tensor) -> bytes:
    """Return what tells a mask from others, and costs little to keep."""
    return hashlib.sha256(np.packbits(mask.cpu().numpy()).tobytes()).digest()


def common(a: list[int], b: list[int]) -> int:
    """Return how many tokens two lists begin with alike."""
    n = min(len(a), len(b))
    for i in range(n):
        if a[i] != b[i]:
            return i
    return n


def keep(store: OrderedDict, key: object, value: object, bound: int, most_bytes: int | None = None) -> None:
    """Put a value into a store as its newest; the oldest go beyond the bound.

    most_bytes: the oldest go beyond this memory, too; the newest stays however large. Values then are encoded images
        or predictions.
    """
    store[key] = value
    store.move_to_end(key)
    while len(store) > bound or (len(store) > 1 and most_bytes is not None and _bytes_of(store) > most_bytes):
        store.popitem(last=False)


def _bytes_of(store: OrderedDict[object, EncodedImage | Prediction]) -> int:
    return sum(
        value.nbytes if isinstance(value, EncodedImage) else sum(m.nbytes for m in _maps_of(value))
        for value in store.values()
    )


def _maps_of(prediction: Prediction) -> tuple[NDArray, ...]:
    return prediction.p_seg, prediction.p_nor, prediction.p_ano, prediction.anomaly_map, prediction.pred_mask

"""Regions' tokens and the loss of their kinds, by the same steps on every process, whatever its batch holds."""

# N defects, R region placeholders, K kinds, D width of the LLM, H x W canvas px

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from agvas_core.modeling.agvas import AGVAS
from agvas_core.modeling.pixel_features import PixelFeatures

UNKNOWN_KIND = -100  # what cross_entropy leaves out


class DefectsBatch(Protocol):
    """What is read of a batch: its defects, and whose defect each placeholder stands for; as in joint.JointBatch."""

    @property
    def labels(self) -> Tensor: ...
    @property
    def region_image(self) -> Tensor: ...
    @property
    def region_number(self) -> Tensor: ...
    @property
    def defect_image(self) -> Tensor: ...
    @property
    def defect_number(self) -> Tensor: ...
    @property
    def defect_kind(self) -> Tensor: ...


class RegionsRead(NamedTuple):
    """What the region reader made of a batch.

    Attributes:
        tokens: of the region placeholders, in reading order (R, D), or None if there are none.
        kind: the kinds' cross-entropy, 0 where no kind is known.
        zero: 0, made of every token and logit.
    """

    tokens: Tensor | None
    kind: Tensor
    zero: Tensor


def read_regions(model: AGVAS, batch: DefectsBatch, pixel: PixelFeatures) -> RegionsRead:
    """Read a batch's defects under their true masks, and an empty mask where it has none.

    DeepSpeed joins gradients by the order in which they come, and shared weights by the order of the modules' calls.
    Both are those of the graph; so every batch's has all the region reader's parts at the same place: `zero` is to be
    added to what the language model reads, where the placeholders' tokens go.
    """
    nothing = pixel.embedding.new_zeros(())
    if model.region_reader is None:
        return RegionsRead(None, nothing, nothing)
    image, number, kind = batch.defect_image, batch.defect_number, batch.defect_kind
    if not len(image):
        image = image.new_zeros(1)
        number, kind = torch.full_like(image, -1), torch.full_like(image, UNKNOWN_KIND)
    masks = batch.labels[image] == number[:, None, None]  # (N, H, W)
    tokens, kind_logits = model.region_tokens(pixel.select(image), masks)  # (N, D), (N, K)
    same = (batch.region_image[:, None] == image) & (batch.region_number[:, None] == number)  # (R, N)
    wanted = tokens[same.int().argmax(1)] if len(same) else None
    zero = 0.0 * tokens.sum()
    if kind_logits is None:
        return RegionsRead(wanted, nothing, zero)
    loss = cross_entropy(kind_logits.float(), kind) if bool((kind != UNKNOWN_KIND).any()) else nothing
    return RegionsRead(wanted, loss, zero + 0.0 * kind_logits.sum())

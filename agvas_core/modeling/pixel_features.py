"""The contract of every pixel encoder: (B, 3, H, W) in [0, 1] -> PixelFeatures at strides 16, 8 and 4."""

# B images, A anchor triples, H x W canvas px, C channels of f_p

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

STRIDE = 16  # of the embedding f_p


@dataclass(frozen=True, eq=False)
class PixelFeatures:
    """What a pixel encoder gives.

    Attributes:
        embedding: f_p, (B, C, H / 16, W / 16).
        high_res: features at strides 4 and 8, (B, C4, H / 4, W / 4) and (B, C8, H / 8, W / 8), or () if there are none.
        image: the canvas itself, (B, 3, H, W) in [0, 1], for who looks at pixels; pretrained encoders leave it out.
    """

    embedding: Tensor
    high_res: tuple[Tensor, ...] = ()
    image: Tensor | None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that were computed."""
        return (self.embedding, *self.high_res)

    def select(self, image_index: Tensor) -> PixelFeatures:
        """Return the features of chosen images, (A,) -> batch A."""
        image = None if self.image is None else self.image[image_index]
        return PixelFeatures(self.embedding[image_index], tuple(f[image_index] for f in self.high_res), image)


def join_features(parts: Sequence[PixelFeatures]) -> PixelFeatures:
    """Return features of one canvas size as one batch; the canvases themselves are left out."""
    if len(parts) == 1:
        return parts[0]
    fine = zip(*(part.high_res for part in parts), strict=True)
    return PixelFeatures(torch.cat([part.embedding for part in parts]), tuple(torch.cat(f) for f in fine))

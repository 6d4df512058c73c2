"""The contract of every pixel encoder: (B, 3, H, W) in [0, 1] -> PixelFeatures at strides 16, 8 and 4."""

# B images, A anchor triples, H x W canvas px, C channels of f_p

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

STRIDE = 16  # of the embedding f_p


@dataclass(frozen=True, eq=False)
class PixelFeatures:
    """What a pixel encoder gives.

    Attributes:
        embedding: f_p, (B, C, H / 16, W / 16).
        high_res: features at strides 4 and 8, (B, C4, H / 4, W / 4) and (B, C8, H / 8, W / 8), or () if there are none.
    """

    embedding: Tensor
    high_res: tuple[Tensor, ...] = ()

    def select(self, image_index: Tensor) -> PixelFeatures:
        """Return the features of chosen images, (A,) -> batch A."""
        return PixelFeatures(self.embedding[image_index], tuple(f[image_index] for f in self.high_res))

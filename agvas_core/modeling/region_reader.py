"""Region reader: a token that says what lies under a mask, token = MLP(mean of f_p inside, mean of f_p in the image).

Paper differs: the paper's LLM sees a mask only through its anchors. A small language model names a defect far more
surely when it reads one token pooled under the mask, as region-level LMMs do.
"""

# R regions, C width, K kinds

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from agvas_core.modeling.pixel_encoder import PixelFeatures


class RegionReader(nn.Module):
    """Pool pixel features under region masks; give each region a token and, if kinds are known, logits over them."""

    def __init__(self, *, pixel_width: int, high_res_widths: tuple[int, int], width: int, kinds: int) -> None:
        super().__init__()
        pooled = pixel_width + sum(high_res_widths)
        self.mlp = nn.Sequential(nn.LayerNorm(2 * pooled), nn.Linear(2 * pooled, width), nn.GELU(), nn.Linear(width, width))
        self.kind_head = nn.Linear(width, kinds) if kinds else None

    def forward(self, features: PixelFeatures, masks: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return tokens (R, C) and kind logits (R, K) from features of batch R and masks (R, H, W) in [0, 1]."""
        inside, whole = [], []
        for f in (features.embedding, *features.high_res):
            weight = adaptive_avg_pool2d(masks[:, None].to(f.dtype), f.shape[-2:])  # (R, 1, h, w)
            inside.append((f * weight).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1e-6))
            whole.append(f.mean((2, 3)))
        tokens = self.mlp(torch.cat(inside + whole, dim=1).float())
        return tokens, self.kind_head(tokens) if self.kind_head is not None else None

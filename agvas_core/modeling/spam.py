"""SPAM: f_align = MHCA(Q = f_s, K = V = f_p), paper Eq. 1-2."""

# B images, N semantic tokens, P pixel cells, D width of the LLM

from __future__ import annotations

import torch
from torch import Tensor, nn


class SPAM(nn.Module):
    """Let each semantic token look at the pixels of its own image."""

    def __init__(self, *, width: int, pixel_width: int, heads: int) -> None:
        super().__init__()
        # Paper leaves open: whether Linear_s of Eq. 1 is the LMM's own projector; here it is, so Linear_p stands alone
        self.pixel_proj = nn.Linear(pixel_width, width)
        self.cross_attn = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, f_s: Tensor, pixel: Tensor) -> Tensor:
        """Return f_align (B, N, D) from f_s (B, N, D), already projected (Eq. 1), and the embedding (B, C, h, w).

        Paper leaves open: positions. Both sides carry the sine position of their grid cell in the attention only
        (added to Q and K), so that a token starts by looking at the pixels that it stands for.
        """
        n = f_s.shape[1]
        side = round(n**0.5)
        h, w = pixel.shape[-2:]
        f_p = self.pixel_proj(pixel.flatten(2).transpose(1, 2))  # (B, P, D)
        query = f_s + grid_position(side, n // side, f_s.shape[-1], f_s)  # (B, N, D)
        key = f_p + grid_position(h, w, f_s.shape[-1], f_p)  # (B, P, D)
        f_align, _ = self.cross_attn(query, key, f_p, need_weights=False)  # (B, N, D)
        return f_align


def grid_position(height: int, width: int, channels: int, like: Tensor) -> Tensor:
    """Return sine positions (height * width, channels) of grid cells, by their place in the unit square.

    The same place in the picture has the same position at every resolution, so grids of two eyes can be compared.
    """
    quarter = -(-channels // 4)
    freq = torch.exp2(torch.linspace(0, 5, quarter, device=like.device)) * torch.pi  # half a wave to 16 waves
    y = (torch.arange(height, device=like.device) + 0.5) / height
    x = (torch.arange(width, device=like.device) + 0.5) / width
    by = y[:, None] * freq  # (h, q)
    bx = x[:, None] * freq  # (w, q)
    rows = torch.cat([by.sin(), by.cos()], dim=1)[:, None].expand(-1, width, -1)  # (h, w, 2q)
    cols = torch.cat([bx.sin(), bx.cos()], dim=1)[None].expand(height, -1, -1)  # (h, w, 2q)
    return torch.cat([rows, cols], dim=-1).flatten(0, 1)[:, :channels].to(like.dtype)

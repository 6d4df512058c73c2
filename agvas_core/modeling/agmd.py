"""AGMD: Z_0 = [t_nor, t_ano, t_seg, h_nor, h_ano, h_seg] -> Z_L, f_p' -> three logit maps (paper Eq. 4-8)."""

# A anchor triples, C width, M mask width, h x w cells of f_p (stride 16), H x W the logits' size

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from agvas_core.config import DecoderConfig
from agvas_core.modeling.pixel_encoder import PixelFeatures, ResidualBlock, group_norm
from agvas_core.modeling.spam import grid_position
from agvas_core.modeling.two_way_transformer import TwoWayTransformer


class MaskLogits(NamedTuple):
    """The three branches before their sigmoid and softmax, each (A, H, W); seg, or nor and ano, may be None.

    A tuple, as ZeRO-3 looks for a module's results in tuples and dicts alone.
    """

    seg: Tensor | None
    nor: Tensor | None
    ano: Tensor | None

    def probabilities(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return p_seg, p_nor, p_ano (A, H, W): Eq. 6-7.

        An ablated branch copies the other one, so that the fusion of Eq. 8 is the remaining branch whatever alpha is.
        """
        if self.nor is None or self.ano is None:
            assert self.seg is not None
            p_ano = self.seg.float().sigmoid()
            return p_ano, 1 - p_ano, p_ano
        p_ano = (self.ano.float() - self.nor.float()).sigmoid()
        p_seg = p_ano if self.seg is None else self.seg.float().sigmoid()
        return p_seg, 1 - p_ano, p_ano


class AGMD(nn.Module):
    """Turn refined anchors and pixel features into masks."""

    def __init__(self, config: DecoderConfig, *, pixel_width: int, high_res_widths: tuple[int, int]) -> None:
        super().__init__()
        c, m = config.width, config.mask_width
        self.config = config
        self.queries = nn.Parameter(torch.randn(3, c))  # t_nor, t_ano, t_seg
        # Paper differs: Z_0 passes a LayerNorm; whatever length the anchors come with, attention must not saturate
        self.token_norm = nn.LayerNorm(c)
        self.pixel_proj = nn.Conv2d(pixel_width, c, 1) if pixel_width != c else nn.Identity()
        self.transformer = TwoWayTransformer(
            width=c, heads=config.heads, mlp_width=config.mlp_width, blocks=config.blocks
        )
        # Paper differs: f_p' is brought to stride 2 (SAM's decoder, on which it builds, ends at 4), with skips of the
        # encoder's features at strides 8 and 4 where it has them, as in SAM 2
        c4, c8 = high_res_widths
        up8, up4 = max(c // 2, m), max(c // 4, m)
        self.up8 = nn.ConvTranspose2d(c, up8, 2, stride=2)
        self.skip8 = nn.Sequential(group_norm(c8), nn.Conv2d(c8, up8, 1)) if c8 else None
        self.fuse8 = ResidualBlock(up8)
        self.up4 = nn.ConvTranspose2d(up8, up4, 2, stride=2)
        self.skip4 = nn.Sequential(group_norm(c4), nn.Conv2d(c4, up4, 1)) if c4 else None
        self.fuse4 = ResidualBlock(up4)
        self.up2 = nn.Sequential(group_norm(up4), nn.ReLU(), nn.Conv2d(up4, 4 * m, 1), nn.PixelShuffle(2))
        # Paper differs: no bare product t' f_p'^T (Eq. 6-7); each t' first passes an MLP of its own, as SAM's
        # hypernetworks, which also gives a bias
        self.token_mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(c, c), nn.ReLU(), nn.Linear(c, m + 1)) for _ in range(3)
        )

    def forward(self, h_anchors: Tensor, features: PixelFeatures) -> MaskLogits:
        """Return logits at stride 2 from h_anchors (A, 3, C) and features of batch A.

        Paper differs: use_seg=False (its ablation "w/o [SEG]") hides only that branch; [SEG] still stands in Z_0 and in
        the text. use_relative=False does likewise.
        """
        queries = self.queries.to(h_anchors.dtype).expand(h_anchors.shape[0], -1, -1)
        tokens = self.token_norm(torch.cat([queries, h_anchors], dim=1))  # Z_0 (A, 6, C)
        cells = self.pixel_proj(features.embedding)  # (A, C, h, w)
        h, w = cells.shape[-2:]
        position = grid_position(h, w, cells.shape[1], cells)  # (P, C)
        tokens, cells = self.transformer(tokens, cells.flatten(2).transpose(1, 2), position)  # (A, 6, C), (A, P, C)
        fine = self._upscale(cells.transpose(1, 2).unflatten(2, (h, w)), features.high_res)  # (A, C', H/2, W/2)
        weights = [mlp(tokens[:, i]) for i, mlp in enumerate(self.token_mlps)]  # t' of NOR, ANO, SEG: (A, M + 1)
        nor, ano, seg = self._dot(torch.stack(weights, dim=1), fine).unbind(1)
        relative = self.config.use_relative
        return MaskLogits(seg if self.config.use_seg else None, nor if relative else None, ano if relative else None)

    def _upscale(self, cells: Tensor, high_res: tuple[Tensor, ...]) -> Tensor:
        """(A, C, h, w) -> (A, C', 4h, 4w), joined with the encoder's features at strides 8 and 4 if it has them."""
        x = self.up8(cells)  # stride 8
        if self.skip8 is not None:
            x = x + self.skip8(high_res[1])
        x = self.up4(self.fuse8(x))  # stride 4
        if self.skip4 is not None:
            x = x + self.skip4(high_res[0])
        return self.fuse4(x)

    def _dot(self, weights: Tensor, fine: Tensor) -> Tensor:
        """Return logits (A, 3, H, W) = t' . f_p' from t' (A, 3, M + 1), the last a bias, and fine (A, C', H/2, W/2).

        f_p' = up2(fine) has M channels at stride 2 and is never made: the product with t' is taken into up2's 1 x 1
        convolution, which then has 3 x 4 output channels instead of M x 4.
        """
        conv = self.up2[2]
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        kernel = conv.weight.flatten(1).unflatten(0, (-1, 4))  # (M, 4, C')
        bias = conv.bias.unflatten(0, (-1, 4))  # (M, 4)
        kernels = torch.einsum("atm,mkc->atkc", weights[..., :-1], kernel).flatten(1, 2)  # (A, 12, C')
        biases = (weights[..., :-1] @ bias + weights[..., -1:]).flatten(1)  # (A, 12)
        x = self.up2[:2](fine).flatten(2)  # (A, C', P)
        product = torch.baddbmm(biases[..., None], kernels, x)  # (A, 12, P)
        return pixel_shuffle(product.unflatten(2, (fine.shape[-2], fine.shape[-1])), 2)

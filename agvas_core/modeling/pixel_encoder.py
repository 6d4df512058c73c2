"""Pixel encoder: F_p(x), the eye that sees detail (paper Sec. 3.1): the bundled convolutional one, and any by name."""

# B images, H x W canvas px, C channels of f_p; strides 16 (embedding), 8 and 4 (high resolution)

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from agvas_core.config import PixelConfig
from agvas_core.modeling.attention import attend
from agvas_core.modeling.pixel_features import PixelFeatures
from agvas_core.modeling.pixel_pretrained import KINDS, build_pretrained

SWITCH = "AGVAS_CPU_BF16"  # "0" in the environment: fp32 on every processor


def cpu_has_bf16() -> bool:
    """Whether this processor has products in bfloat16; elsewhere they are emulated, which takes ten times as long."""
    return torch.cpu._is_avx512_bf16_supported()


class GroupNorm(nn.GroupNorm):
    """torch's, but safe: its CPU backward crashes the process on channels-last input that needs no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        frozen = x.device.type == "cpu" and torch.is_grad_enabled() and not x.requires_grad
        return super().forward(x.contiguous() if frozen else x)


def group_norm(channels: int) -> GroupNorm:
    """Return a GroupNorm with 16 channels a group."""
    return GroupNorm(max(1, channels // 16), channels)


class ResidualBlock(nn.Module):
    """x + conv(norm(conv(norm(x)))): plain 3 x 3 convolutions, which CPUs run at full speed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = group_norm(channels), nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2, self.conv2 = group_norm(channels), nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.act = nn.ReLU()
        # starts as the identity; a zero norm2 would never wake up, for ReLU has no gradient at 0
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        y = self.conv1(self.act(self.norm1(x)))
        return x + self.conv2(self.act(self.norm2(y)))


class SelfAttentionBlock(nn.Module):
    """Compare every cell with all others: what is unlike the rest of its own image is an anomaly.

    No position is added here, so that any canvas size works; the convolutions carry what place needs.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        last = nn.Linear(3 * channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 3 * channels), nn.GELU(), last)
        for linear in (self.out, last):  # starts as the identity, so that trained encoders can grow deeper
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, P, C) -> (B, P, C)."""
        b, p, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, p, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = attend(q, k, v)  # (B, heads, P, C / heads)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, p, c))
        return x + self.mlp(self.norm2(x))


class NeighbourBlock(nn.Module):
    """x + conv(norm(x)): carries what a cell has found to the cells around it; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.act = group_norm(channels), nn.ReLU()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.zeros_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return x + self.conv(self.act(self.norm(x)))


def _forget_half(encoder: nn.Module, keys: object) -> None:
    """Drop the copy that serves, for it has the weights from before; a hook of load_state_dict."""
    assert isinstance(encoder, ConvPixelEncoder)
    encoder._half.clear()


class ConvPixelEncoder(nn.Module):
    """The bundled encoder: residual convolutions at strides 4, 8, 16, then attention among the stride-16 cells."""

    def __init__(self, config: PixelConfig) -> None:
        super().__init__()
        (c4, c8), c16 = config.widths_high_res, config.width
        n4, n8, n16 = config.blocks
        self.stem = nn.Sequential(
            nn.Conv2d(3, c4 // 2, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(c4 // 2, c4, 3, stride=2, padding=1)
        )
        self.stage4 = nn.Sequential(*(ResidualBlock(c4) for _ in range(n4)))
        self.down8 = nn.Sequential(group_norm(c4), nn.Conv2d(c4, c8, 2, stride=2))
        self.stage8 = nn.Sequential(*(ResidualBlock(c8) for _ in range(n8)))
        self.down16 = nn.Sequential(group_norm(c8), nn.Conv2d(c8, c16, 2, stride=2))
        self.stage16 = nn.Sequential(*(ResidualBlock(c16) for _ in range(n16)))
        layers = config.attention_layers
        self.attention = nn.ModuleList(SelfAttentionBlock(c16, config.heads) for _ in range(layers))
        self.neighbours = nn.ModuleList(NeighbourBlock(c16) for _ in range(layers if config.attention_convs else 0))
        self.out_norm = nn.LayerNorm(c16)
        self._half: list[ConvPixelEncoder] = []  # in a list, so that it is no part of this module
        self.register_load_state_dict_post_hook(_forget_half)

    def serve(self) -> None:
        """Make ready to encode without gradients on a CPU: channels last, and in bfloat16 where it has such products.

        That takes two thirds of the time, and changes a feature by about 2 %; the features come in fp32 all the same.
        Training ends it, and so does loading weights.
        """
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if not self._half and cpu_has_bf16() and os.environ.get(SWITCH) != "0":
            self._half = [copy.deepcopy(self).to(torch.bfloat16)]

    @property
    def serves_half(self) -> bool:
        """Whether it encodes in bfloat16 on a CPU."""
        return bool(self._half)

    def train(self, mode: bool = True) -> Self:
        """Switch to training, or back."""
        if mode:
            self._half.clear()
        return super().train(mode)

    def forward(self, pixel_values: Tensor, content_hw: Sequence[tuple[int, int]] | None = None) -> PixelFeatures:
        """Return the features of pixel_values (B, 3, H, W), RGB in [0, 1], H and W multiples of 32.

        content_hw is for pretrained encoders: this one was trained on canvases that repeat the image's border.
        """
        if self._half and pixel_values.device.type == "cpu" and not torch.is_grad_enabled():
            half = self._half[0](pixel_values)
            return PixelFeatures(half.embedding.float(), tuple(f.float() for f in half.high_res), pixel_values)
        centered = (2 * pixel_values - 1).to(next(self.parameters()).dtype)
        f4 = self.stage4(self.stem(centered))  # (B, C4, H/4, W/4)
        f8 = self.stage8(self.down8(f4))  # (B, C8, H/8, W/8)
        f16 = self.stage16(self.down16(f8))  # (B, C, H/16, W/16)
        h, w = f16.shape[-2:]
        cells = f16.flatten(2).transpose(1, 2)  # (B, P, C)
        for i, block in enumerate(self.attention):
            cells = block(cells)
            if self.neighbours:
                near = self.neighbours[i](cells.transpose(1, 2).unflatten(2, (h, w)))
                cells = near.flatten(2).transpose(1, 2)
        cells = self.out_norm(cells)
        return PixelFeatures(cells.transpose(1, 2).unflatten(2, (h, w)), (f4, f8), pixel_values)


def build_pixel_encoder(config: PixelConfig) -> nn.Module:
    """Make a pixel encoder without weights; ValueError on an unknown kind."""
    if config.kind == "conv":
        return ConvPixelEncoder(config)
    if config.kind not in KINDS:
        raise ValueError(f"There is no pixel encoder {config.kind!r}; choose one of {', '.join(['conv', *KINDS])}.")
    return build_pretrained(config)

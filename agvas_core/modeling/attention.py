"""Scaled dot-product attention: softmax(q k^T / sqrt(d)) v, by the way that is fastest where it runs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

# cuDNN's backward pass gives NaN where few queries meet many keys (torch 2.11 on an H200); the other kernels do not
torch.backends.cuda.enable_cudnn_sdp(False)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(B, heads, Tq, d), (B, heads, Tk, d), (B, heads, Tk, d) -> (B, heads, Tq, d).

    The fused kernel saves memory, but its backward pass on CPUs is 2 (self-attention) to 10 times (few keys) slower
    than plain matrix products (`bench/attention.py`), so training on a CPU takes these.
    """
    if q.device.type == "cpu" and torch.is_grad_enabled() and q.requires_grad:
        return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v
    return scaled_dot_product_attention(q, k, v)

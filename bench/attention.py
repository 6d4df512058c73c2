"""Time the fused and the plain attention, forward and backward, on a CPU (agvas_core.modeling.attention)."""

from __future__ import annotations

import time

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

CASES = {"cells among cells": (256, 256, 32), "tokens at cells": (6, 256, 16), "cells at tokens": (256, 6, 16)}


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(B, heads, Tq, d), (B, heads, Tk, d) twice -> (B, heads, Tq, d), by matrix products."""
    return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v


def seconds(attention, sizes: tuple[int, int, int], repeats: int = 5) -> float:
    """Return the seconds of a forward and backward pass."""
    tq, tk, d = sizes
    shapes = ((16, 8, tq, d), (16, 8, tk, d), (16, 8, tk, d))
    q, k, v = (torch.randn(s, dtype=torch.bfloat16, requires_grad=True) for s in shapes)
    attention(q, k, v).float().sum().backward()
    start = time.perf_counter()
    for _ in range(repeats):
        attention(q, k, v).float().sum().backward()
    return (time.perf_counter() - start) / repeats


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"{'case':20} fused / plain")
    for name, sizes in CASES.items():
        print(f"{name:20} {seconds(scaled_dot_product_attention, sizes) / seconds(plain, sizes):.1f}")

"""Token Refiner: h = Linear(ReLU(Linear(anchor state))), shared by the three anchors (paper Sec. 3.3)."""

# A anchor triples, D width of the LLM, C width of the decoder

from __future__ import annotations

from torch import Tensor, nn


class TokenRefiner(nn.Module):
    """Bring the LLM's anchor states to the width of the mask decoder.

    Paper leaves open: what stands between its two linear layers, and their inner width. We take a ReLU and the LLM's.
    """

    def __init__(self, *, width: int, out_width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out_width))

    def forward(self, anchor_states: Tensor) -> Tensor:
        """(A, 3, D) -> h_nor, h_ano, h_seg as (A, 3, C)."""
        return self.layers(anchor_states)

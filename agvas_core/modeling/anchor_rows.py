"""Anchor rows: the three anchors' vectors, input and output, trained beside a frozen vocabulary (paper Sec. 3.4)."""

# B sequences, L tokens, D width of the LLM, V vocabulary

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import LlavaOnevisionForConditionalGeneration


class AnchorEmbedding(nn.Module):
    """An embedding whose anchors' rows are parameters of their own: no gradient or moment for the whole table."""

    anchor_ids: Tensor

    def __init__(self, base: nn.Embedding, anchor_ids: tuple[int, int, int]) -> None:
        super().__init__()
        self.base = base
        self.register_buffer("anchor_ids", torch.tensor(anchor_ids), persistent=False)
        self.anchor_rows = nn.Parameter(base.weight.detach()[list(anchor_ids)].clone())  # (3, D)

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, D)."""
        embeds = self.base(input_ids)  # (B, L, D)
        is_anchor = input_ids[..., None] == self.anchor_ids  # (B, L, 3)
        own = is_anchor.to(self.anchor_rows.dtype) @ self.anchor_rows  # (B, L, D)
        return torch.where(is_anchor.any(-1, keepdim=True), own.to(embeds.dtype), embeds)


class AnchorHead(nn.Module):
    """An output head whose anchors' rows are parameters of their own."""

    anchor_ids: Tensor

    def __init__(self, base: nn.Linear, anchor_ids: tuple[int, int, int], anchor_rows: nn.Parameter | None) -> None:
        super().__init__()
        assert base.bias is None, "language models' heads have no bias"
        self.base: nn.Linear = base
        self.register_buffer("anchor_ids", torch.tensor(anchor_ids), persistent=False)
        if anchor_rows is None:
            anchor_rows = nn.Parameter(base.weight.detach()[list(anchor_ids)].clone())
        self.anchor_rows: nn.Parameter = anchor_rows  # (3, D)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., D) -> logits (..., V)."""
        logits = self.base(hidden)  # (..., V)
        own = linear(hidden, self.anchor_rows.to(hidden.dtype))  # (..., 3)
        return logits.index_copy(-1, self.anchor_ids, own.to(logits.dtype))


def free_anchor_rows(lmm: LlavaOnevisionForConditionalGeneration, anchor_ids: tuple[int, int, int]) -> None:
    """Put the anchors' rows beside the embedding and the head; where these share one table, one row serves both."""
    table, head = lmm.get_input_embeddings(), lmm.lm_head
    embedding = AnchorEmbedding(table, anchor_ids)
    tied = head.weight is table.weight
    lmm.set_input_embeddings(embedding)
    lmm.lm_head = AnchorHead(head, anchor_ids, embedding.anchor_rows if tied else None)


@torch.no_grad()
def fix_anchor_rows(lmm: LlavaOnevisionForConditionalGeneration) -> None:
    """Write the anchors' rows into the embedding and the head, and put these back in their places."""
    embedding, head = lmm.get_input_embeddings(), lmm.lm_head
    for module in (embedding, head):
        module.base.weight[module.anchor_ids] = module.anchor_rows.to(module.base.weight.dtype)
    lmm.set_input_embeddings(embedding.base)
    lmm.lm_head = head.base

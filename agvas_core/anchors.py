"""The semantic anchors [NOR][ANO][SEG]: order, token ids, and which hidden state is theirs (paper Sec. 3.2)."""

# B conversations, L tokens, D hidden width of the LLM; anchor order is always NOR, ANO, SEG

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

ANCHOR_TOKENS: tuple[str, str, str] = ("[NOR]", "[ANO]", "[SEG]")
ANCHOR_TEXT = "".join(ANCHOR_TOKENS)


class AnchorTokenizer(Protocol):
    """The part of a transformers tokenizer that the anchors need."""

    def add_tokens(self, new_tokens: list[str], special_tokens: bool = False) -> int:
        """Add tokens; return how many were new."""

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        """Return the ids of known tokens."""

    def __len__(self) -> int: ...


def add_anchor_tokens(tokenizer: AnchorTokenizer) -> tuple[int, int, int]:
    """Make sure that the tokenizer knows the three anchors, and return their ids in the order NOR, ANO, SEG."""
    tokenizer.add_tokens(list(ANCHOR_TOKENS), special_tokens=True)
    nor, ano, seg = tokenizer.convert_tokens_to_ids(list(ANCHOR_TOKENS))
    return nor, ano, seg


def find_anchors(input_ids: Tensor, anchor_ids: tuple[int, int, int]) -> Tensor:
    """Return where the anchors stand: int64 (A, 4), rows (b, pos_nor, pos_ano, pos_seg) in reading order.

    input_ids is (B, L). A triple is [NOR][ANO][SEG] side by side; a lone anchor counts for nothing.
    """
    nor, ano, seg = anchor_ids
    triple = (input_ids[:, :-2] == nor) & (input_ids[:, 1:-1] == ano) & (input_ids[:, 2:] == seg)  # (B, L - 2)
    b, start = triple.nonzero(as_tuple=True)
    return torch.stack([b, start, start + 1, start + 2], dim=1)


def gather_anchor_states(hidden: Tensor, positions: Tensor) -> Tensor:
    """Return the anchors' states (A, 3, D) from the LLM's last hidden states (B, L, D) and find_anchors' rows (A, 4).

    Paper leaves open: the state AT the anchor or the one that predicts it. We take the state AT the anchor's own
    position: it has read the anchor's trained embedding, and it is the same whether the anchor was generated or forced.
    """
    return hidden[positions[:, :1], positions[:, 1:]]

"""Bidirectional attention between tokens and pixel cells, as in SAM's mask decoder (paper Eq. 5)."""

# A queries' batch, T tokens, P pixel cells, C width

from __future__ import annotations

from torch import Tensor, nn

from agvas_core.modeling.attention import attend


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than its outer width."""

    def __init__(self, width: int, heads: int, inner_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, inner_width) for _ in range(3))
        self.out = nn.Linear(inner_width, width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(A, Tq, C), (A, Tk, C), (A, Tk, C) -> (A, Tq, C)."""
        q, k, v = (
            f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f, x in ((self.q, q), (self.k, k), (self.v, v))
        )  # (A, heads, T, inner / heads)
        return self.out(attend(q, k, v).transpose(1, 2).flatten(2))


class TwoWayBlock(nn.Module):
    """Tokens attend to each other and to the cells, pass an MLP; then the cells attend to the tokens."""

    def __init__(self, width: int, heads: int, mlp_width: int) -> None:
        super().__init__()
        inner = width // 2
        self.self_attn = Attention(width, heads, width)
        self.token_to_cell = Attention(width, heads, inner)
        self.cell_to_token = Attention(width, heads, inner)
        self.mlp = nn.Sequential(nn.Linear(width, mlp_width), nn.ReLU(), nn.Linear(mlp_width, width))
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))

    def forward(self, tokens: Tensor, cells: Tensor, token_pos: Tensor, cell_pos: Tensor) -> tuple[Tensor, Tensor]:
        """Return updated tokens (A, T, C) and cells (A, P, C); positions are added to queries and keys only."""
        q = tokens + token_pos
        tokens = self.norm1(tokens + self.self_attn(q, q, tokens))
        tokens = self.norm2(tokens + self.token_to_cell(tokens + token_pos, cells + cell_pos, cells))
        tokens = self.norm3(tokens + self.mlp(tokens))
        cells = self.norm4(cells + self.cell_to_token(cells + cell_pos, tokens + token_pos, tokens))
        return tokens, cells


class TwoWayTransformer(nn.Module):
    """L two-way blocks and a last look of the tokens at the cells.

    Paper leaves open: positions. As in SAM, Z_0 itself is added to the tokens' queries and keys, and sine positions to
    the cells'; unlike SAM's first block, ours adds them, too, and keeps what it was given beside its self-attention.
    Paper differs: it names the two blocks alone; the last look is SAM's.
    """

    def __init__(self, *, width: int, heads: int, mlp_width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TwoWayBlock(width, heads, mlp_width) for _ in range(blocks))
        self.final_attn = Attention(width, heads, width // 2)
        self.final_norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, cells: Tensor, cell_pos: Tensor) -> tuple[Tensor, Tensor]:
        """Return Z_L: tokens (A, T, C) and cells (A, P, C), from Z_0 (A, T, C), cells (A, P, C) and (P, C)."""
        token_pos = tokens
        for block in self.blocks:
            tokens, cells = block(tokens, cells, token_pos, cell_pos)
        look = self.final_attn(tokens + token_pos, cells + cell_pos, cells)
        return self.final_norm(tokens + look), cells

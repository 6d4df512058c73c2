import torch

from agvas_core.modeling.two_way_transformer import TwoWayTransformer


def transformer():
    torch.manual_seed(0)
    return TwoWayTransformer(width=16, heads=2, mlp_width=32, blocks=2).eval()


def test_batch_equals_single():
    model, tokens, cells, position = transformer(), torch.randn(3, 6, 16), torch.randn(3, 20, 16), torch.randn(20, 16)
    together = model(tokens, cells, position)
    alone = model(tokens[1:2], cells[1:2], position)
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:2], b)


def test_both_sides_read_each_other():
    model, tokens, cells, position = transformer(), torch.randn(1, 6, 16), torch.randn(1, 20, 16), torch.randn(20, 16)
    out_tokens, out_cells = model(tokens, cells, position)
    other_cells = cells.clone()
    other_cells[0, 7] += 3
    assert (model(tokens, other_cells, position)[0] - out_tokens).abs().amax(-1).min() > 1e-5  # every token saw it
    other_tokens = tokens.clone()
    other_tokens[0, 2] += 3
    assert (model(other_tokens, cells, position)[1] - out_cells).abs().amax(-1).min() > 1e-5  # every cell saw it


def test_cells_in_another_order_with_their_positions_change_nothing():
    model, tokens, cells, position = transformer(), torch.randn(1, 6, 16), torch.randn(1, 20, 16), torch.randn(20, 16)
    order = torch.randperm(20)
    out_tokens, out_cells = model(tokens, cells, position)
    mixed_tokens, mixed_cells = model(tokens, cells[:, order], position[order])
    torch.testing.assert_close(mixed_tokens, out_tokens)
    torch.testing.assert_close(mixed_cells, out_cells[:, order])

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from agvas_core.modeling.attention import attend


@pytest.mark.parametrize("keys", [1, 6, 40])
def test_both_ways_give_the_same_values_and_gradients(keys):
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 4, 9, 8), torch.randn(2, 4, keys, 8), torch.randn(2, 4, keys, 8)
    ours = [x.clone().requires_grad_() for x in (q, k, v)]
    theirs = [x.clone().requires_grad_() for x in (q, k, v)]
    out, expected = attend(*ours), scaled_dot_product_attention(*theirs)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(attend(q, k, v), expected)  # no gradient wanted: the fused way
    out.square().sum().backward()
    expected.square().sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)

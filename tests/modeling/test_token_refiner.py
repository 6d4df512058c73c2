import torch

from agvas_core.modeling.token_refiner import TokenRefiner


def test_the_three_anchors_share_one_refiner():
    torch.manual_seed(0)
    refiner = TokenRefiner(width=12, out_width=5)
    states = torch.randn(2, 3, 12)
    refined = refiner(states)
    assert refined.shape == (2, 3, 5)
    torch.testing.assert_close(refiner(states.flip(1)), refined.flip(1))
    assert sum(p.numel() for p in refiner.parameters()) == 12 * 12 + 12 + 12 * 5 + 5  # two linear layers


def test_it_is_linear_relu_linear():
    refiner = TokenRefiner(width=2, out_width=1)
    with torch.no_grad():
        refiner.layers[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
        refiner.layers[0].bias.zero_()
        refiner.layers[2].weight.fill_(2.0)
        refiner.layers[2].bias.fill_(0.5)
    torch.testing.assert_close(refiner(torch.tensor([[[3.0, 4.0]]])), torch.tensor([[[6.5]]]))

import torch

from agvas_core.modeling.spam import SPAM, grid_position


def spam():
    torch.manual_seed(0)
    return SPAM(width=16, pixel_width=8, heads=2).eval()


def test_each_image_is_aligned_with_its_own_pixels():
    f_s, pixel = torch.randn(3, 4, 16), torch.randn(3, 8, 6, 6)
    model = spam()
    together = model(f_s, pixel)
    torch.testing.assert_close(model(f_s[1:2], pixel[1:2]), together[1:2])
    pixel[0] += 1
    changed = model(f_s, pixel)
    torch.testing.assert_close(changed[1:], together[1:])
    assert not torch.allclose(changed[0], together[0])


def test_the_two_eyes_may_have_any_grids():
    for side, (h, w) in ((1, (2, 2)), (2, (4, 8)), (5, (3, 3))):
        assert spam()(torch.randn(2, side * side, 16), torch.randn(2, 8, h, w)).shape == (2, side * side, 16)


def test_the_same_place_has_the_same_position_at_every_resolution():
    like = torch.zeros(1)
    coarse, fine = grid_position(3, 3, 32, like).view(3, 3, 32), grid_position(9, 9, 32, like).view(9, 9, 32)
    torch.testing.assert_close(coarse, fine[1::3, 1::3])  # centres of the coarse cells
    oblong = grid_position(3, 9, 32, like).view(3, 9, 32)
    torch.testing.assert_close(coarse, oblong[:, 1::3])


def test_no_two_cells_share_a_position():
    position = grid_position(16, 16, 32, torch.zeros(1))
    distance = torch.cdist(position, position) + 9 * torch.eye(256)
    assert float(distance.min()) > 0.05


def test_widths_that_four_does_not_divide():
    assert grid_position(2, 3, 30, torch.zeros(1)).shape == (6, 30)


def test_a_token_looks_where_its_position_points_when_the_attention_follows_positions():
    model = SPAM(width=32, pixel_width=32, heads=1).eval()
    with torch.no_grad():  # projections: the identity, scaled so that the attention is sharp
        model.pixel_proj.weight.copy_(torch.eye(32))
        model.pixel_proj.bias.zero_()
        eye = torch.eye(32)
        model.cross_attn.in_proj_weight.copy_(torch.cat([20 * eye, eye, eye]))
        model.cross_attn.in_proj_bias.zero_()
        model.cross_attn.out_proj.weight.copy_(eye)
        model.cross_attn.out_proj.bias.zero_()
    pixel = torch.zeros(1, 32, 4, 4)
    pixel[0, 5, 3, 1] = 0.5  # one special pixel: lower row, second column
    f_align = model(torch.zeros(1, 16, 32), pixel)[0, :, 5]
    assert int(f_align.argmax()) == 3 * 4 + 1

import pytest
import torch

from agvas_core.config import get_preset
from agvas_core.modeling.agmd import AGMD, MaskLogits
from agvas_core.modeling.pixel_encoder import PixelFeatures
from tests.conftest import small_config


def decoder(high_res=(16, 16), **changes):
    torch.manual_seed(0)
    return AGMD(small_config(**changes).decoder, pixel_width=32, high_res_widths=high_res).eval()


def features(count=2, side=4, high_res=True):
    torch.manual_seed(1)
    fine = (torch.randn(count, 16, 4 * side, 4 * side), torch.randn(count, 16, 2 * side, 2 * side))
    return PixelFeatures(torch.randn(count, 32, side, side), fine if high_res else ())


def test_probabilities_by_hand():
    logits = MaskLogits(
        seg=torch.tensor([[[0.0, 2.0]]]), nor=torch.tensor([[[1.0, -1.0]]]), ano=torch.tensor([[[0.0, 2.0]]])
    )
    p_seg, p_nor, p_ano = logits.probabilities()
    torch.testing.assert_close(p_seg, torch.tensor([[[0.5, 0.880797]]]))  # sigmoid(0), sigmoid(2)
    torch.testing.assert_close(p_ano, torch.tensor([[[0.268941, 0.952574]]]))  # softmax of (1, 0) and (-1, 2)
    torch.testing.assert_close(p_nor + p_ano, torch.ones(1, 1, 2))


def test_the_contrast_is_the_softmax_of_two():
    nor, ano = torch.randn(2, 5, 5) * 4, torch.randn(2, 5, 5) * 4
    _, p_nor, p_ano = MaskLogits(None, nor, ano).probabilities()
    softmax = torch.stack([nor, ano]).softmax(0)
    torch.testing.assert_close(p_nor, softmax[0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(p_ano, softmax[1], atol=1e-6, rtol=1e-5)


def test_logits_have_half_the_canvas_and_batch_equals_single():
    agmd, seen, h_anchors = decoder(), features(3), torch.randn(3, 3, 32)
    together = agmd(h_anchors, seen)
    assert together.seg.shape == (3, 32, 32)  # f_p has 4 x 4 cells of 16 px, the logits have stride 2
    alone = agmd(h_anchors[1:2], seen.select(torch.tensor([1])))
    for name in ("seg", "nor", "ano"):
        torch.testing.assert_close(getattr(together, name)[1:2], getattr(alone, name), atol=1e-5, rtol=1e-5)


def test_the_product_with_unmade_features_is_the_product_with_made_ones():
    agmd, fine, weights = decoder(), torch.randn(2, 8, 16, 12), torch.randn(2, 3, 9)
    maps = agmd.up2(fine)  # f_p' of Eq. 6, which serving never makes
    expected = torch.einsum("atm,amhw->athw", weights[..., :-1], maps) + weights[..., -1:, None]
    torch.testing.assert_close(agmd._dot(weights, fine), expected, atol=1e-5, rtol=1e-5)


def test_it_works_without_fine_features():
    logits = decoder(high_res=(0, 0))(torch.randn(2, 3, 32), features(high_res=False))
    assert logits.seg.shape == (2, 32, 32)


def test_each_branch_listens_to_its_anchors():
    agmd, seen = decoder(), features(1)
    h_anchors = torch.randn(1, 3, 32)
    before = agmd(h_anchors, seen)
    for i in range(3):
        changed = h_anchors.clone()
        changed[:, i] += 2
        after = agmd(changed, seen)
        assert not torch.allclose(after.seg, before.seg)  # anchors attend to each other


# Table 3 of the paper: without [SEG], without [NOR][ANO]
@pytest.mark.parametrize(
    ("changes", "branches"),
    [
        ({}, {"seg", "nor", "ano"}),
        ({"use_seg": False}, {"nor", "ano"}),
        ({"use_relative": False}, {"seg"}),
    ],
)
def test_the_remaining_branches_work_forward_and_backward(changes, branches):
    agmd, seen = decoder(**changes), features(2)
    logits = agmd(torch.randn(2, 3, 32), seen)
    there = {name: value for name in ("seg", "nor", "ano") if (value := getattr(logits, name)) is not None}
    assert set(there) == branches
    sum(value.square().sum() for value in there.values()).backward()
    assert agmd.queries.grad is not None
    p_seg, p_nor, p_ano = logits.probabilities()
    torch.testing.assert_close(p_nor + p_ano, torch.ones_like(p_ano))
    for alpha in (0.0, 0.3, 1.0):
        fused = alpha * p_seg + (1 - alpha) * p_ano
        if "seg" not in branches:
            torch.testing.assert_close(fused, p_ano)  # the remaining branch, whatever alpha is
        if "nor" not in branches:
            torch.testing.assert_close(fused, logits.seg.sigmoid())


def test_without_any_branch_there_is_no_mask():
    with pytest.raises(ValueError, match=r"\[SEG\].*\[NOR\]\[ANO\]"):
        small_config(use_seg=False, use_relative=False)


def test_a_query_has_the_same_weights_in_every_preset():
    assert get_preset("onevision-7b").decoder.width == 256  # SAM's width, as in the paper

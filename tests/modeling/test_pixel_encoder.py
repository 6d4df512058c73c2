from dataclasses import replace

import pytest
import torch

from agvas_core.config import PixelConfig, get_preset
from agvas_core.modeling.pixel_encoder import ResidualBlock, build_pixel_encoder, group_norm
from agvas_core.modeling.pixel_features import PixelFeatures
from agvas_core.modeling.pixel_pretrained import SamPixelEncoder

CONV = get_preset("tiny-test").pixel
SAM = PixelConfig(
    kind="sam",
    image_px=64,
    width=32,
    backbone={"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "global_attn_indexes": [1]},
)


@pytest.fixture(scope="module")
def conv():
    torch.manual_seed(0)
    return build_pixel_encoder(CONV).eval()


@pytest.mark.parametrize("size_hw", [(32, 32), (64, 96), (96, 32), (160, 160)])
def test_strides_for_any_multiple_of_32(conv, size_hw):
    h, w = size_hw
    features = conv(torch.rand(2, 3, h, w))
    assert features.embedding.shape == (2, 32, h // 16, w // 16)
    assert [f.shape for f in features.high_res] == [(2, 16, h // 4, w // 4), (2, 16, h // 8, w // 8)]


def test_batch_equals_single(conv):
    images = torch.rand(3, 3, 64, 64)
    together, alone = conv(images), conv(images[1:2])
    torch.testing.assert_close(together.embedding[1:2], alone.embedding)
    for a, b in zip(together.high_res, alone.high_res, strict=True):
        torch.testing.assert_close(a[1:2], b)


@torch.no_grad()
def test_every_cell_is_compared_with_the_whole_image(conv):
    image = torch.full((1, 3, 128, 128), 0.5)
    plain = conv(image).embedding
    image[:, :, 100:120, 100:120] = 0
    changed = (conv(image).embedding - plain).abs().amax(1)[0]
    assert float(changed[0, 0]) > 0  # the far corner knows
    assert int(changed.flatten().argmax()) // 8 >= 5  # and the place itself changes most


def test_select_repeats_images_for_their_triples():
    features = PixelFeatures(torch.arange(3.0).view(3, 1, 1, 1), (torch.arange(3.0).view(3, 1, 1, 1) * 10,))
    chosen = features.select(torch.tensor([2, 0, 2]))
    assert chosen.embedding.flatten().tolist() == [2, 0, 2]
    assert chosen.high_res[0].flatten().tolist() == [20, 0, 20]


def test_sam_gives_its_embedding_and_nothing_finer():
    torch.manual_seed(0)
    encoder = build_pixel_encoder(SAM).eval()
    assert isinstance(encoder, SamPixelEncoder)
    with torch.no_grad():
        together = encoder(torch.linspace(0, 1, 2 * 3 * 64 * 64).view(2, 3, 64, 64))
    assert together.embedding.shape == (2, 32, 4, 4)
    assert together.high_res == ()


def test_sam_normalises_by_its_own_mean():
    encoder = build_pixel_encoder(SAM)
    seen = []
    encoder.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    encoder(encoder.mean_rgb.expand(1, 3, 64, 64))
    assert float(seen[0].abs().max()) < 1e-6


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="'hubble'.*conv, sam"):
        build_pixel_encoder(replace(SAM, kind="hubble"))


def test_norms_of_frozen_channels_last_features_have_gradients():
    # torch's own kernel ends the process here with a segmentation fault
    norm = group_norm(32)
    frozen = torch.randn(2, 32, 8, 8)
    norm(frozen).square().sum().backward()
    expected = norm.weight.grad.clone()
    norm.zero_grad()
    norm(frozen.to(memory_format=torch.channels_last)).square().sum().backward()
    torch.testing.assert_close(norm.weight.grad, expected)


def test_residual_blocks_begin_as_the_identity_and_learn():
    # with zeros in the norm before the ReLU, whole encoders once stayed the identity for good
    torch.manual_seed(0)
    block, x = ResidualBlock(16), torch.randn(2, 16, 8, 8)
    assert torch.equal(block(x), x)
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (block(x) - x.flip(3)).square().mean().backward()
        optimizer.step()
    assert [name for name, p in block.named_parameters() if not bool(p.grad.any())] == []

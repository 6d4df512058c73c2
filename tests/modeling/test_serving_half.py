"""The pixel encoder in bfloat16 where the processor has it: for serving only, and never behind training's back."""

from __future__ import annotations

import pytest
import torch

from agvas_core.config import get_preset
from agvas_core.modeling import pixel_encoder
from agvas_core.modeling.pixel_encoder import ConvPixelEncoder


@pytest.fixture
def encoder(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)  # slower elsewhere, but the same path
    torch.manual_seed(0)
    return ConvPixelEncoder(get_preset("tiny-test").pixel).eval()


def test_features_come_in_fp32_and_are_nearly_the_same(encoder):
    image = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        exact = encoder(image)
        encoder.serve()
        served = encoder(image)
    assert encoder.serves_half
    for a, b in zip((exact.embedding, *exact.high_res), (served.embedding, *served.high_res), strict=True):
        assert b.dtype == torch.float32
        assert 0 < (a - b).abs().max() < 0.05 * a.abs().max()


def test_gradients_training_and_weights_never_see_it(encoder):
    names = encoder.state_dict().keys()
    encoder.serve()
    assert encoder.state_dict().keys() == names and encoder.stem[0].weight.dtype == torch.float32
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    encoder(image).embedding.sum().backward()
    assert image.grad is not None and encoder.stem[0].weight.grad is not None
    encoder.train()
    assert not encoder.serves_half  # its copy of the weights would be old soon


def test_weights_that_are_loaded_are_the_ones_that_look(encoder):
    """Its copy looked on with the weights from before, and two checkpoints seemed to be alike."""
    other = ConvPixelEncoder(get_preset("tiny-test").pixel).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        encoder.serve()
        encoder(image)
        encoder.load_state_dict(other.state_dict())
        torch.testing.assert_close(encoder(image).embedding, other(image).embedding)


def test_it_can_be_turned_off(encoder, monkeypatch):
    monkeypatch.setenv(pixel_encoder.SWITCH, "0")
    encoder.serve()
    assert not encoder.serves_half

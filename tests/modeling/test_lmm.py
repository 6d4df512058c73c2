import pytest
import torch
from transformers import (
    CLIPVisionModel,
    LlamaModel,
    LlavaForConditionalGeneration,
    LlavaOnevisionForConditionalGeneration,
    Qwen2Model,
    SiglipVisionModel,
)

from agvas_core.config import PRESETS, get_preset
from agvas_core.modeling.lmm import build_lmm


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_preset_builds_the_classes_of_its_family(preset):
    config = get_preset(preset)
    with torch.device("meta"):
        lmm = build_lmm(config, image_token_id=3)
    assert (type(lmm), type(lmm.model.vision_tower), type(lmm.model.language_model)) == {
        "onevision": (LlavaOnevisionForConditionalGeneration, SiglipVisionModel, Qwen2Model),
        "llava": (LlavaForConditionalGeneration, CLIPVisionModel, LlamaModel),
    }[config.family]
    assert lmm.config.image_token_index == 3 or lmm.config.image_token_id == 3
    assert lmm.get_input_embeddings().weight.shape == (config.llm.vocab_size, config.llm.width)
    assert len(lmm.model.language_model.layers) == config.llm.layers
    assert len(lmm.model.vision_tower.encoder.layers) == config.semantic.layers


def test_the_papers_semantic_encoder_has_729_tokens():
    assert get_preset("onevision-7b").semantic.tokens == 729
    assert get_preset("onevision-7b").image_tokens == 2 * 729  # f_s and f_align (Eq. 3)


def test_llava_sees_576_tokens():
    assert get_preset("llava-13b").semantic.tokens == 576


def test_embeddings_are_tied_where_the_config_says_so():
    lmm = build_lmm(get_preset("tiny-test"), image_token_id=3)
    assert lmm.lm_head.weight is lmm.get_input_embeddings().weight
    with torch.device("meta"):
        large = build_lmm(get_preset("onevision-7b"), image_token_id=3)
    assert large.lm_head.weight is not large.get_input_embeddings().weight

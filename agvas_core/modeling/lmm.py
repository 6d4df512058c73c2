"""The LMM: LLaVA-OneVision (SigLIP, projector, Qwen2) or LLaVA (CLIP, projector, Llama) of transformers."""

# I images, N semantic tokens, D width of the LLM, S side of the semantic crop

from __future__ import annotations

import inspect
from typing import TypeAlias

import torch
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    Qwen2Config,
    Qwen2Model,
    SiglipVisionConfig,
)

from agvas_core.config import AGVASConfig

LMM: TypeAlias = LlavaOnevisionForConditionalGeneration | LlavaForConditionalGeneration
LMM_CLASSES: dict[str, type] = {
    "onevision": LlavaOnevisionForConditionalGeneration,
    "llava": LlavaForConditionalGeneration,
}
# what transformers calls the keys and values that a language model reads and extends: renamed within its fifth version
CACHE_NAME = "cache" if "cache" in inspect.signature(Qwen2Model.forward).parameters else "past_key_values"
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def lmm_config(config: AGVASConfig, *, image_token_id: int) -> LlavaOnevisionConfig | LlavaConfig:
    """Return the transformers config of our LMM's sizes; ValueError on an unknown family.

    Paper differs: the small presets are of the same classes, but start from random weights, so that the parts that it
    keeps frozen, both eyes, the projector and the LLM, are trained here.
    """
    s, t = config.semantic, config.llm
    vision = {
        "hidden_size": s.width,
        "intermediate_size": s.mlp_width,
        "num_hidden_layers": s.layers,
        "num_attention_heads": s.heads,
        "image_size": s.image_px,
        "patch_size": s.patch_px,
    }
    text = {
        "vocab_size": t.vocab_size,
        "hidden_size": t.width,
        "intermediate_size": t.mlp_width,
        "num_hidden_layers": t.layers,
        "num_attention_heads": t.heads,
        "num_key_value_heads": t.kv_heads,
        "max_position_embeddings": t.max_positions,
        "rms_norm_eps": t.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": t.rope_theta},
        "tie_word_embeddings": t.tie_embeddings,
    }
    if config.family == "onevision":
        return LlavaOnevisionConfig(
            vision_config=SiglipVisionConfig(**vision, vision_use_head=False),
            text_config=Qwen2Config(**text),
            image_token_index=image_token_id,
            vision_feature_layer=-1,
            tie_word_embeddings=t.tie_embeddings,
            image_grid_pinpoints=[list(grid) for grid in config.anyres] or None,
            vision_aspect_ratio=f"anyres_max_{config.anyres_max}",
        )
    if config.family == "llava":
        return LlavaConfig(
            vision_config=CLIPVisionConfig(**vision),
            text_config=LlamaConfig(**text),
            image_token_index=image_token_id,
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
            tie_word_embeddings=t.tie_embeddings,
        )
    raise ValueError(
        f"There is no family {config.family!r} of language models; choose one of {', '.join(LMM_CLASSES)}."
    )


def build_lmm(config: AGVASConfig, *, image_token_id: int) -> LMM:
    """Make the LMM without weights."""
    wanted = lmm_config(config, image_token_id=image_token_id)
    return LMM_CLASSES[config.family](wanted)


def normalise_semantic(pixel_values: Tensor, family: str) -> Tensor:
    """Return (I, 3, S, S) as the family's semantic eye wants it, from RGB in [0, 1]."""
    if family == "onevision":
        return 2 * pixel_values - 1  # SigLIP: mean and std 0.5
    mean, std = (torch.tensor(v, device=pixel_values.device).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    return (pixel_values - mean) / std


def encode_semantic(lmm: LMM, semantic_values: Tensor) -> Tensor:
    """Return f_s (I, N, D) from normalised semantic_values (I, 3, S, S): the vision tower, then the projector."""
    tower = lmm.model.vision_tower
    seen = tower(semantic_values, output_hidden_states=True).hidden_states
    seen = seen[
        lmm.config.vision_feature_layer
    ]  # before the last norm (SigLIP), or of the layer before the last (CLIP)
    if lmm.config.vision_feature_select_strategy == "default" and isinstance(lmm, LlavaForConditionalGeneration):
        seen = seen[:, 1:]  # LLaVA leaves out the class token
    return lmm.model.multi_modal_projector(seen)

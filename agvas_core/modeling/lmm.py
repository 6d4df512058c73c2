"""The LMM: LLaVA-OneVision of transformers (SigLIP ViT, projector, Qwen2), from a config or from the hub."""

from __future__ import annotations

from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration, Qwen2Config, SiglipVisionConfig

from agvas_core.config import AGVASConfig


def lmm_config(config: AGVASConfig, *, image_token_id: int) -> LlavaOnevisionConfig:
    """Return the transformers config of our LMM's sizes."""
    s, t = config.semantic, config.llm
    vision = SiglipVisionConfig(
        hidden_size=s.width,
        intermediate_size=s.mlp_width,
        num_hidden_layers=s.layers,
        num_attention_heads=s.heads,
        image_size=s.image_px,
        patch_size=s.patch_px,
        vision_use_head=False,
    )
    text = Qwen2Config(
        vocab_size=t.vocab_size,
        hidden_size=t.width,
        intermediate_size=t.mlp_width,
        num_hidden_layers=t.layers,
        num_attention_heads=t.heads,
        num_key_value_heads=t.kv_heads,
        max_position_embeddings=t.max_positions,
        tie_word_embeddings=t.tie_embeddings,
    )
    return LlavaOnevisionConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=image_token_id,
        vision_feature_layer=-1,
        tie_word_embeddings=t.tie_embeddings,
    )


def build_lmm(config: AGVASConfig, *, image_token_id: int) -> LlavaOnevisionForConditionalGeneration:
    """Make the LMM without weights."""
    return LlavaOnevisionForConditionalGeneration(lmm_config(config, image_token_id=image_token_id))

"""Tiny random models of the very classes that lie on the hub, written as the hub has them, and presets of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from agvas_core.config import AGVASConfig, DecoderConfig, PixelConfig

WORDS = ("a scratch on the left side of a metal plate, dark and long. What is wrong with this part? Nothing.",) * 3
DECODER = DecoderConfig(width=32, heads=2, mlp_width=64, mask_width=8)
VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
TEXT = {
    "hidden_size": 64,  # a block of bitsandbytes
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def qwen_tokenizer() -> hf.PreTrainedTokenizerFast:
    """A small tokenizer of Qwen2's make, with LLaVA-OneVision's additions."""
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator(WORDS, trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet))
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>", extra_special_tokens=special[1:2]
    )
    tokenizer.add_tokens(["<image>", "<video>"], special_tokens=True)
    return tokenizer


def vicuna_tokenizer() -> hf.PreTrainedTokenizerFast:
    """A small tokenizer of Llama's make (blanks are part of words, bytes as a last resort), with LLaVA's additions."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    backend.train_from_iterator(WORDS, trainers.BpeTrainer(vocab_size=330, special_tokens=special))
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.add_tokens(["<image>", "<pad>"], special_tokens=True)
    return tokenizer


def onevision_model(
    rows: int, tied: bool = True, side_tiles: int = 2, tiles_max: int = 9, **vision: Any
) -> hf.LlavaOnevisionForConditionalGeneration:
    """A tiny LLaVA-OneVision, whose images have up to side_tiles tiles each way."""
    counts = range(1, side_tiles + 1)
    return hf.LlavaOnevisionForConditionalGeneration(
        hf.LlavaOnevisionConfig(
            vision_config=hf.SiglipVisionConfig(**VISION | vision, image_size=28, patch_size=14, vision_use_head=False),
            text_config=hf.Qwen2Config(vocab_size=rows, tie_word_embeddings=tied, **TEXT),
            tie_word_embeddings=tied,
            image_grid_pinpoints=[[28 * rows, 28 * columns] for rows in counts for columns in counts],
            vision_aspect_ratio=f"anyres_max_{tiles_max}",
        )
    )


def llava_model(rows: int) -> hf.LlavaForConditionalGeneration:
    """A tiny LLaVA-1.5."""
    return hf.LlavaForConditionalGeneration(
        hf.LlavaConfig(
            vision_config=hf.CLIPVisionConfig(**VISION, image_size=28, patch_size=14),
            text_config=hf.LlamaConfig(vocab_size=rows, tie_word_embeddings=False, **TEXT),
            tie_word_embeddings=False,
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
        )
    )


def save_base(folder: Path, family: str = "onevision", *, spare_rows: int = 8, seed: int = 0, **onevision: int) -> Path:
    """Write a tiny base as the hub has it: model and tokenizer; spare_rows beyond the tokenizer's entries."""
    torch.manual_seed(seed)
    tokenizer = qwen_tokenizer() if family == "onevision" else vicuna_tokenizer()
    rows = len(tokenizer) + spare_rows
    model = onevision_model(rows, **onevision) if family == "onevision" else llava_model(rows)
    model.config.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def pixel_model(kind: str) -> tuple[Any, PixelConfig]:
    """Return a tiny model of the class that the hub's checkpoints of a kind are of, and our config of it."""
    mlp = {"intermediate_size": 32}
    if kind == "sam":
        backbone = VIT | {"global_attn_indexes": [1], "initializer_range": 0.02}  # its own is 1e-10
        vision = hf.SamVisionConfig(**backbone, image_size=64, output_channels=16, num_pos_feats=8)
        prompt = hf.SamPromptEncoderConfig(hidden_size=16, image_size=64, mask_input_channels=4)
        mask = hf.SamMaskDecoderConfig(hidden_size=16, mlp_dim=32, num_attention_heads=2)
        model = hf.SamModel(hf.SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=mask))
        return model, PixelConfig("sam", 64, 16, backbone=backbone)
    if kind == "sam2":
        hiera = {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 8,
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [8, 16, 32, 64],
            "window_size_per_stage": [4, 4, 4, 4],
            "global_attention_blocks": [3],
            "image_size": [64, 64],
        }
        backbone = {"backbone_config": hiera, "backbone_channel_list": [64, 32, 16, 8]}
        vision2 = hf.Sam2VisionConfig(**backbone, backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]])
        return hf.Sam2Model(hf.Sam2Config(vision_config=vision2)), PixelConfig(
            "sam2", 64, 256, (256, 256), backbone=backbone
        )
    if kind == "dinov2":
        backbone = VIT | {"image_size": 28}
        return hf.Dinov2Model(hf.Dinov2Config(**backbone)), PixelConfig("dinov2", 112, 16, backbone=backbone)
    if kind == "dinov3":
        backbone = VIT | mlp | {"num_register_tokens": 4}
        return hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**backbone)), PixelConfig("dinov3", 64, 16, backbone=backbone)
    if kind in ("clip", "siglip"):
        backbone = VIT | mlp | {"image_size": 28, "patch_size": 14}
        text = VIT | mlp | {"vocab_size": 16, "max_position_embeddings": 8}
        if kind == "clip":
            model = hf.CLIPModel(hf.CLIPConfig(vision_config=backbone, text_config=text, projection_dim=8))
        else:
            model = hf.SiglipModel(hf.SiglipConfig(vision_config=backbone, text_config=text | {"projection_size": 16}))
        return model, PixelConfig(kind, 112, 16, backbone=backbone)
    assert kind == "convnext", kind
    backbone = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 32, 64]}
    model = hf.ConvNextV2ForImageClassification(hf.ConvNextV2Config(**backbone, num_labels=3))
    return model, PixelConfig("convnext", 64, 32, (8, 16), backbone=backbone)


def save_pixel(folder: Path, kind: str, seed: int = 0) -> tuple[Path, PixelConfig]:
    """Write a tiny pixel encoder's whole checkpoint as the hub has it."""
    torch.manual_seed(seed)
    model, config = pixel_model(kind)
    model.save_pretrained(folder)
    return folder, config


def tiny_base_config(folder: Path, family: str = "onevision", kind: str = "sam", **base: Any) -> AGVASConfig:
    """Write base and pixel encoder below a folder, and return the config of AG-VAS on them."""
    name = save_base(folder / f"{family}-base", family, **base)
    pixel_name, pixel = save_pixel(folder / f"{kind}-eye", kind)
    return AGVASConfig(
        preset="tiny-base", family=family, base=str(name), pixel_base=str(pixel_name), pixel=pixel, decoder=DECODER
    )

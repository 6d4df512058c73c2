"""Tiny random image-text-to-text models of real transformers classes, saved as their hub repositories are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    LlamaConfig,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
)

TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
ONEVISION_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ '\n' + content['text'] }}{% endfor %}{{'<|im_end|>'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
IDEFICS_TEMPLATE = (
    "<|begin_of_text|>{% for message in messages %}{{message['role'].capitalize()}}{{ ': ' }}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def tiny_tokenizer(special: Sequence[str], *, pad: str, eos: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with the control tokens of somebody else."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(["a scratch in the upper left of the plate"] * 3, trainer)
    extra = [s for s in special if s not in (pad, eos)]
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=pad, eos_token=eos, extra_special_tokens=extra)


def save_onevision(folder: Path, *, max_positions: int = 4096) -> Path:
    """LLaVA-OneVision: SigLIP and Qwen2, a processor with a video part that needs torchvision."""
    torch.manual_seed(0)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"]
    tokenizer = tiny_tokenizer(special, pad="<|endoftext|>", eos="<|im_end|>")
    ids = tokenizer.convert_tokens_to_ids
    vision = SiglipVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14,
        vision_use_head=False,
    )  # fmt: skip
    text = Qwen2Config(
        **TEXT, vocab_size=len(tokenizer), num_key_value_heads=1, max_position_embeddings=max_positions,
        eos_token_id=ids("<|im_end|>"), pad_token_id=ids("<|endoftext|>"), bos_token_id=None,
    )  # fmt: skip
    pinpoints = [[28, 28], [28, 56]]
    config = LlavaOnevisionConfig(
        vision_config=vision, text_config=text, image_token_index=ids("<image>"), video_token_index=ids("<video>"),
        vision_feature_layer=-1, image_grid_pinpoints=pinpoints,
    )  # fmt: skip
    LlavaOnevisionForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": 28, "width": 28}
    LlavaOnevisionImageProcessorPil(size=size, image_grid_pinpoints=pinpoints).save_pretrained(folder)
    settings = {
        "processor_class": "LlavaOnevisionProcessor", "num_image_tokens": 4, "vision_feature_select_strategy": "full",
        "image_token": "<image>", "video_token": "<video>",
    }  # fmt: skip
    (folder / "processor_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(ONEVISION_TEMPLATE)
    return folder


def save_idefics3(folder: Path) -> Path:
    """Idefics3: other control tokens, images cut into tiles between row and column tokens."""
    torch.manual_seed(0)
    rows = [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<image>", "<fake_token_around_image>", "<end_of_utterance>"]
    tokenizer = tiny_tokenizer([*special, "<global-img>", *rows], pad="<|end_of_text|>", eos="<end_of_utterance>")
    ids = tokenizer.convert_tokens_to_ids
    text = LlamaConfig(
        **TEXT, vocab_size=len(tokenizer), max_position_embeddings=4096, pad_token_id=ids("<|end_of_text|>"),
        eos_token_id=ids("<end_of_utterance>"), bos_token_id=ids("<|begin_of_text|>"),
    )  # fmt: skip
    vision = {**TEXT, "num_hidden_layers": 1, "image_size": 28, "patch_size": 7}
    config = Idefics3Config(
        vision_config=vision, text_config=text, image_token_id=ids("<image>"), scale_factor=2,
        pad_token_id=ids("<|end_of_text|>"),
    )  # fmt: skip
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    sizes = {"size": {"longest_edge": 56}, "max_image_size": {"longest_edge": 28}}
    Idefics3ImageProcessorPil(**sizes).save_pretrained(folder)
    (folder / "processor_config.json").write_text(
        json.dumps({"processor_class": "Idefics3Processor", "image_seq_len": 4})
    )
    (folder / "chat_template.jinja").write_text(IDEFICS_TEMPLATE)
    return folder

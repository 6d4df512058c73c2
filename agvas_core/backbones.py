"""Real hub weights in our model: the language model and both eyes pretrained, SPAM, Token Refiner and AGMD random."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoConfig, AutoTokenizer, BitsAndBytesConfig, PreTrainedTokenizerBase
from transformers.utils.hub import cached_file, extract_commit_hash

from agvas_core.anchors import add_anchor_tokens
from agvas_core.config import AGVASConfig, LLMConfig, SemanticConfig
from agvas_core.memory import check_memory
from agvas_core.modeling.agvas import AGVAS, TokenIds
from agvas_core.modeling.lmm import LMM, LMM_CLASSES
from agvas_core.modeling.pixel_encoder import build_pixel_encoder
from agvas_core.modeling.pixel_pretrained import load_pretrained
from agvas_core.prompts import IMAGE_TOKEN

Quantization = Literal["nf4", "int8"]
# Names inside the LMM that stay as they are; "vision_tower" alone is silently ignored by transformers. The embeddings
# are no linear layer, and the pixel encoder, SPAM, Token Refiner and AGMD lie outside the LMM.
NEVER_QUANTISED = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]
_PARTS = {"onevision": ("siglip_vision_model", "qwen2"), "llava": ("clip_vision_model", "llama")}


def load_backbones(
    config: AGVASConfig,
    *,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    quantization: Quantization | None = None,
    offload_folder: str | None = None,
    local_files_only: bool = False,
) -> tuple[AGVAS, PreTrainedTokenizerBase]:
    """Return AG-VAS on the weights of config.base and config.pixel_base, in eval mode, and its tokenizer.

    The sizes of the LMM come from the base's own config and replace those of the given one. The anchors are added
    to the tokenizer; their rows begin as the mean of all rows.

    Args:
        config: which base and which pixel encoder: hub names, with their revisions, or folders written by
            save_pretrained. What the model's own config says in the end are the commits that were loaded.
        device: where the model is served.
        dtype: of all weights that are not quantised; None: bfloat16 on a GPU, float32 on a CPU.
        quantization: "nf4" or "int8" for the linear layers inside the language model (bitsandbytes).
        offload_folder: when the device is too small, what does not fit lies in main memory, and then in this folder.
        local_files_only: never ask the hub.

    Raises:
        OSError: when the weights cannot be had.
        ValueError: when they are of another model, when a package is missing, or when the memory will not do.
    """
    dtype = dtype or (torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16)
    if config.family not in LMM_CLASSES:
        raise ValueError(f"There is no family {config.family!r}; choose one of {', '.join(LMM_CLASSES)}.")
    config = replace(
        config, base_revision=commit_of(config.base, config.base_revision, local_files_only=local_files_only)
    )
    hub = _hub_config(config, local_files_only)
    semantic, llm = _sizes(hub)
    config = replace(config, semantic=semantic, llm=llm)
    if config.anyres:  # the base's own grids
        tiles_max = int(hub.vision_aspect_ratio.removeprefix("anyres_max_"))
        config = replace(config, anyres=tuple((h, w) for h, w in hub.image_grid_pinpoints), anyres_max=tiles_max)
    if offload_folder is None:
        check_memory(config, quantization or ("float32" if dtype == torch.float32 else "bf16"), device=device)
    source: dict[str, Any] = {"revision": config.base_revision or None, "local_files_only": local_files_only}
    tokenizer = AutoTokenizer.from_pretrained(config.base, **source)
    options: dict[str, Any] = source | {"config": hub, "dtype": dtype}
    if quantization is not None:
        options["quantization_config"] = quantization_config(quantization, dtype)
    if offload_folder is not None:
        options |= {"device_map": "auto", "offload_folder": offload_folder}
    elif quantization is not None or torch.device(device).type != "cpu":
        options["device_map"] = {"": device}
    lmm = _load_lmm(config.family, config.base, **options)
    ids = _add_anchors(lmm, tokenizer, config.base)
    config = replace(config, llm=replace(llm, vocab_size=lmm.get_input_embeddings().weight.shape[0]))
    pixel: nn.Module
    if config.pixel_base:
        commit = commit_of(config.pixel_base, config.pixel_revision, local_files_only=local_files_only)
        config = replace(config, pixel_revision=commit)
        source["revision"] = commit or None
        pixel = load_pretrained(config.pixel, config.pixel_base, dtype=dtype, **source)
    else:
        pixel = build_pixel_encoder(config.pixel).to(dtype)
    model = AGVAS(config, ids, lmm=lmm, pixel_encoder=pixel)
    for name, part in model.named_children():
        if name != "lmm":
            part.to(device)
            if name != "pixel_encoder":  # its mean and std stay in float32
                part.to(dtype)
    return model.eval(), tokenizer


def commit_of(name: str, revision: str = "", *, local_files_only: bool = False) -> str:
    """Return the commit on the hub that a revision of a name stands for ("": of its main branch); "" for a folder.

    Raises:
        OSError: when there is no such model, or none to be had now.
    """
    path = cached_file(name, "config.json", revision=revision or None, local_files_only=local_files_only)
    return extract_commit_hash(path, None) or ""


def _hub_config(config: AGVASConfig, local_files_only: bool) -> Any:
    """Return the base's own config; ValueError when it is of another family."""
    cls: Any = LMM_CLASSES[config.family]
    hub = AutoConfig.from_pretrained(
        config.base, revision=config.base_revision or None, local_files_only=local_files_only
    )
    if not isinstance(hub, cls.config_class):
        raise ValueError(f"{config.base} is no {config.family} model: its type is {hub.model_type}.")
    types = (hub.vision_config.model_type, hub.text_config.model_type)
    if types != _PARTS[config.family]:
        raise ValueError(f"{config.base} is no {config.family} model: it is made of {' and '.join(types)}.")
    # older configs state it for the text model only
    hub.tie_word_embeddings = bool(hub.tie_word_embeddings or hub.text_config.tie_word_embeddings)
    return hub


def _load_lmm(family: str, base: str, **options: Any) -> LMM:
    cls: Any = LMM_CLASSES[family]
    lmm, info = cls.from_pretrained(base, output_loading_info=True, **options)
    unused = [key for key in info["unexpected_keys"] if key.endswith((".weight", ".bias"))]
    for what, names in (("missing", info["missing_keys"]), ("left over", unused), ("misfit", info["mismatched_keys"])):
        if names:
            shown = ", ".join(sorted(map(str, names))[:8])
            raise ValueError(f"The weights of {base} do not fit {cls.__name__}; {what}: {shown}.")
    return lmm


def quantization_config(quantization: Quantization, dtype: torch.dtype) -> BitsAndBytesConfig:
    """Return what bitsandbytes is told: NF4 with double quantisation, or int8; never the names in NEVER_QUANTISED.

    Raises:
        ValueError: on another quantization, and when bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(f"Quantization to {quantization} needs bitsandbytes: pip install 'agvas[quant]'.")
    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=NEVER_QUANTISED)
    if quantization == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=NEVER_QUANTISED,
        )
    raise ValueError(f"There is no quantization {quantization!r}; choose nf4 or int8.")


@torch.no_grad()
def _add_anchors(lmm: LMM, tokenizer: PreTrainedTokenizerBase, base: str) -> TokenIds:
    """Add the anchors to the tokenizer, and rows for them where the tables have none left (padded ones have)."""
    image = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    if image is None or image == tokenizer.unk_token_id:
        raise ValueError(f"The tokenizer of {base} has no {IMAGE_TOKEN}; it is not the one of a LLaVA model.")
    known = len(tokenizer)
    anchors = add_anchor_tokens(tokenizer)
    if len(tokenizer) > lmm.get_input_embeddings().weight.shape[0]:
        lmm.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64, mean_resizing=False)
    for table in {id(m.weight): m.weight for m in (lmm.get_input_embeddings(), lmm.lm_head)}.values():
        if not table.is_meta:  # offloaded tables keep the rows that they have
            table[list(anchors)] = table[:known].mean(0, dtype=torch.float32).to(table.dtype)
    return TokenIds(int(image), -1, anchors)


def _sizes(hub: Any) -> tuple[SemanticConfig, LLMConfig]:
    """Return the sizes that a base's own config states."""
    v, t = hub.vision_config, hub.text_config
    semantic = SemanticConfig(
        image_px=v.image_size,
        patch_px=v.patch_size,
        width=v.hidden_size,
        mlp_width=v.intermediate_size,
        layers=v.num_hidden_layers,
        heads=v.num_attention_heads,
    )
    llm = LLMConfig(
        vocab_size=t.vocab_size,
        width=t.hidden_size,
        mlp_width=t.intermediate_size,
        layers=t.num_hidden_layers,
        heads=t.num_attention_heads,
        kv_heads=t.num_key_value_heads,
        max_positions=t.max_position_embeddings,
        tie_embeddings=bool(hub.tie_word_embeddings),
        rope_theta=float(t.rope_parameters["rope_theta"]),
        norm_eps=t.rms_norm_eps,
    )
    return semantic, llm

"""How large a model is, by part, and what it needs of a device, counted with nothing loaded; and what was needed."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from agvas_core.config import PIXEL_ENCODERS, PRESETS, AGVASConfig, with_pixel_encoder
from agvas_core.modeling.agvas import AGVAS, TokenIds
from agvas_core.modeling.anyres import most_tile_tokens, tile_tokens

Use = Literal["float32", "bf16", "int8", "nf4", "train"]
USE_WORDS: dict[Use, str] = {
    "float32": "float32",
    "bf16": "bf16",
    "int8": "int8 (language model)",
    "nf4": "NF4 (language model)",
    "train": "LoRA training",
}
GIB = 2**30
LORA_RANK = 16
CHAT_TOKENS = 512  # words beside the image's tokens that the working memory is estimated for
# Bytes a weight takes. NF4 with double quantisation: 4 bits, a byte a block of 64, four bytes 256 blocks (QLoRA).
BYTES = {"float32": 4.0, "bf16": 2.0, "int8": 1.0, "nf4": 0.5 + 1 / 64 + 4 / (64 * 256)}
TRAINED_BYTES = 16  # float32: weight 4, gradient 4, Adam's two moments 8


@dataclass(frozen=True)
class Part:
    """One part of the model.

    Attributes:
        name: as the paper's figure calls it.
        parameters: weights in it.
        quantised: of these, how many NF4 or int8 shrink: the linear layers inside the LLM, nothing else.
        trained: of these, how many are trained on a base, those that training adds included (LoRA).
        added: weights that training adds (LoRA).
    """

    name: str
    parameters: int
    quantised: int = 0
    trained: int = 0
    added: int = 0

    def bytes(self, use: Use) -> float:
        """Return the memory of the weights, and when training of the gradients and of Adam's state."""
        if use == "train":
            return (self.parameters + self.added - self.trained) * BYTES["bf16"] + self.trained * TRAINED_BYTES
        if use in ("int8", "nf4"):
            return self.quantised * BYTES[use] + (self.parameters - self.quantised) * BYTES["bf16"]
        return self.parameters * BYTES[use]


def count_parts(config: AGVASConfig, lora_rank: int = LORA_RANK) -> tuple[Part, ...]:
    """Return the model's parts in the order of the paper's figure; nothing is loaded.

    What is trained on a base: LoRA on the linear layers of the LLM, three rows of the embeddings and of the head,
    SPAM, Token Refiner, AGMD.
    """
    with torch.device("meta"):
        model = AGVAS(config, TokenIds(0, -1, (1, 2, 3)))
    core = model.lmm.model
    linear = [m for layer in core.language_model.layers for m in layer.modules() if isinstance(m, nn.Linear)]
    inside = sum(m.weight.numel() for m in linear)
    lora = sum(lora_rank * (m.in_features + m.out_features) for m in linear)
    rows = 3 * config.llm.width * (1 if config.llm.tie_embeddings else 2)
    tower, projector = _size(core.vision_tower), _size(core.multi_modal_projector)
    language = _size(model.lmm) - tower - projector
    parts = [
        Part("semantic encoder", tower),
        Part("visual projector", projector),
        Part("language model", language - rows, quantised=inside, trained=lora, added=lora),
        Part("anchor rows", rows, trained=rows),
        Part("pixel encoder", _size(model.pixel_encoder)),
    ]
    new: dict[str, nn.Module | None] = {"SPAM": model.spam, "Token Refiner": model.token_refiner, "AGMD": model.agmd}
    if model.region_reader is not None:
        new["region reader"] = nn.ModuleList([model.region_reader, model.region_proj])
    parts += [Part(name, _size(m), trained=_size(m)) for name, m in new.items() if m is not None]
    return tuple(parts)


def working_bytes(config: AGVASConfig, use: Use, batch: int = 1) -> float:
    """Return an estimate of what is needed beside the weights: keys and values, the widest layers, activations.

    Training: gradient checkpointing, so that a layer keeps its input only; logits in float32 with their gradient.
    """
    t, wide = config.llm, 4 if use == "float32" else 2
    tokens = config.image_tokens + most_tile_tokens(config) + CHAT_TOKENS
    cells = (config.pixel.image_px // 16) ** 2
    heads = config.pixel.backbone.get("num_attention_heads", 1)
    # SAM adds relative positions to the whole attention matrix, twice; other encoders never hold it
    eye = 3 * heads * cells**2 * wide if config.pixel.kind == "sam" else 64 * cells * config.pixel.width * wide
    decoder = 8 * (8 * cells * 16) * config.decoder.mask_width * wide
    widest = tokens * (4 * t.width + 3 * t.mlp_width) * wide
    if use == "train":
        logits = 3 * CHAT_TOKENS * t.vocab_size * 4
        layers = t.layers * tokens * t.width * wide
        return batch * (max(eye, layers + 2 * widest + logits) + 6 * decoder)
    cache = 2 * t.layers * tokens * t.kv_heads * (t.width // t.heads) * wide
    return batch * (cache + max(eye, widest, decoder))


def memory_needed(config: AGVASConfig, use: Use, parts: tuple[Part, ...] | None = None) -> float:
    """Return bytes for one image at a time: weights (training: with gradients and Adam) and working_bytes."""
    return sum(p.bytes(use) for p in parts or count_parts(config)) + working_bytes(config, use)


def free_memory(device: str) -> float | None:
    """Return the free bytes of a device, or None where they cannot be known."""
    if torch.device(device).type == "cuda":
        return float(torch.cuda.mem_get_info(torch.device(device))[0])
    info = Path("/proc/meminfo")
    if info.is_file():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        if "MemAvailable" in lines:
            return float(lines["MemAvailable"].split()[0]) * 1024
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):  # Windows, macOS
        return None


def check_memory(config: AGVASConfig, use: Use, *, device: str, free: float | None = None) -> None:
    """Raise a ValueError whose sentences have the numbers and the smaller choices, when a model will not fit.

    Args:
        config: which model.
        use: in which type it is served, or "train" for LoRA training.
        device: "cuda", "cuda:0", "cpu".
        free: free bytes of the device; by default asked for.
    """
    free = free_memory(device) if free is None else free
    needed = memory_needed(config, use)
    if free is None or needed <= free:
        return
    fitting = _smaller(config, use, device, free)
    advice = (
        f"What fits: {'; '.join(fitting)}." if fitting else "None of the presets fits; use a device with more memory."
    )
    raise ValueError(
        f"{config.preset} with {pixel_name(config)} needs about {needed / GIB:.1f} GiB for {USE_WORDS[use]}, and "
        f"{device} has {free / GIB:.1f} GiB free. {advice}"
    )


def _smaller(config: AGVASConfig, use: Use, device: str, free: float) -> list[str]:
    """Return the choices that fit: this preset quantised, then this preset and smaller ones with a small encoder."""
    found = []
    cuda = torch.device(device).type == "cuda"
    if use in ("bf16", "float32") and cuda:
        quantised: tuple[Use, ...] = ("int8", "nf4")
        sizes = {kind: memory_needed(config, kind) for kind in quantised}
        found += [f"--quantization {k} ({needed / GIB:.1f} GiB)" for k, needed in sizes.items() if needed <= free][:1]
    largest = memory_needed(config, use)
    for name in (config.preset, *(n for n in PRESETS if n != config.preset)):
        if name in PRESETS and PRESETS[name].base:
            needed = memory_needed(with_pixel_encoder(PRESETS[name], "sam-b"), use)
            if needed <= free and needed < largest:
                found.append(f"--model {name} --pixel sam-b ({needed / GIB:.1f} GiB)")
    return found


def image_tokens(config: AGVASConfig, size_hw: tuple[int, int]) -> int:
    """Return how many tokens the LLM reads of an image: f_s with its tiles, and f_align."""
    return config.image_tokens + tile_tokens(config, size_hw)


def pixel_name(config: AGVASConfig) -> str:
    """Return the name in PIXEL_ENCODERS of a config's pixel encoder, or its kind when it has none."""
    return next((name for name, (base, _) in PIXEL_ENCODERS.items() if base == config.pixel_base), config.pixel.kind)


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory of the GPU, or of the process on a CPU, in MB; 0 where the system keeps none."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)

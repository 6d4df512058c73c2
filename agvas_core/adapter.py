"""Adapters: what AG-VAS adds to a base and trains (LoRA, anchor rows, SPAM, refiner, AGMD), as a small folder."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from agvas_core.anchors import ANCHOR_TOKENS
from agvas_core.checkpoint import CARD_FILE, CONFIG_FILE, file_sha256, load_checkpoint, refuse_misfits
from agvas_core.config import AGVASConfig
from agvas_core.modeling.agvas import AGVAS, TokenIds, build_agvas
from agvas_core.modeling.anchor_rows import fix_anchor_rows, free_anchor_rows

RECORD_FILE, WEIGHTS_FILE = "adapter.json", "adapter.safetensors"
WHOLE_PARTS = ("spam", "token_refiner", "agmd", "region_reader", "region_proj")
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
BUNDLED = Path(__file__).resolve().parents[1] / "checkpoints"
FINGERPRINT_VALUES = 32
FINGERPRINT_TOLERANCE = 1e-2  # relative: half-precision copies of the same base agree within it

Base = tuple[AGVAS, PreTrainedTokenizerBase]


@dataclass(frozen=True)
class LoraOptions:
    """LoRA on the language model's layers.

    Attributes:
        rank: 16 in the paper.
        alpha: the update is scaled by alpha / rank. Paper leaves open: alpha, dropout and targets.
        dropout: of the update's input, in training.
        targets: projections of each layer that get one.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    targets: tuple[str, ...] = LORA_TARGETS


@dataclass(frozen=True)
class AdapterRecord:
    """What an adapter is of.

    Attributes:
        base: hub name or folder of the language model and its eye, or of a whole AG-VAS checkpoint.
        base_revision: its commit on the hub, or a checkpoint's hash; "" when unknown.
        pixel_base: hub name of the pixel encoder, "" when it comes with the base.
        lora: the LoRA's shape.
        anchor_ids: ids of [NOR], [ANO], [SEG] in the base's tokenizer.
        fingerprint: some values of the base's weights, by part, so that another base is noticed.
        training: what it was trained on, stored and shown; {} means untrained.
    """

    base: str
    base_revision: str
    pixel_base: str
    lora: LoraOptions
    anchor_ids: tuple[int, int, int]
    fingerprint: dict[str, list[float]]
    training: dict[str, Any]


# --- on a model ------------------------------------------------------------------------------------------------------


def part_of(name: str) -> str | None:
    """Return which trained part a parameter belongs to, or None when it is the base's and frozen."""
    if ".lora_" in name:
        return "lora"
    if name.endswith(".anchor_rows"):
        return "anchor_rows"
    head = name.split(".")[0]
    return head if head in WHOLE_PARTS else None


def add_adapter(model: AGVAS, lora: LoraOptions, *, dtype: torch.dtype | None = None) -> None:
    """Freeze the model, put the LoRA and the anchors' rows into it, and let only the adapter's parts be trained.

    The masks stay as they are: a new LoRA adds nothing. dtype: of the adapter's parts; None keeps the base's.
    """
    from peft import LoraConfig, inject_adapter_in_model  # slow to import, and only adapters need it

    model.requires_grad_(False)
    layers = r".*language_model\.layers\.\d+\.\w+\."
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=f"{layers}({'|'.join(lora.targets)})",
    )
    inject_adapter_in_model(config, model.lmm)
    free_anchor_rows(model.lmm, model.token_ids.anchors)
    model.train(model.training)  # the new modules too
    base_dtype = model.lmm.get_input_embeddings().base.weight.dtype
    for parameter in adapter_parameters(model).values():
        parameter.data = parameter.data.to(dtype or base_dtype)
        parameter.requires_grad_(True)


def adapter_parameters(model: AGVAS) -> dict[str, nn.Parameter]:
    """Return the trained parameters by the names that they have in files; shared ones once."""
    return {file_name(n): p for n, p in model.named_parameters() if part_of(n) is not None}


def file_name(name: str) -> str:
    """Return a parameter's name in files: without peft's name of the adapter."""
    return re.sub(r"(\.lora_\w+)\.default", r"\1", name)


def adapter_state(model: AGVAS) -> dict[str, Tensor]:
    """Return copies of the trained weights on the CPU."""
    return {n: p.detach().to("cpu", copy=True).contiguous() for n, p in adapter_parameters(model).items()}


@torch.no_grad()
def put_adapter_state(model: AGVAS, state: dict[str, Tensor]) -> None:
    """Copy weights into the model's adapter; ValueError that names what is missing, unknown or of another shape."""
    parameters = adapter_parameters(model)
    refuse_misfits({n: tuple(p.shape) for n, p in parameters.items()}, state)
    for name, parameter in parameters.items():
        parameter.copy_(state[name])


def merge_adapter(model: AGVAS) -> AGVAS:
    """Write the LoRA and the anchors' rows into the base's weights: the same model without an adapter. In place."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.lmm.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge(safe_merge=True)
            parent, _, child = name.rpartition(".")
            setattr(model.lmm.get_submodule(parent), child, module.get_base_layer())
    fix_anchor_rows(model.lmm)
    return model


def record_of(model: AGVAS, lora: LoraOptions, *, revision: str = "", training: dict[str, Any]) -> AdapterRecord:
    """Return the record of a model with an adapter."""
    return AdapterRecord(
        base=model.config.base,
        base_revision=revision,
        pixel_base=model.config.pixel_base,
        lora=lora,
        anchor_ids=model.token_ids.anchors,
        fingerprint=fingerprint(model),
        training=training,
    )


def fingerprint(model: AGVAS) -> dict[str, list[float]]:
    """Return the first values of three tables of the base that nothing trains or quantises: words and both eyes."""
    words = model.lmm.get_input_embeddings()
    tables = {
        "words": getattr(words, "base", words).weight,
        "semantic": next(p for p in model.lmm.model.vision_tower.parameters() if p.ndim == 4),  # patch embedding
        "pixel": next(p for p in model.pixel_encoder.parameters() if p.ndim == 4),
    }
    return {name: t.detach().flatten()[:FINGERPRINT_VALUES].float().tolist() for name, t in tables.items()}


# --- in a folder -----------------------------------------------------------------------------------------------------


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, complete or not."""
    return (folder / RECORD_FILE).is_file()


def save_adapter(
    folder: Path, *, config: AGVASConfig, record: AdapterRecord, state: dict[str, Tensor], card: str = ""
) -> None:
    """Write an adapter: weights, config, record with hashes, and a model card ("" writes one from the record)."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config.save(folder / CONFIG_FILE)
    hashes = {name: file_sha256(folder / name) for name in (WEIGHTS_FILE, CONFIG_FILE)}
    raw = asdict(record) | {"parts": parts_count(state), "sha256": hashes}
    (folder / RECORD_FILE).write_text(json.dumps(raw, indent=1) + "\n")
    (folder / CARD_FILE).write_text(card or model_card(record, parts_count(state)), encoding="utf-8")


def parts_count(state: dict[str, Tensor]) -> dict[str, int]:
    """Return how many numbers each part has."""
    count: Counter[str] = Counter()
    for name, value in state.items():
        count[part_of(name) or "unknown"] += value.numel()
    return dict(count)


def read_adapter(folder: Path) -> tuple[AGVASConfig, AdapterRecord, dict[str, Tensor]]:
    """Return config, record and weights of an adapter's folder, without its base.

    Raises FileNotFoundError when a file is absent, and ValueError when a hash differs or the record cannot be read.
    """
    for name in (RECORD_FILE, CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} is no complete AG-VAS adapter: {name} is not there.")
    try:
        raw = json.loads((folder / RECORD_FILE).read_text())
        values = {f.name: raw[f.name] for f in fields(AdapterRecord)}
        lora = LoraOptions(**(values["lora"] | {"targets": tuple(values["lora"]["targets"])}))
        record = AdapterRecord(**(values | {"lora": lora, "anchor_ids": tuple(values["anchor_ids"])}))
        hashes = dict(raw["sha256"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / RECORD_FILE} is damaged: {error!r}.") from error
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        if file_sha256(folder / name) != hashes.get(name):
            raise ValueError(f"{name} is damaged: its SHA-256 is not the one in {RECORD_FILE}.")
    return AGVASConfig.load(folder / CONFIG_FILE), record, load_file(folder / WEIGHTS_FILE)


def verify_adapter(folder: Path) -> tuple[AGVASConfig, AdapterRecord, dict[str, Tensor]]:
    """Check hashes, names and shapes without the base's weights, and return what read_adapter does."""
    config, record, state = read_adapter(folder)
    with torch.device("meta"):
        model = build_agvas(config, TokenIds(0, 0, record.anchor_ids))
        add_adapter(model, record.lora)
    refuse_misfits({n: tuple(p.shape) for n, p in adapter_parameters(model).items()}, state)
    return config, record, state


def load_adapter(
    folder: Path, *, load_base: Callable[[AGVASConfig], Base] | None = None
) -> tuple[AGVAS, PreTrainedTokenizerBase, dict[str, Any]]:
    """Return model (eval mode), tokenizer and training record of an adapter on its base.

    load_base: returns the base of a config; by default load_base_of, on the CPU in its own precision.
    Raises what read_adapter raises, and ValueError when the base or the weights do not fit.
    """
    config, record, state = read_adapter(folder)
    model, tokenizer = (load_base or load_base_of)(config)
    if model.token_ids.anchors != record.anchor_ids:
        raise ValueError(
            f"The tokenizer of {record.base} gives the anchors {', '.join(ANCHOR_TOKENS)} the ids "
            f"{model.token_ids.anchors}; the adapter was trained with {record.anchor_ids}."
        )
    _refuse_other_base(model, record)
    add_adapter(model, record.lora)
    put_adapter_state(model, state)
    return model.eval(), tokenizer, record.training


def _refuse_other_base(model: AGVAS, record: AdapterRecord) -> None:
    for part, values in fingerprint(model).items():
        wanted, got = torch.tensor(record.fingerprint.get(part, [])), torch.tensor(values)
        if wanted.shape != got.shape or not torch.allclose(got, wanted, rtol=FINGERPRINT_TOLERANCE, atol=1e-4):
            raise ValueError(
                f"The adapter was trained on another base: the {part!r} weights of {record.base} are not the ones "
                f"that it knows (revision {record.base_revision or 'unknown'})."
            )


def base_folder(base: str) -> Path | None:
    """Return the folder of a base that is a whole AG-VAS checkpoint: a path, or a bundled model's name; else None."""
    for folder in (Path(base), BUNDLED / base):
        if base and (folder / CONFIG_FILE).is_file():
            return folder
    return None


def load_base_of(config: AGVASConfig, **options: Any) -> Base:
    """Return the model and tokenizer that an adapter's config builds on, the adapter's parts still untrained.

    config.base is an AG-VAS checkpoint (float32), or a hub name, which backbones.load_backbones takes with the options.
    """
    folder = base_folder(config.base)
    if folder is not None:
        model, tokenizer, _ = load_checkpoint(folder)
        model.config = config
        return model, tokenizer
    from agvas_core.backbones import load_backbones

    return load_backbones(config, **options)


def model_card(record: AdapterRecord, parts: dict[str, int]) -> str:
    """Return a model card, from the record alone."""
    on_hub = f"base_model: {record.base}\n" if not Path(record.base).is_dir() else ""
    rows = "\n".join(f"| {name} | {count:,} |" for name, count in parts.items())
    trained = record.training.get("summary", "UNTRAINED")
    return f"""---
library_name: agvas
pipeline_tag: image-segmentation
{on_hub}---

# AG-VAS adapter on {record.base}

What it was trained on: {trained}.

LoRA of rank {record.lora.rank} on the language model, the rows of [NOR], [ANO] and [SEG], SPAM, Token Refiner and AGMD.
Everything else comes from the base{f" (revision {record.base_revision[:12]})" if record.base_revision else ""}\
{f" and {record.pixel_base}" if record.pixel_base else ""}, whose licences hold too.

| part | parameters |
|---|---|
{rows}

Use it: `agvas demo --engine FOLDER`. Check it: `agvas checkpoint verify FOLDER`.
"""

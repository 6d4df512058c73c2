"""Checkpoints: a folder with config, tokenizer, hashed safetensors shards; partial or foreign ones are refused."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from agvas_core.anchors import ANCHOR_TOKENS
from agvas_core.config import AGVASConfig
from agvas_core.modeling.agvas import AGVAS, TokenIds, build_agvas
from agvas_core.prompts import IMAGE_TOKEN, REGION_TOKEN

CONFIG_FILE, INDEX_FILE, CARD_FILE = "agvas_config.json", "weights.json", "README.md"
TOKENIZER_FILE = "tokenizer.json"
SHARD_BYTES = 9_000_000  # files above 10 MB need git-lfs on the hub
CARD_PICTURE = re.compile(r"!\[([^\]]*)\]\(([\w-]+\.png)\)")  # beside the card: a name without any folder
CARD_PICTURE_BYTES = 1_000_000  # larger ones stay links


def token_ids_of(tokenizer: PreTrainedTokenizerFast) -> TokenIds:
    """Return the ids that the model treats apart; ValueError that names a token which the tokenizer lacks.

    A base's tokenizer has no region placeholder: its id is -1 then.
    """
    vocab = tokenizer.get_vocab()
    missing = [t for t in (IMAGE_TOKEN, *ANCHOR_TOKENS) if t not in vocab]
    if missing:
        raise ValueError(f"The tokenizer lacks {', '.join(missing)}; it is not one of AG-VAS.")
    nor, ano, seg = (vocab[t] for t in ANCHOR_TOKENS)
    return TokenIds(vocab[IMAGE_TOKEN], vocab.get(REGION_TOKEN, -1), (nor, ano, seg))


def _shards(state: dict[str, Tensor], shard_bytes: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in state.items():
        nbytes = value.numel() * value.element_size()
        if shards[-1] and size + nbytes > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = value
        size += nbytes
    return shards


def _own_state(model: AGVAS) -> dict[str, Tensor]:
    """Return the state without names that share another one's memory (tied embeddings)."""
    seen: set[tuple[int, int]] = set()
    out = {}
    for name, value in model.state_dict().items():
        place = (value.untyped_storage()._cdata, value.storage_offset())  # told apart on the meta device too
        if place in seen and value.numel():
            continue
        seen.add(place)
        out[name] = value
    return out


def save_checkpoint(
    model: AGVAS,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    *,
    card: str,
    training: dict[str, Any],
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a checkpoint.

    dtype: type of the floating-point weights on disk, or None to keep theirs (then loading gives back every bit).
    training: what the weights were trained on, stored and shown; {} means untrained.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("model-*.safetensors"):
        old.unlink()
    state = {
        name: (value.to(dtype) if dtype is not None and value.is_floating_point() else value).contiguous().cpu()
        for name, value in _own_state(model).items()
    }
    shards = _shards(state, shard_bytes)
    files = {}
    for i, shard in enumerate(shards):
        path = folder / f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, path, metadata={"format": "pt"})
        files[path.name] = {"sha256": file_sha256(path), "tensors": sorted(shard)}
    (folder / INDEX_FILE).write_text(json.dumps({"training": training, "files": files}, indent=1) + "\n")
    model.config.save(folder / CONFIG_FILE)
    tokenizer.save_pretrained(folder)
    (folder / CARD_FILE).write_text(card, encoding="utf-8")


def load_checkpoint(folder: Path) -> tuple[AGVAS, PreTrainedTokenizerFast, dict[str, Any]]:
    """Return model (float32, eval mode), tokenizer and the training record of a checkpoint folder.

    Raises FileNotFoundError when a file is absent, and ValueError when a hash differs, or when weights are missing,
    unknown or of another shape; each error names them.
    """
    index, tokenizer = read_index(folder), PreTrainedTokenizerFast.from_pretrained(folder)
    model = build_agvas(AGVASConfig.load(folder / CONFIG_FILE), token_ids_of(tokenizer))
    state: dict[str, Tensor] = {}
    for path in _whole_files(folder, index):
        state |= load_file(path)
    load_weights(model, state)
    return model.eval(), tokenizer, index["training"]


def verify_checkpoint(folder: Path) -> dict[str, tuple[int, ...]]:
    """Check what load_checkpoint checks, with nothing loaded; return the shapes of the weights by name."""
    index, tokenizer = read_index(folder), PreTrainedTokenizerFast.from_pretrained(folder)
    with torch.device("meta"):
        model = build_agvas(AGVASConfig.load(folder / CONFIG_FILE), token_ids_of(tokenizer))
    shapes: dict[str, tuple[int, ...]] = {}
    for path in _whole_files(folder, index):
        with safe_open(path, "pt") as file:
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    refuse_misfits({name: tuple(value.shape) for name, value in _own_state(model).items()}, shapes)
    return shapes


def read_index(folder: Path) -> dict[str, Any]:
    """Return the record of a checkpoint's folder: "training", and "files" with their hashes.

    Raises FileNotFoundError when config, record or tokenizer are absent, and ValueError when the record is damaged.
    """
    for name in (CONFIG_FILE, INDEX_FILE, TOKENIZER_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} is no AG-VAS checkpoint: {name} is not there.")
    try:
        index = json.loads((folder / INDEX_FILE).read_text())
        return {"training": dict(index["training"]), "files": dict(index["files"])}
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / INDEX_FILE} is damaged: {error!r}.") from error


def _whole_files(folder: Path, index: dict[str, Any]) -> Iterator[Path]:
    """Yield a checkpoint's weight files, each once its hash was found right."""
    for name, entry in index["files"].items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{folder} is incomplete: {name} is not there.")
        if file_sha256(path) != entry["sha256"]:
            raise ValueError(f"{name} is damaged: its SHA-256 is not the one in {INDEX_FILE}.")
        yield path


def checkpoint_hash(folder: Path) -> str:
    """Return what tells a checkpoint from all others: a SHA-256 over its config, tokenizer and the shards' hashes."""
    files = (CONFIG_FILE, INDEX_FILE, TOKENIZER_FILE)
    return hashlib.sha256("".join(file_sha256(folder / name) for name in files).encode()).hexdigest()


def load_weights(model: AGVAS, state: dict[str, Tensor]) -> None:
    """Copy weights into a model; ValueError that names what is missing, unknown or of another shape."""
    refuse_misfits({name: tuple(value.shape) for name, value in _own_state(model).items()}, state)
    model.load_state_dict(state, strict=False)  # names that share memory come along with their twins


def refuse_misfits(
    wanted: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor] | Mapping[str, tuple[int, ...]]
) -> None:
    """Raise ValueError that names what is missing, unknown or of another shape in a state, or in its shapes."""
    missing, unknown = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    given = {name: tuple(v.shape) if isinstance(v, Tensor) else v for name, v in state.items()}
    misshapen = [n for n in wanted if n in given and given[n] != wanted[n]]
    problems = [
        f"{what}: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}"
        for what, names in (("missing", missing), ("unknown", unknown), ("of another shape", misshapen))
        if names
    ]
    if problems:
        raise ValueError("These weights do not fit the model; " + "; ".join(problems) + ".")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def card_text(folder: Path) -> str:
    """Return a folder's card without its front matter, which is for the hub, and with its pictures in it.

    A page has no way to a file beside the weights, so pictures become data URLs. "" when there is no card.
    """
    path = folder / CARD_FILE
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if text.startswith("---\n"):
        text = text.partition("\n---\n")[2]

    def shown(link: re.Match[str]) -> str:
        picture = folder / link[2]
        if not picture.is_file() or picture.stat().st_size > CARD_PICTURE_BYTES:
            return link[0]
        return f"![{link[1]}](data:image/png;base64,{b64encode(picture.read_bytes()).decode()})"

    return CARD_PICTURE.sub(shown, text).strip()

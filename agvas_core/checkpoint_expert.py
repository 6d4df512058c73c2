"""Files of Anomaly-OV's experts: the bundled one, bound to its eyes by their hash, and the authors' released ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from agvas_core.checkpoint import CARD_FILE
from agvas_core.modeling.agvas import AGVAS
from agvas_core.modeling.anomaly_ov import AnomalyExpert, ExpertConfig, load_expert_state
from agvas_core.modeling.expert_eyes import fingerprint

EXPERT_FILE, EXPERT_CONFIG_FILE = "expert.safetensors", "expert_config.json"
RETRAIN = "Train the expert anew with `agvas train-expert`."


def save_expert(
    expert: AnomalyExpert,
    weights: dict[str, Tensor],
    model: AGVAS,
    folder: Path,
    *,
    training: dict[str, Any],
    card: str,
) -> None:
    """Write an expert in fp16, with its sizes, its training record and the hashes of itself and of the model's eyes.

    weights: the state to store (the averaged one of a run); an empty card leaves the folder's own as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {n: (v.half() if v.is_floating_point() else v).contiguous().cpu() for n, v in weights.items()}
    save_file(state, folder / EXPERT_FILE, metadata={"format": "pt"})
    record = {
        "config": expert.config.to_dict(),
        "eyes_sha256": fingerprint(model, expert.config),
        "file_sha256": _sha256(folder / EXPERT_FILE),
        "training": training,
    }
    (folder / EXPERT_CONFIG_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if card or not (folder / CARD_FILE).is_file():
        (folder / CARD_FILE).write_text(card, encoding="utf-8")


def load_expert(folder: Path, model: AGVAS) -> tuple[AnomalyExpert, dict[str, Any]]:
    """Return a bundled expert (float32, eval mode) and its training record.

    Raises FileNotFoundError when a file is absent, and ValueError when one is damaged, when weights do not fit, or when
    the expert was trained on other eyes than the model's.
    """
    for name in (EXPERT_FILE, EXPERT_CONFIG_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no expert: {name} is not there. {RETRAIN}")
    try:
        record = json.loads((folder / EXPERT_CONFIG_FILE).read_text(encoding="utf-8"))
        config = ExpertConfig.from_dict(record["config"])
        eyes, own, training = record["eyes_sha256"], record["file_sha256"], record["training"]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{folder / EXPERT_CONFIG_FILE} is damaged ({error}).") from error
    if _sha256(folder / EXPERT_FILE) != own:
        raise ValueError(f"{EXPERT_FILE} is damaged: its SHA-256 is not the one in {EXPERT_CONFIG_FILE}.")
    if fingerprint(model, config) != eyes:
        raise ValueError(
            f"The expert in {folder} was trained on the eyes of another model: its scores would mean nothing with this "
            f"one. {RETRAIN}"
        )
    expert = AnomalyExpert(config)
    load_expert_state(expert, {n: v.float() for n, v in load_file(folder / EXPERT_FILE).items()}, EXPERT_FILE)
    return expert.eval(), training


def load_released_expert(path: Path, config: ExpertConfig | None = None) -> AnomalyExpert:
    """Return an expert (float32, eval mode) of the authors' `pretrained_expert_7b.pth` or `_05b.pth`.

    Raises FileNotFoundError when the file is absent, and ValueError when it is no plain state dict or a
    name does not fit.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever unpickling raises on a foreign file
        raise ValueError(f"{path.name} cannot be read as plain weights.") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path.name} is no state dict: names and tensors were expected.")
    expert = AnomalyExpert(config or ExpertConfig())
    load_expert_state(expert, {n: v.float() for n, v in state.items()}, path.name)
    return expert.eval()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

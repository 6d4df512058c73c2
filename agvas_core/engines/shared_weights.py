"""A checkpoint's weights once in memory, however many engines answer with them: AG-VAS, SAA and Anomaly-OV nano."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from transformers import PreTrainedTokenizerFast

from agvas_core.checkpoint import checkpoint_hash, load_checkpoint, read_index
from agvas_core.modeling.agvas import AGVAS
from agvas_core.predictor import AnomalyPredictor

_Key = tuple[Path, str, str]  # folder, hash of the weights, device
# Weights that nobody changes; what no engine holds any more is given back, and so is not listed here.
_models: WeakValueDictionary[_Key, AGVAS] = WeakValueDictionary()
_beside: WeakKeyDictionary[AGVAS, tuple[PreTrainedTokenizerFast, dict[str, Any]]] = WeakKeyDictionary()
_predictors: WeakValueDictionary[_Key, AnomalyPredictor] = WeakValueDictionary()
_lock = threading.RLock()


def shared_checkpoint(folder: Path, device: str) -> tuple[AGVAS, PreTrainedTokenizerFast, dict[str, Any]]:
    """Return what load_checkpoint does, the model on its device and for reading only; errors as there.

    While an engine holds the model, the next one with the same weights and device gets that model and no copy.
    """
    with _lock:
        key = _key(folder, device)
        model = _models.get(key)
        if model is None:
            model, tokenizer, training = load_checkpoint(folder)
            _models[key] = model = model.to(device)
            _beside[model] = tokenizer, training
        return model, *_beside[model]


def shared_predictor(folder: Path, device: str) -> tuple[AnomalyPredictor, dict[str, Any]]:
    """Return a predictor on the shared model, with its training record; engines that share it encode an image once."""
    with _lock:
        model, tokenizer, training = shared_checkpoint(folder, device)
        key = _key(folder, device)
        predictor = _predictors.get(key)
        if predictor is None:
            _predictors[key] = predictor = AnomalyPredictor(model, tokenizer, device=device)
        return predictor, training


def _key(folder: Path, device: str) -> _Key:
    read_index(folder)  # its errors say what is wrong with a folder
    return folder.resolve(), checkpoint_hash(folder), device

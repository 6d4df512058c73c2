"""An AG-VAS adapter's folder as an engine: the base's weights, and what the adapter trained."""

from __future__ import annotations

from pathlib import Path

import torch

from agvas_core.adapter import RECORD_FILE, Base, base_folder, load_adapter, load_base_of
from agvas_core.checkpoint import card_text, file_sha256
from agvas_core.config import AGVASConfig
from agvas_core.engines.agvas import AGVASEngine


def load_adapter_engine(folder: Path, *, device: str) -> AGVASEngine:
    """Return the engine of an adapter on its base.

    Raises:
        FileNotFoundError: when a file, or the base's weights, are not there.
        ValueError: when the adapter is damaged, or does not fit its base; the message names what.
    """

    def load_base(config: AGVASConfig) -> Base:
        half = torch.float32 if device == "cpu" else torch.bfloat16
        try:
            return load_base_of(config, device=device, dtype=half)
        except OSError as error:
            raise FileNotFoundError(
                f"The adapter {folder} needs its base {config.base}"
                f"{f' and {config.pixel_base}' if config.pixel_base else ''}, which is neither on this machine nor to "
                f"be had from the hub now: {error}"
            ) from error

    model, tokenizer, training = load_adapter(folder, load_base=load_base)
    base, pixel = model.config.base, model.config.pixel_base
    of_hub = base_folder(base) is None
    return AGVASEngine.of(
        model,
        tokenizer,
        engine_id=str(folder),
        name=f"AG-VAS {folder.name}",
        device=device,
        weights=f"{training.get('summary', 'UNTRAINED (random weights)')}; an adapter on {base}",
        trained=bool(training),
        licence=f"code: Apache-2.0; weights: as {base}{f' and {pixel}' if pixel else ''} say"
        if of_hub
        else "Apache-2.0",
        markdown=card_text(folder),
        weights_hash=file_sha256(folder / RECORD_FILE),  # it holds the weights' hash
    )

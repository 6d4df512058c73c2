"""AG-VAS on hub weights, by a name: "onevision-7b", "onevision-7b+dinov3-l", "onevision-7b+sam-b+nf4+anyres"."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from agvas_core.backbones import Quantization, load_backbones
from agvas_core.config import BASES, PIXEL_ENCODERS, AGVASConfig, get_preset, with_anyres
from agvas_core.engines.agvas import AGVASEngine
from agvas_core.memory import pixel_name

OFFLOAD, ANYRES = "offload", "anyres"
AT = "@"  # before the base's revision


@dataclass(frozen=True)
class BaseChoice:
    """What a name asks for.

    Attributes:
        config: the preset with the pixel encoder, the base's revision and the tiles that were named.
        quantization: "nf4", "int8" or None.
        offload: what the device cannot hold lies in main memory, and then on the disk.
    """

    config: AGVASConfig
    quantization: Quantization | None
    offload: bool


def parse_base_name(name: str) -> BaseChoice:
    """Return what a name asks for: a preset, and after plus signs an encoder, nf4 or int8, offload, anyres, @REVISION.

    Raises:
        ValueError: when a part of it is unknown; the message lists what there is.
    """
    preset, *rest = name.split("+")
    pixel: str | None = None
    revision = ""
    quantization: Quantization | None = None
    if preset not in BASES:
        raise ValueError(f"There is no base {preset!r}; choose one of {', '.join(BASES)}.")
    for part in rest:
        if part in get_args(Quantization):
            quantization = part  # type: ignore[assignment]
        elif part in PIXEL_ENCODERS:
            pixel = part
        elif part.startswith(AT) and part != AT:
            revision = part.removeprefix(AT)
        elif part not in (OFFLOAD, ANYRES):
            known = [*PIXEL_ENCODERS, *get_args(Quantization), OFFLOAD, ANYRES, f"{AT}REVISION"]
            raise ValueError(f"{part!r} in {name!r} is unknown; choose from {', '.join(known)}.")
    config = replace(get_preset(preset, pixel), base_revision=revision)
    return BaseChoice(with_anyres(config) if ANYRES in rest else config, quantization, OFFLOAD in rest)


def is_base_name(name: str) -> bool:
    """Whether a name begins with a base's."""
    return name.split("+")[0] in BASES


def load_base_engine(name: str, *, device: str) -> AGVASEngine:
    """Return the engine of a base without an adapter: words by the base, no mask, and UNTRAINED on its card.

    Raises:
        FileNotFoundError: when the weights are neither on this machine nor to be had from the hub.
        ValueError: when the name is wrong, or when the device's memory will not do.
    """
    choice = parse_base_name(name)
    config = choice.config
    # Paper differs: f_align, whose SPAM is random here, would only disturb the base's words
    config = replace(config, decoder=replace(config.decoder, use_spam=False))
    folder = str(Path(tempfile.gettempdir()) / "agvas-offload") if choice.offload else None
    try:
        model, tokenizer = load_backbones(
            config, device=device, quantization=choice.quantization, offload_folder=folder
        )
    except OSError as error:
        raise FileNotFoundError(
            f"{name} needs the weights of {config.base} and {config.pixel_base}, which are neither on this machine nor "
            f"to be had from the hub now. Download them where there is a network: hf download {config.base}"
            f"{f' --revision {config.base_revision}' if config.base_revision else ''}; "
            f"hf download {config.pixel_base}."
        ) from error
    return AGVASEngine.of(
        model,
        tokenizer,
        engine_id=name,
        name=f"AG-VAS {config.preset}",
        device=device,
        weights=f"UNTRAINED (random mask decoder) on {config.base} with {pixel_name(config)}, {config.pixel_base}",
        trained=False,
        licence=f"code: Apache-2.0; weights: as {config.base} and {config.pixel_base} say",
        speaks_alone=True,
    )

"""Engines by name, and how each is loaded. Importing this loads no model's code, so that the page opens sooner."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agvas_core.config import BASES
from agvas_core.engines.base import Engine
from agvas_core.engines.names import EXPERT, RULES, SECOND_OPINION, parse_second_opinion
from agvas_core.engines.remote import RemoteEngine, is_address

if TYPE_CHECKING:
    from agvas_core.engines.anomaly_ov import AnomalyOVEngine

CHECKPOINTS = Path(__file__).resolve().parents[2] / "checkpoints"


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _load_nano() -> Engine:
    folder = CHECKPOINTS / "agvas-nano"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"The bundled model is not there: {folder}. It comes with the repository; give another checkpoint's "
            "folder with --engine, or train one into checkpoints/mine with `make train-nano`."
        )
    from agvas_core.engines.agvas import AGVASEngine

    return AGVASEngine(folder, engine_id="agvas-nano", name="AG-VAS nano", device=_device())


def _load_saa(name: str) -> Engine:
    from agvas_core.engines.saa_loading import load_saa

    return load_saa(name, CHECKPOINTS / "agvas-nano", _device())


def _load_anomaly_ov_nano() -> AnomalyOVEngine:
    from agvas_core.engines.anomaly_ov import load_bundled

    return load_bundled(CHECKPOINTS / "anomaly-ov-nano", CHECKPOINTS / "agvas-nano", device=_device())


def _load_anomaly_ov(size: str, expert_file: str) -> Engine:
    """Load Anomaly-OV on LLaVA-OneVision; AGVAS_ANOMALY_OV_EXPERT is the path of the authors' expert."""
    from agvas_core.engines.anomaly_ov_hub import load_hub

    expert = Path(os.environ.get("AGVAS_ANOMALY_OV_EXPERT") or CHECKPOINTS / "anomaly-ov" / expert_file)
    source = f"llava-hf/llava-onevision-qwen2-{size}-ov-hf"
    name = f"Anomaly-OV {size.upper()}"
    return load_hub(source, expert, engine_id=f"anomaly-ov-{size}", name=name, device=_device())


_LOADERS: dict[str, Callable[[], Engine]] = {
    "agvas-nano": _load_nano,
    "saa+": lambda: _load_saa("saa+"),
    "saa": lambda: _load_saa("saa"),
    "anomaly-ov-nano": _load_anomaly_ov_nano,
    "anomaly-ov-0.5b": lambda: _load_anomaly_ov("0.5b", "pretrained_expert_05b.pth"),
    "anomaly-ov-7b": lambda: _load_anomaly_ov("7b", "pretrained_expert_7b.pth"),
}


def list_engines() -> tuple[str, ...]:
    """Return the names that load_engine knows, the default first."""
    return (*_LOADERS, "agvas-nano" + RULES, "agvas-nano" + SECOND_OPINION, *BASES)


def list_bundled_engines() -> tuple[str, ...]:
    """Return the engines whose weights are all here: what a page may offer to anybody, for nothing is downloaded."""
    expert = ("agvas-nano" + SECOND_OPINION, EXPERT) if (CHECKPOINTS / EXPERT).is_dir() else ()
    return "agvas-nano", "agvas-nano" + RULES, *expert[:1], "saa+", "saa", *expert[1:]


def is_engine(name: str) -> bool:
    """Whether load_engine knows a name; ValueError when one like "onevision-7b+dinov3-l+nf4" has a wrong part."""
    if name in _LOADERS or name in BASES or is_address(name) or Path(name).is_dir():
        return True
    from agvas_core.engines.base_model import is_base_name, parse_base_name
    from agvas_core.engines.saa_loading import is_saa, parse_saa_name

    asked = parse_second_opinion(name)
    if asked is not None:
        return is_engine(asked[0])
    if name.endswith(RULES):
        return is_engine(name.removesuffix(RULES))
    if is_base_name(name):
        parse_base_name(name)
    elif is_saa(name):
        parse_saa_name(name)
    else:
        return False
    return True


def load_engine(name: str = "agvas-nano") -> Engine:
    """Load an engine by its name, or a checkpoint or adapter by its folder; ValueError that lists the names otherwise.

    A base's name may be followed by a pixel encoder, nf4 or int8, and offload: "onevision-7b+dinov3-l+nf4"; SAA's by
    detectors and a variant: "saa+:grounding-dino-tiny:code"; any name by ":rules", or by ":second-opinion".
    "http://HOST:PORT" is an engine that runs there (`agvas serve`); ConnectionError when nobody answers.
    """
    if is_address(name):
        return RemoteEngine(name)
    if name in _LOADERS:
        return _LOADERS[name]()
    from agvas_core.adapter import is_adapter
    from agvas_core.engines.adapted import load_adapter_engine
    from agvas_core.engines.agvas import AGVASEngine
    from agvas_core.engines.base_model import is_base_name, load_base_engine
    from agvas_core.engines.ruled import RuledEngine
    from agvas_core.engines.saa_loading import is_saa
    from agvas_core.engines.second_opinion import SecondOpinion

    asked = parse_second_opinion(name)
    if asked is not None:
        return SecondOpinion(load_engine(asked[0]), _load_anomaly_ov_nano(), veto_floor=asked[1])
    if name.endswith(RULES):
        return RuledEngine(load_engine(name.removesuffix(RULES)))
    if is_base_name(name):
        return load_base_engine(name, device=_device())
    if is_saa(name):
        return _load_saa(name)
    if is_adapter(Path(name)):
        return load_adapter_engine(Path(name), device=_device())
    if Path(name).is_dir():
        return AGVASEngine(Path(name), engine_id=name, name=f"AG-VAS {Path(name).name}", device=_device())
    raise ValueError(
        f"There is no engine {name!r}; choose one of {', '.join(list_engines())}, or a checkpoint's folder."
    )


def add_explainer(eyes: Engine, name_or_folder: str) -> Engine:
    """Return an engine whose masks are those of `eyes` and whose words are an image-text-to-text model's.

    Raises:
        FileNotFoundError, ValueError: when the model is not there or cannot do it; the message is one sentence.
    """
    from agvas_core.engines.explained import ExplainedEngine
    from agvas_core.engines.speaker import Speaker

    return ExplainedEngine(eyes, Speaker(name_or_folder, device=_device()))

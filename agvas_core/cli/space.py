"""`agvas space`: the folder of a Hugging Face Space with the chat page, ready to be uploaded."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agvas_core.cli.question import (
    DEFAULT_ENGINE,
    EngineOption,
    ModelOption,
    PixelOption,
    QuantizationOption,
    engine_name,
)

if TYPE_CHECKING:
    from agvas_core.config import AGVASConfig
    from agvas_core.memory import Use

ROOT = Path(__file__).resolve().parents[2]
SPACE_FILE = "space.json"  # app.py reads it
COPIED = ("app.py", "demo", "agvas_core", "assets/examples", "checkpoints", "LICENSE", "NOTICE", "THIRD_PARTY.md")
WRITTEN = ("README.md", "requirements.txt", ".gitattributes", SPACE_FILE)
LARGE_BYTES = 10 * 10**6  # the hub takes larger files by LFS only
LFS = "filter=lfs diff=lfs merge=lfs -text"
BINARY = ("*.safetensors", "*.jpg", "*.png")
ZEROGPU_TORCH = ("2.8.0", "2.9.1", "2.10.0", "2.11.0")  # the versions that it takes
GIB = 2**30
ZEROGPU_GIB, CPU_GIB = 70, 16
HARDWARE = {"t4-small": 16, "a10g-small": 24, "l40sx1": 48, "a100-large": 80}  # GPU memory, GiB; the cheapest first


class Kind(StrEnum):
    """What a Space runs on: a GPU lent for each reply, a GPU of its own, or two CPU cores with 16 GB."""

    ZEROGPU = "zerogpu"
    GPU = "gpu"
    CPU = "cpu"


@dataclass(frozen=True)
class Plan:
    """A Space to be written.

    Attributes:
        kind: what it runs on.
        engine: the name that app.py loads.
        hardware: the hub's name of the machine.
        preload: what the hub puts beside the app when it builds the Space.
        folder: a checkpoint's or adapter's folder that goes along, or None.
        quantised: bitsandbytes is needed.
    """

    kind: Kind
    engine: str
    hardware: str
    preload: tuple[str, ...] = ()
    folder: Path | None = None
    quantised: bool = False


def space(
    kind: Annotated[
        Kind, typer.Option(help="zerogpu: a GPU lent for each reply; gpu: one of its own; cpu: CPU Basic.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write; one that this wrote before is renewed.")],
    engine: EngineOption = DEFAULT_ENGINE,
    model: ModelOption = None,
    pixel: PixelOption = None,
    quantization: QuantizationOption = None,
    torch_index: Annotated[
        str | None, typer.Option(help="Address from which the Space takes torch, for a build without CUDA.")
    ] = None,
) -> None:
    """Write a Hugging Face Space's folder: page, library, bundled models, and what the hub wants to know."""
    plan = plan_space(kind, engine_name(engine, model=model, pixel=pixel, quantization=quantization))
    write_space(plan, out, torch_index)
    files = [path for path in out.rglob("*") if path.is_file() and ".git" not in path.parts]
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    typer.echo(
        f"Wrote {out}: {len(files)} files, {megabytes:.0f} MB, for {plan.hardware}, answering with {plan.engine}."
    )
    if plan.preload:
        typer.echo(f"The hub will preload {', '.join(plan.preload)}.")
    typer.echo(f"Upload it: hf upload YOUR_NAME/SPACE_NAME {out} . --repo-type space")


def plan_space(kind: Kind, engine: str) -> Plan:
    """Return what a Space of a kind needs for an engine.

    Raises:
        ValueError: when a Space cannot answer with it, or the kind's memory will not do; the message says why.
    """
    from agvas_core.adapter import is_adapter
    from agvas_core.checkpoint import CONFIG_FILE
    from agvas_core.config import AGVASConfig, get_preset
    from agvas_core.engines.base_model import is_base_name, parse_base_name
    from agvas_core.engines.registry import list_bundled_engines

    folder = Path(engine)
    if engine in list_bundled_engines():
        return Plan(kind, engine, _hardware(kind, engine, get_preset("nano"), "bf16"))
    if is_base_name(engine):
        choice = parse_base_name(engine)
        if choice.quantization and kind is not Kind.GPU:
            raise ValueError("--quantization is for --kind gpu: ZeroGPU has memory enough, and a CPU cannot use it.")
        use: Use = choice.quantization or "bf16"
        hubs = (choice.config.base, choice.config.pixel_base)
        return Plan(
            kind, engine, _hardware(kind, engine, choice.config, use), hubs, quantised=bool(choice.quantization)
        )
    if (folder / CONFIG_FILE).is_file():
        config = AGVASConfig.load(folder / CONFIG_FILE)
        return Plan(
            kind,
            f"checkpoints/{folder.resolve().name}",
            _hardware(kind, engine, config, "bf16"),
            _hub_weights(config) if is_adapter(folder) else (),
            folder,
        )
    raise ValueError(
        f"A Space cannot answer with {engine!r}: give a bundled engine ({', '.join(list_bundled_engines())}), a base "
        "by --model, or a checkpoint's or adapter's folder by --engine."
    )


def _hub_weights(config: AGVASConfig) -> tuple[str, ...]:
    """Return the hub names of what an adapter builds on; ValueError when it is a folder of this machine."""
    from agvas_core.adapter import BUNDLED, base_folder

    base = base_folder(config.base)
    if base is None:
        return tuple(name for name in (config.base, config.pixel_base) if name)
    if base.resolve().parent == BUNDLED.resolve():
        return ()
    raise ValueError(
        f"The adapter's base is the folder {config.base}, which a Space does not have: write the adapter into its base "
        "(agvas checkpoint merge), and give the merged folder."
    )


def _hardware(kind: Kind, engine: str, config: AGVASConfig, use: Use) -> str:
    """Return the hub's name of a machine of that kind that holds the model; ValueError with numbers when none does."""
    from agvas_core.memory import memory_needed

    needed = memory_needed(config, "float32" if kind is Kind.CPU else use) / GIB
    if kind is Kind.GPU:
        found = [name for name, room in HARDWARE.items() if needed <= room]
        if found:
            return found[0]
        room = max(HARDWARE.values())
    else:
        room = ZEROGPU_GIB if kind is Kind.ZEROGPU else CPU_GIB
        if needed <= room:
            return "zero-a10g" if kind is Kind.ZEROGPU else "cpu-basic"
    raise ValueError(f"{engine} needs about {needed:.1f} GiB, and --kind {kind.value} has {room} GiB.")


def write_space(plan: Plan, out: Path, torch_index: str | None = None) -> None:
    """Write the folder; what is in it beside a Space's own files (.git, say) stays.

    Raises:
        FileNotFoundError: when this is no checkout, so that there is nothing to copy.
        ValueError: when the folder holds something that is no Space of ours.
    """
    missing = [name for name in COPIED if not (ROOT / name).exists()]
    if missing:
        raise FileNotFoundError(f"`agvas space` copies the checkout, and {ROOT} has no {', '.join(missing)}.")
    if out.is_dir() and any(out.iterdir()) and not (out / SPACE_FILE).is_file():
        raise ValueError(f"{out} is not empty and no Space that this wrote; choose a new folder.")
    for name in {Path(entry).parts[0] for entry in (*COPIED, *WRITTEN)}:
        _remove(out / name)
    out.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        _copy(ROOT / name, out / name)
    if plan.folder is not None:
        _remove(out / plan.engine)
        _copy(plan.folder, out / plan.engine)
    (out / "README.md").write_text(_readme(plan), encoding="utf-8")
    (out / "requirements.txt").write_text("\n".join(_requirements(plan, torch_index)) + "\n", encoding="utf-8")
    (out / SPACE_FILE).write_text(json.dumps({"kind": plan.kind.value, "engine": plan.engine}) + "\n", encoding="utf-8")
    (out / ".gitattributes").write_text("\n".join(_attributes(out)) + "\n", encoding="utf-8")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, without what Python and editors leave in it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    else:
        shutil.copy2(source, target)


def _requirements(plan: Plan, torch_index: str | None) -> list[str]:
    """Return the runtime's requirements without what the hub installs by itself: gradio by sdk_version, and spaces."""
    wanted = (ROOT / "requirements.txt").read_text(encoding="utf-8").split("\n")
    lines = [line for line in wanted if line and not line.startswith("gradio")]
    if plan.kind is Kind.ZEROGPU:
        lines = [f"torch=={ZEROGPU_TORCH[-1]}" if line.startswith("torch>") else line for line in lines]
    if plan.quantised:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        lines += extras["optional-dependencies"]["quant"]
    return [*([f"--extra-index-url {torch_index}"] if torch_index else []), *lines]


def _readme(plan: Plan) -> str:
    """Return the README: the front matter, by which the hub builds the Space, and a few sentences."""
    front = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    lines = [f"suggested_hardware: {plan.hardware}"]
    if plan.preload:
        lines += ["startup_duration_timeout: 1h", *_yaml_list("models", plan.preload)]
        lines += _yaml_list("preload_from_hub", plan.preload)
    where = {
        Kind.ZEROGPU: "on ZeroGPU: a GPU is lent for each reply",
        Kind.GPU: "on a GPU of its own",
        Kind.CPU: "on two CPU cores",
    }[plan.kind]
    return (
        f"---\n{front}" + "\n".join(lines) + "\n---\n\n# AG-VAS Chat\n\n"
        "Upload an inspection photo, talk about it, and get masks and explanations in the conversation.\n\n"
        f"It answers with `{plan.engine}`, {where}. What an engine was trained on, and whether it was, is on its card "
        "on the page. Each example is computed once and then shown to later visitors.\n\nAn independent implementation "
        "of *AG-VAS: Anchor-Guided Zero-Shot Visual Anomaly Segmentation with Large Multimodal Models* (CVPR 2026).\n\n"
        "Written by `agvas space`. Licences: LICENSE, NOTICE, THIRD_PARTY.md, and the cards in checkpoints/.\n"
    )


def _yaml_list(key: str, values: Sequence[str]) -> list[str]:
    return [f"{key}:", *(f"  - {value}" for value in values)]


def _attributes(out: Path) -> list[str]:
    """Return .gitattributes: the binary kinds, and every other file that is too large for git, go by LFS."""
    large = [
        path.relative_to(out).as_posix().replace(" ", "[[:space:]]")  # as git writes a blank in a pattern
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.stat().st_size > LARGE_BYTES and not any(path.match(kind) for kind in BINARY)
    ]
    return [f"{pattern} {LFS}" for pattern in (*BINARY, *(name for name in large if not name.startswith(".git/")))]

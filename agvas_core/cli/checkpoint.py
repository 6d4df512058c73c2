"""`agvas checkpoint`: what a model is made of and needs; whether a folder is whole; an adapter merged into its base."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agvas_core.config import AGVASConfig

MANY = 200_000_000  # parameters above which a merged checkpoint's shards are large
LARGE_SHARD_BYTES = 2_000_000_000

app = typer.Typer(help="Look at presets, checkpoints and adapters; merge an adapter.", no_args_is_help=True)

PresetOption = Annotated[
    str | None, typer.Option("--preset", help="A preset: nano, onevision-0.5b, onevision-7b, llava-13b.")
]
PixelOption = Annotated[
    str | None, typer.Option("--pixel", help="Another pixel encoder: sam-h, sam2-l, dinov2-l, dinov3-l, clip-l, ...")
]


FolderArgument = Annotated[Path, typer.Argument(help="A checkpoint's or an adapter's folder.")]


@app.command()
def inspect(
    folder: Annotated[Path | None, typer.Argument(help="A checkpoint's or an adapter's folder.")] = None,
    preset: PresetOption = None,
    pixel: PixelOption = None,
    anyres: Annotated[bool, typer.Option("--anyres", help="With --preset, see images in tiles, too.")] = False,
) -> None:
    """Print what a folder holds, or a preset's parts: parameters, tokens of an image, and the memory that they need."""
    if (folder is None) == (preset is None):
        raise typer.BadParameter("Give a folder, or a preset by --preset.")
    if folder is not None and (pixel or anyres):
        raise typer.BadParameter("--pixel and --anyres belong to --preset; a folder has its own.")
    if folder is not None:
        typer.echo(folder_report(folder))
    elif preset is not None:
        typer.echo(preset_report(preset, pixel, anyres=anyres))


@app.command()
def verify(folder: FolderArgument) -> None:
    """Check a folder's files: all there, hashes right, every weight of the name and shape that the model wants."""
    typer.echo(f"{folder} is whole: {_checked(_shapes(folder))}.")


@app.command()
def merge(
    folder: FolderArgument,
    out: Annotated[Path, typer.Option("--out", help="Where the whole checkpoint goes.")],
    dtype: Annotated[str, typer.Option(help="Of the weights on disk: float32, bfloat16 or float16.")] = "bfloat16",
) -> None:
    """Write an adapter's weights into its base's: a whole checkpoint, which needs neither."""
    import torch

    from agvas_core.adapter import is_adapter, load_adapter, merge_adapter
    from agvas_core.checkpoint import CARD_FILE, save_checkpoint
    from agvas_core.writers import make_folder

    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in kinds:
        raise ValueError(f"--dtype is float32, bfloat16 or float16; got {dtype!r}.")
    if not is_adapter(folder):
        raise ValueError(f"{folder} is no adapter, so there is nothing to merge.")
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; choose a new folder.")
    make_folder(out)
    model, tokenizer, training = load_adapter(folder)
    path = folder / CARD_FILE
    card = path.read_text(encoding="utf-8") if path.is_file() else ""
    merged = merge_adapter(model)
    many = sum(p.numel() for p in merged.parameters()) > MANY
    shards = {"shard_bytes": LARGE_SHARD_BYTES} if many else {}
    save_checkpoint(merged, tokenizer, out, card=card, training=training, dtype=kinds[dtype], **shards)
    typer.echo(f"Merged: {out}")


def folder_report(folder: Path) -> str:
    """Return what a folder holds: kind, base, training, parameters by part, and whether its files are whole."""
    from agvas_core.adapter import is_adapter, parts_count, read_adapter
    from agvas_core.checkpoint import CONFIG_FILE, read_index
    from agvas_core.config import AGVASConfig

    if is_adapter(folder):
        config, record, state = read_adapter(folder)
        lora, training, parts = record.lora, record.training, parts_count(state)
        base = f"{record.base}{f', revision {record.base_revision[:12]}' if record.base_revision else ''}"
        kind = f"AG-VAS adapter of rank {lora.rank} (alpha {lora.alpha}) on {', '.join(lora.targets)}"
    else:
        training, config, parts = read_index(folder)["training"], AGVASConfig.load(folder / CONFIG_FILE), {}
        kind, base = "whole AG-VAS checkpoint", config.base or "none: trained from scratch"
    try:
        shapes = _shapes(folder)
        whole, parts = f"yes: {_checked(shapes)}", parts or _parts(shapes)
    except (ValueError, FileNotFoundError) as error:
        whole = f"NO: {error}"
    width = max(len(name) for name in (*parts, "sum"))
    rows = [f"  {name.ljust(width)}  {count:>13,}" for name, count in (parts | {"sum": sum(parts.values())}).items()]
    return "\n".join(
        [
            f"{folder}: {kind}",
            f"preset: {config.preset}",
            f"base: {base}",
            f"pixel encoder: {config.pixel.kind}{f', {config.pixel_base}' if config.pixel_base else ''}"
            f"{f', revision {config.pixel_revision[:12]}' if config.pixel_revision else ''}",
            *_token_lines(config),
            f"training: {training.get('summary', 'trained') if training else 'UNTRAINED (random weights)'}",
            "parameters:",
            *rows,
            f"whole: {whole}",
        ]
    )


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a folder's weights; ValueError or FileNotFoundError that names what is wrong with them."""
    from agvas_core.adapter import is_adapter, verify_adapter
    from agvas_core.checkpoint import verify_checkpoint

    if is_adapter(folder):
        return {name: tuple(value.shape) for name, value in verify_adapter(folder)[2].items()}
    return verify_checkpoint(folder)


def _checked(shapes: dict[str, tuple[int, ...]]) -> str:
    return f"hashes, names and shapes of {len(shapes)} weights are right"


def _parts(shapes: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """Return the parameters of a whole checkpoint by the names of its modules."""
    count: Counter[str] = Counter()
    for name, shape in shapes.items():
        count[name.split(".")[0]] += math.prod(shape)
    return dict(count)


def _token_lines(config: AGVASConfig) -> list[str]:
    """Return what the language model reads of an image."""
    from agvas_core.memory import image_tokens

    f_s = config.semantic.tokens
    lines = [
        f"tokens of an image: {config.image_tokens:,}: {f_s:,} of the base crop, {config.image_tokens - f_s:,} f_align"
    ]
    if config.anyres:
        side = config.semantic.image_px
        sizes = [(side, side), (2 * side, 2 * side), (2 * side, 3 * side), (3 * side, 3 * side), (6 * side, 6 * side)]
        counts = ", ".join(
            f"{width} x {height} px {image_tokens(config, (height, width)):,}" for height, width in sizes
        )
        lines.append(f"with its tiles (anyres): {counts}")
    return lines


def preset_report(preset: str, pixel: str | None = None, *, anyres: bool = False) -> str:
    """Return the table of a preset's parts; ValueError on an unknown preset or pixel encoder."""
    from agvas_core.config import get_preset, with_anyres
    from agvas_core.memory import GIB, LORA_RANK, Use, count_parts, pixel_name, working_bytes

    config = with_anyres(get_preset(preset, pixel)) if anyres else get_preset(preset, pixel)
    parts = count_parts(config)
    uses: tuple[Use, ...] = ("bf16", "nf4", "train")
    rows = [
        [part.name, f"{part.parameters / 1e6:,.2f}", f"{part.trained / 1e6:,.2f}"]
        + [f"{part.bytes(use) / GIB:.2f}" for use in uses]
        for part in parts
    ]
    beside = [working_bytes(config, use) for use in uses]
    rows.append(["working memory (estimated)", "", "", *(f"{b / GIB:.2f}" for b in beside)])
    totals = [sum(part.bytes(use) for part in parts) + b for use, b in zip(uses, beside, strict=True)]
    counts = [sum(part.parameters for part in parts), sum(part.trained for part in parts)]
    rows.append(["sum", *(f"{n / 1e6:,.2f}" for n in counts), *(f"{b / GIB:.2f}" for b in totals)])
    head = ["part", "parameters, M", "trained, M", "bf16, GiB", "NF4, GiB", "LoRA training, GiB"]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
    return "\n".join(
        [
            f"{config.preset}: {config.base or 'trained from scratch'}; pixel encoder {pixel_name(config)}: "
            f"{config.pixel_base or 'trained from scratch'}",
            *lines,
            *_token_lines(config),
            "All of it is computed, nothing was measured; one image at a time.",
            "NF4: the linear layers inside the language model in 4 bits, the rest in bf16.",
            f"LoRA training, rank {LORA_RANK} on these layers: frozen weights in bf16; trained ones, LoRA's included, "
            "in float32 with gradient and Adam's two moments, 16 bytes each.",
            "Working memory: keys and values, and the widest activations; training with gradient checkpointing.",
        ]
    )

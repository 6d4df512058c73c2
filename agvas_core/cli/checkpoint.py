"""`agvas checkpoint`: what a model is made of and what it needs, before anything is loaded."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Look at checkpoints and presets.", no_args_is_help=True)

PresetOption = Annotated[str, typer.Option("--preset", help="A preset: nano, onevision-0.5b, onevision-7b, llava-13b.")]
PixelOption = Annotated[
    str | None, typer.Option("--pixel", help="Another pixel encoder: sam-h, sam2-l, dinov2-l, dinov3-l, clip-l, ...")
]


@app.command()
def inspect(preset: PresetOption, pixel: PixelOption = None) -> None:
    """Print a preset's parts: parameters, and the memory that they need."""
    typer.echo(preset_report(preset, pixel))


def preset_report(preset: str, pixel: str | None = None) -> str:
    """Return the table of a preset's parts; ValueError on an unknown preset or pixel encoder."""
    from agvas_core.config import get_preset
    from agvas_core.memory import GIB, LORA_RANK, Use, count_parts, pixel_name, working_bytes

    config = get_preset(preset, pixel)
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
            "All of it is computed, nothing was measured; one image at a time.",
            "NF4: the linear layers inside the language model in 4 bits, the rest in bf16.",
            f"LoRA training, rank {LORA_RANK} on these layers: frozen weights in bf16; trained ones, LoRA's included, "
            "in float32 with gradient and Adam's two moments, 16 bytes each.",
            "Working memory: keys and values, and the widest activations; training with gradient checkpointing.",
        ]
    )

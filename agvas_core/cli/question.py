"""The options by which every command asks an engine something, written once."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from agvas_core.engines.base import Engine
    from agvas_core.structures import InspectionImage, Request

DEFAULT_ENGINE = "agvas-nano"
EngineOption = Annotated[str, typer.Option("--engine", help="Who answers; `agvas engines` lists them.")]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Instead of --engine, a base of the hub: onevision-0.5b, onevision-7b, llava-13b."),
]
PixelOption = Annotated[
    str | None, typer.Option("--pixel", help="With --model, its pixel encoder: sam-h, sam2-l, dinov3-l, clip-l, ...")
]
QuantizationOption = Annotated[
    str | None, typer.Option("--quantization", help="With --model, nf4 or int8 for its language model.")
]
OffloadOption = Annotated[
    bool, typer.Option("--offload", help="With --model, what the device cannot hold lies in main memory or on disk.")
]
AnyresOption = Annotated[
    bool,
    typer.Option("--anyres", help="With a LLaVA-OneVision base, see images in tiles at their own resolution, too."),
]
RevisionOption = Annotated[
    str | None, typer.Option("--revision", help="With a base of the hub, its branch, tag or commit there.")
]
ExplainerOption = Annotated[
    str | None,
    typer.Option(
        "--explainer",
        help="Who puts it into words: hub name or folder of an image-text-to-text model, as "
        "llava-hf/llava-onevision-qwen2-0.5b-ov-hf; the masks stay the engine's.",
    ),
]


@dataclass(frozen=True)
class Question:
    """What to ask and whom: the options that `predict`, `evaluate` and `inspect` have in common."""

    engine: EngineOption = DEFAULT_ENGINE
    mode: Annotated[str, typer.Option("--mode", help="direct, describe, describe_plus, explain, chat or auto.")] = (
        "direct"
    )
    instruction: Annotated[str, typer.Option("--instruction", help="What to ask; by default what the mode asks.")] = ""
    normal: Annotated[str, typer.Option("--normal", help="One sentence on what normal looks like.")] = ""
    threshold: Annotated[float, typer.Option("--threshold", help="Mask = map above it.", min=0.0, max=1.0)] = 0.5
    alpha: Annotated[float, typer.Option("--alpha", help="Weight of [SEG] against [ANO].", min=0.0, max=1.0)] = 0.5
    min_area: Annotated[
        int | None,
        typer.Option(
            "--min-area",
            help="Drop regions of fewer pixels. AG-VAS and SAA drop those below a ten-thousandth of the image, too; 0 "
            "keeps every pixel.",
            min=0,
            show_default=False,
        ),
    ] = None
    close: Annotated[
        bool, typer.Option("--close", help="Look at large images in tiles, too: slower, finds what is tiny.")
    ] = False
    mm_per_px: Annotated[
        float | None,
        typer.Option("--mm-per-px", help="Millimeters a pixel: regions are measured in them, too.", show_default=False),
    ] = None
    good: Annotated[
        list[Path] | None,
        typer.Option(
            "--good",
            help="A photo of a good part, or a folder of them: images are compared with these. Several times for more.",
            show_default=False,
        ),
    ] = None
    second_opinion: Annotated[
        bool,
        typer.Option(
            "--second-opinion",
            help="A small expert scores the whole image, too, and warns where it disagrees with the mask, which stays.",
        ),
    ] = False

    @property
    def who(self) -> str:
        """The engine's name, or several with commas, each with its second opinion where one is wanted."""
        from agvas_core.engines.names import with_second_opinion

        return with_second_opinion(self.engine) if self.second_opinion else self.engine

    def request(self, roi_xyxy: tuple[int, int, int, int] | None = None) -> Request:
        """Return it as engines take it; ValueError that lists the modes when there is no such mode."""
        from agvas_core.prompts import DEFAULT_INSTRUCTIONS
        from agvas_core.structures import MODES, Request

        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}; got {self.mode!r}.")
        if self.mm_per_px is not None and not 0 < self.mm_per_px < math.inf:
            raise ValueError(f"--mm-per-px must be a length above 0; got {self.mm_per_px:g}.")
        return Request(
            instruction=self.instruction or DEFAULT_INSTRUCTIONS.get(self.mode, DEFAULT_INSTRUCTIONS["direct"]),
            mode=self.mode,
            normal_description=self.normal,
            threshold=self.threshold,
            alpha=self.alpha,
            min_area_px=self.min_area,
            roi_xyxy=roi_xyxy,
            close=self.close,
            mm_per_px=self.mm_per_px,
        )

    def as_facts(self) -> dict[str, Any]:
        """Return the settings for a report, without the engine's name."""
        facts = {name: value for name, value in asdict(self).items() if name != "engine"}
        return facts | {"good": [str(path) for path in self.good or ()]}

    def good_images(self) -> list[InspectionImage]:
        """Return the photos of good parts that --good names, evenly so many as are compared with.

        Raises:
            ValueError, OSError: where one cannot be read.
        """
        from agvas_core.cli.folder import find_images
        from agvas_core.good_parts import evenly
        from agvas_core.processing import open_image

        paths = [path for given in self.good or () for path in (find_images(given) if given.is_dir() else [given])]
        taken = evenly(paths)
        if len(taken) < len(paths):
            typer.echo(f"Of {len(paths)} photos of good parts {len(taken)} are compared with.", err=True)
        images = {}
        for path in taken:
            try:
                image = open_image(path)
            except ValueError as error:  # of a folder, which one
                raise ValueError(f"{path}: {error}") from error
            images[image.image_id] = image
        return list(images.values())


def asks(**defaults: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of Question where it has a parameter `question`; defaults change the options' own."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        hints = inspect.get_annotations(Question, eval_str=True)
        options = [
            inspect.Parameter(
                f.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(f.name, f.default),
                annotation=hints[f.name],
            )
            for f in fields(Question)
        ]
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in signature.parameters.values() if p.name != "question"]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            chosen = {f.name: values.pop(f.name) for f in fields(Question)}
            command(question=Question(**chosen), **values)

        parameters = [own[0], *options, *own[1:]]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def engine_name(
    engine: str,
    *,
    model: str | None = None,
    pixel: str | None = None,
    quantization: str | None = None,
    offload: bool = False,
    anyres: bool = False,
    revision: str | None = None,
) -> str:
    """Return the engine's name that --model and its options stand for, or the engine's own without --model.

    Raises:
        ValueError: when there are such options, and neither --model nor an engine that is a base of the hub.
    """
    from agvas_core.config import BASES

    chosen = (pixel, quantization, "offload" if offload else None, "anyres" if anyres else None)
    parts = [part for part in (*chosen, f"@{revision}" if revision else None) if part]
    if parts and model is None and engine.split("+")[0] not in BASES:
        raise ValueError(
            "--pixel, --quantization, --offload, --anyres and --revision belong to --model, or to an --engine so "
            "named, as in --model onevision-0.5b."
        )
    return "+".join([model or engine, *parts])


def load(engine: str, explainer: str | None = None) -> Engine:
    """Load an engine, with an explainer when one is named; untrained weights are announced."""
    from agvas_core import load_engine

    answering = load_engine(engine)
    if not answering.card.trained:
        typer.echo(f"Note: {answering.card.name} is {answering.card.weights}; its masks mean nothing.", err=True)
    if explainer is None:
        return answering
    from agvas_core.engines.registry import add_explainer

    return add_explainer(answering, explainer)

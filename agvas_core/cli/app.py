"""The command line `agvas`: one app, whose commands import what they need when they run."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agvas_core import __version__
from agvas_core.cli.checkpoint import app as checkpoint_app
from agvas_core.cli.expert import evaluate_expert, train_expert
from agvas_core.cli.question import (
    DEFAULT_ENGINE,
    AnyresOption,
    EngineOption,
    ExplainerOption,
    ModelOption,
    OffloadOption,
    PixelOption,
    QuantizationOption,
    Question,
    RevisionOption,
    asks,
    engine_name,
    load,
)
from agvas_core.cli.replicas import ReplicasOption, ServeOption, images_at_once, replicated, serve
from agvas_core.cli.space import space
from agvas_core.cli.train import train

if TYPE_CHECKING:
    from agvas_core.structures import Event

app = typer.Typer(
    name="agvas",
    help="AG-VAS: find anomalies in inspection images, and talk about them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


def main() -> None:
    """Run the app; what a user can cause ends in one sentence (set AGVAS_DEBUG=1 for the whole traceback)."""
    try:
        app()
    except (ValueError, OSError) as error:
        if os.environ.get("AGVAS_DEBUG"):
            raise
        typer.echo(f"agvas: {_sentence(error)}", err=True)
        sys.exit(1)


def _sentence(error: ValueError | OSError) -> str:
    """Return what went wrong; the system's own errors ("[Errno 28] ...") by their words and the file's name."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else f"{error.strerror}."
    return str(error)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"agvas {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """AG-VAS: find anomalies in inspection images, and talk about them."""


@app.command()
def demo(
    host: Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port (default: the first free one from 7860).", min=1, max=65535)
    ] = None,
    engine: EngineOption = DEFAULT_ENGINE,
    model: ModelOption = None,
    pixel: PixelOption = None,
    quantization: QuantizationOption = None,
    offload: OffloadOption = False,
    anyres: AnyresOption = False,
    revision: RevisionOption = None,
    explainer: ExplainerOption = None,
    replicas: ReplicasOption = None,
    address: ServeOption = None,
) -> None:
    """Open the chat page."""
    import demo as page

    engine = engine_name(
        engine,
        model=model,
        pixel=pixel,
        quantization=quantization,
        offload=offload,
        anyres=anyres,
        revision=revision,
    )
    with replicated(engine, replicas, address) as name:
        page.serve(name, host=host, port=port, explainer=explainer)


@app.command()
def engines() -> None:
    """List the engines by the names that --engine takes."""
    from agvas_core import list_engines

    for name in list_engines():
        typer.echo(name)


@app.command()
@asks(mode="auto")
def predict(
    image: Annotated[Path, typer.Argument(help="The image.")],
    question: Question,
    anyres: AnyresOption = False,
    revision: RevisionOption = None,
    explainer: ExplainerOption = None,
    roi: Annotated[str | None, typer.Option(help="Region of interest in px: left,top,right,bottom.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write mask, map, overlay and regions.json here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON only.")] = False,
) -> None:
    """Ask about one image; print the words as they come, then the verdict and the regions."""
    from agvas_core.cli.waiting import Waiting
    from agvas_core.engines.ask import ask
    from agvas_core.processing import open_image
    from agvas_core.regions import clip_roi
    from agvas_core.writers import NO_PICTURES, make_folder, verdict_facts, write_reply

    photo = open_image(image)
    if out is not None:
        make_folder(out)
    box = _parse_roi(roi)
    request = question.request(None if box is None else clip_roi(box, *photo.size_hw))
    good = question.good_images()
    answering = load(engine_name(question.who, anyres=anyres, revision=revision), explainer)
    with Waiting() as waiting:

        def show(event: Event) -> None:
            waiting.see(event)
            if not as_json:
                _print_words(event)

        reply = ask(answering, photo, request, show, good=good)
    facts: dict[str, Any] = verdict_facts(
        reply.prediction, answering.card, reply.done.mode, photo.name, reply.scale
    ) | {
        "text": reply.text,
        "notices": list(reply.notices),
        "seconds": dict(reply.done.seconds),
    }
    if out is not None:
        write_reply(out, photo.rgb, reply.prediction if answering.card.trained else None, facts)
        if not answering.card.trained:
            typer.echo(NO_PICTURES, err=True)
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    _print_facts(facts)
    if out is not None:
        typer.echo(f"Files: {out}")


@app.command()
@asks()
def evaluate(
    data: Annotated[Path, typer.Option(help="Folder in MVTec layout: a category, a set, or a folder of sets.")],
    question: Question,
    save_maps: Annotated[Path | None, typer.Option(help="Write each map as a float32 .npy file here.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many images of each kind.", min=1)] = None,
    shots: Annotated[
        int,
        typer.Option(
            help="Compare with so many good images of each category: of its train/good, or of its test/good, which "
            "then are not measured.",
            min=0,
        ),
    ] = 0,
    saa_protocol: Annotated[
        bool, typer.Option("--saa-protocol", help="Also print SAA's max-F1-pixel and max-F1-region (slow).")
    ] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file too.")] = None,
) -> None:
    """Measure one engine, or several ("a,b,c") side by side, on labelled images: AP, F1-max, IoU_ano and more."""
    from agvas_core.cli.compare import Measuring, compare_engines, engine_names
    from agvas_core.data.mvtec_folder import find_samples
    from agvas_core.evaluation.protocol import take_shots
    from agvas_core.writers import make_folder, make_room, write_whole

    find_samples(data)  # a wrong folder is reported before an engine is loaded
    take_shots(data, shots)  # so are too few good images
    names = engine_names(question.who)  # so is a wrong option
    question.request()
    good = question.good_images()
    if save_maps is not None:
        make_folder(save_maps)
    if json_path is not None:
        make_room(json_path)
    values = compare_engines(names, question, Measuring(data, save_maps, limit, saa_protocol, good, shots))
    if json_path is not None:
        write_whole(json_path, json.dumps(values, indent=1) + "\n")


@app.command("evaluate-synthesis")
def evaluate_synthesis(
    engine: EngineOption = DEFAULT_ENGINE,
    images: Annotated[int, typer.Option(help="Held-out images to segment.", min=1)] = 1000,
    words: Annotated[int, typer.Option(help="Of so many of them a question is asked too.", min=0)] = 300,
    threshold: Annotated[float, typer.Option(help="Mask = map above it.", min=0.0, max=1.0)] = 0.5,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file too.")] = None,
) -> None:
    """Measure an engine on held-out synthetic images: masks, and whether its words are true."""
    from tqdm import tqdm

    from agvas_core.evaluation.held_out import evaluate_held_out
    from agvas_core.evaluation.protocol import CategoryResult
    from agvas_core.evaluation.report import markdown_table, to_json
    from agvas_core.writers import make_room, write_whole

    if json_path is not None:
        make_room(json_path)
    answering = load(engine)
    with tqdm(unit="image", total=images) as bar:
        result = evaluate_held_out(answering, images, words, lambda done: bar.update(done - bar.n), threshold)
        seconds = bar.format_dict["elapsed"] / images
    table = [CategoryResult("held-out synthesis", result.masks, seconds)]
    typer.echo(markdown_table(table))
    rates = {name: round(100 * rate, 1) for name, rate in result.words.rates().items()}
    agrees = {name: round(100 * rate, 1) for name, rate in result.agreement.rates().items()}
    typer.echo(f"words, % right: {rates}\nwords, % as the reply's own mask: {agrees}")
    if json_path is not None:
        about = {"engine": answering.card.engine_id, "weights": answering.card.weights, "words": words}
        values = to_json(table, about) | {"words": rates, "asked": dict(result.words.asked), "agreement": agrees}
        write_whole(json_path, json.dumps(values, indent=1) + "\n")


@app.command()
@asks()
def inspect(
    folder: Annotated[Path, typer.Argument(help="Folder of images, with its subfolders.")],
    question: Question,
    out: Annotated[Path, typer.Option(help="Where results.csv, results.json and masks go.")] = Path("runs/inspect"),
    overlays: Annotated[bool, typer.Option("--overlays", help="Write overlays too.")] = False,
    replicas: ReplicasOption = None,
    address: ServeOption = None,
) -> None:
    """Inspect all images of a folder; stopped and started again, it goes on where it was."""
    from agvas_core.cli.folder import find_images, inspect_folder
    from agvas_core.writers import NO_PICTURES, make_folder

    find_images(folder)
    make_folder(out)
    request = question.request()
    good = question.good_images()
    with replicated(question.who, replicas, address) as name:
        at_once = images_at_once(replicas, address)
        answering = load(name)
        try:
            rows = inspect_folder(answering, folder, out, request, overlays=overlays, at_once=at_once, good=good)
        except KeyboardInterrupt:
            typer.echo(f"\nStopped; the same command goes on. So far: {out / 'results.csv'}.", err=True)
            raise
    if not answering.card.trained:
        typer.echo(NO_PICTURES, err=True)
    anomalies = sum(row["verdict"] == "anomaly" for row in rows)
    failed = sum(bool(row["error"]) for row in rows)
    others = sum(row["verdict"] == "other" for row in rows)  # anomalous, but not as was asked
    also = f", {others} with others than asked for" if others else ""
    typer.echo(
        f"{len(rows)} images: {anomalies} with anomalies{also}, {failed} not answered. See {out / 'results.csv'}."
    )
    if failed:
        raise typer.Exit(1)


@app.command()
def synth(
    sheet: Annotated[Path, typer.Option(help="Write a contact sheet of everything that is synthesised: a PNG.")],
    seed: Annotated[int, typer.Option(help="Seed of the images.")] = 0,
) -> None:
    """Show what the training images are made of."""
    from agvas_core.synthesis.sheet import contact_sheet
    from agvas_core.writers import make_room

    if sheet.suffix.lower() != ".png":
        raise ValueError(f"--sheet is the PNG to write, as sheet.png; got {str(sheet)!r}.")
    make_room(sheet)
    typer.echo(f"Wrote {contact_sheet(sheet, seed=seed)}")


app.command()(train)
app.command()(serve)
app.command()(space)
app.command("train-expert")(train_expert)
app.command("evaluate-expert")(evaluate_expert)
app.add_typer(checkpoint_app, name="checkpoint")


def _parse_roi(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    try:
        left, top, right, bottom = (int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--roi must be left,top,right,bottom in whole px; got {text!r}.") from None
    return left, top, right, bottom


def _print_words(event: Event) -> None:
    from agvas_core.structures import Notice, TextDelta

    if isinstance(event, TextDelta):
        typer.echo(event.text, nl=False)
        sys.stdout.flush()
    elif isinstance(event, Notice):
        typer.echo(f"\n{event.text}", err=True)  # on a line of its own: words come without a line's end


def _print_facts(facts: dict[str, Any]) -> None:
    typer.echo("")
    if facts["verdict"] is None or not facts["trained"]:
        return
    if facts["verdict"] == "other":
        typer.echo("Nothing is marked: what was found is not what was asked for.")
        return
    if facts["heat_map_only"]:
        verdict = "No anomaly" if facts["verdict"] == "normal" else "Anomaly"
        typer.echo(
            f"{verdict} by its score {facts['score']:.2f}, threshold {facts['threshold']:g}; a heat map, no mask."
        )
        return
    verdict = "No anomaly found." if facts["verdict"] == "normal" else f"{len(facts['regions'])} anomalous region(s):"
    typer.echo(f"{verdict} Highest score {facts['score']:.2f}, threshold {facts['threshold']:g}.")
    for region in facts["regions"][:20]:
        box = ",".join(str(v) for v in region["box_xyxy"])
        in_mm = f", {region['length_mm']:.3g} x {region['width_mm']:.3g} mm" if "length_mm" in region else ""
        typer.echo(
            f"  {region['index']:>3}  {region['kind'] or '-':<14} {region['place']:<12} box {box}  "
            f"{region['area_px']} px ({region['area_percent']:.2f} %{in_mm})  score {region['score']:.2f}"
        )
    if len(facts["regions"]) > 20:
        typer.echo(f"  ... and {len(facts['regions']) - 20} smaller ones")


if __name__ == "__main__":
    main()

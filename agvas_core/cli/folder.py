"""`agvas inspect`: every image of a folder, one line each; stopped at any moment, it goes on where it was."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import logging
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agvas_core import __version__
from agvas_core.cli.report import report_html
from agvas_core.data.mvtec_folder import SUFFIXES
from agvas_core.engines.ask import ask
from agvas_core.engines.base import Engine
from agvas_core.processing import open_image
from agvas_core.structures import InspectionImage, Prediction, Request
from agvas_core.writers import (
    UNTRAINED_VERDICT,
    make_folder,
    mask_png,
    meant,
    overlay_png,
    thumb_jpg,
    verdict_facts,
    write_whole,
)

log = logging.getLogger(__name__)

COLUMNS = (
    "image", "verdict", "score", "regions", "area_percent", "longest_px", "longest_mm", "largest_place", "largest_kind",
    "text", "seconds", "error",
)  # fmt: skip
_JOURNAL = "journal.jsonl"
_MASKS, _OVERLAYS, _THUMBS = "masks", "overlays", "thumbs"
_SUFFIXES = {_MASKS: "png", _OVERLAYS: "png", _THUMBS: "jpg"}  # of the pictures in each folder


def find_images(root: Path) -> list[Path]:
    """Return the images below a folder, sorted; not those whose own or folder's name begins with a dot.

    Such are macOS's companions ("._a.png", which are no images), and what programs keep for themselves.

    Raises:
        FileNotFoundError: when there is no such folder, or no image in it.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}.")
    paths = sorted(
        p
        for p in root.rglob("*")
        if p.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in p.relative_to(root).parts)
        and p.is_file()
    )
    if not paths:
        raise FileNotFoundError(f"No images in {root}; wanted: {', '.join(SUFFIXES)}.")
    return paths


def inspect_folder(
    engine: Engine,
    root: Path,
    out: Path,
    request: Request,
    *,
    overlays: bool = False,
    at_once: int = 1,
    good: Sequence[InspectionImage] = (),
) -> list[dict]:
    """Answer for each image and write out/results.csv, results.json, report.html and masks/<path>.png.

    Untrained weights write no mask, nor do heat maps.

    at_once: images that are asked about at the same time; more than one only where the engine takes them.
    good: images of good parts, with which each is compared.

    An image that cannot be read, or at which the engine fails, gets a line with the reason, and the work goes on; it is
    tried again by the next run. Answers of an earlier run for the same pixels, weights and settings are kept. Masks and
    overlays of earlier runs whose image is gone, or has no mask any more, are removed.

    Returns:
        one dict an image, in the order of the paths (see COLUMNS; "notices", and "details" as in regions.json, which
        are None where there was no answer).
    """
    from tqdm import tqdm

    written = [(out / name).resolve() for name in _SUFFIXES]  # out may be the images' own folder
    paths = [p for p in find_images(root) if not any(p.resolve().is_relative_to(w) for w in written)]
    make_folder(out)
    journal = out / _JOURNAL
    known = _read_journal(journal)
    request = replace(request, good_ids=tuple(example.image_id for example in good))
    settings = _settings(engine, request, overlays)
    writing = threading.Lock()
    left = threading.Event()

    def answer(path: Path) -> dict[str, Any] | None:
        if left.is_set():
            return None
        key = _key(path, root, settings)
        row = known.get(key)
        if row is None or not _files_are_there(row, out, overlays):
            row = _inspect_one(engine, path, root, out, request, overlays, good)
            if not row["error"]:
                with writing:
                    lines.write(json.dumps({"key": key, "row": row}, ensure_ascii=False) + "\n")
                    lines.flush()
        return row

    rows: list[dict] = []
    with journal.open("a", encoding="utf-8") as lines, ThreadPoolExecutor(at_once) as pool:
        try:
            answers = pool.map(answer, paths) if at_once > 1 else map(answer, paths)
            for row in tqdm(answers, total=len(paths), unit="image"):
                rows += [row] if row is not None else []
        finally:  # also after Ctrl-C: what is done is written
            left.set()
            _write_tables(rows, out)
            _write_report(engine, root, request, rows, out)
    _remove_stale((row.get("image") for row in known.values()), rows, out)
    return rows


def _inspect_one(
    engine: Engine,
    path: Path,
    root: Path,
    out: Path,
    request: Request,
    overlays: bool,
    good: Sequence[InspectionImage],
) -> dict[str, Any]:
    name = path.relative_to(root).as_posix()
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"image": name, "notices": [], "details": None}
    try:
        image = open_image(path)
    except (ValueError, OSError) as error:
        return row | {"error": str(error)}
    try:
        reply = ask(engine, image, request, good=good)
    except Exception as error:  # one image must not end the work on all the others
        log.debug("%s failed at %s", engine.card.name, name, exc_info=True)
        return row | {"error": f"{engine.card.name} stopped with an error: {error or type(error).__name__}"}
    row |= {"text": reply.text, "notices": list(reply.notices)}
    row["seconds"] = round(sum(reply.done.seconds.values()), 4)
    row["details"] = verdict_facts(reply.prediction, engine.card, reply.done.mode, name, reply.scale)
    if reply.prediction is None:
        return row if reply.text else row | {"error": " ".join(reply.notices) or "neither a mask nor words"}
    shown = meant(reply.prediction, engine.card)
    if shown is not None:
        try:
            _write_pictures(shown, image.rgb, name, out, overlays)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:  # a full disk ends the work, a name only this image
                raise
            return row | {"error": f"its mask cannot be written: {error.strerror}"}
    return row | _mask_columns(row["details"])


def _mask_columns(details: dict[str, Any]) -> dict[str, Any]:
    largest = details["regions"][0] if details["regions"] else {"place": "", "kind": ""}
    longest: dict[str, Any] = max(details["regions"], key=lambda region: region["length_px"], default={})
    return {
        "verdict": details["verdict"],
        "score": details["score"],
        "regions": len(details["regions"]),
        "area_percent": details["area_percent"],
        "longest_px": longest.get("length_px", ""),
        "longest_mm": longest.get("length_mm", ""),
        "largest_place": largest["place"],
        "largest_kind": largest["kind"],
    }


def _write_pictures(prediction: Prediction, rgb: NDArray[np.uint8], name: str, out: Path, overlays: bool) -> None:
    paths = _pictures(name, out, overlays)
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    mask_png(prediction, paths[_MASKS])
    thumb_jpg(rgb, prediction, paths[_THUMBS])
    if overlays:
        overlay_png(rgb, prediction, paths[_OVERLAYS])


def _pictures(name: str, out: Path, overlays: bool) -> dict[str, Path]:
    """Return the paths of an image's pictures by their folders."""
    return {folder: out / _picture(folder, name) for folder in _SUFFIXES if overlays or folder != _OVERLAYS}


def _picture(folder: str, name: str) -> str:
    """Return where an image's picture lies below the results; its own suffix stays: part.jpg and part.png are two."""
    return f"{folder}/{name}.{_SUFFIXES[folder]}"


def _remove_stale(before: Iterable[object], rows: Iterable[dict], out: Path) -> None:
    """Remove the pictures of images that earlier runs answered for, and that have none in this one."""
    drawn = {row["image"] for row in rows if _has_pictures(row)}
    for name in {name for name in before if isinstance(name, str)} - drawn:
        for folder in _SUFFIXES:
            path = out / _picture(folder, name)
            if path.resolve().is_relative_to((out / folder).resolve()):
                path.unlink(missing_ok=True)


def _write_tables(rows: Iterable[dict], out: Path) -> None:
    rows = list(rows)
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(out / "results.csv", table.getvalue())
    write_whole(out / "results.json", json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


def _write_report(engine: Engine, root: Path, request: Request, rows: Sequence[dict], out: Path) -> None:
    pictures = {
        row["image"]: (_picture(_THUMBS, row["image"]), _picture(_MASKS, row["image"]))
        for row in rows
        if _has_pictures(row)
    }
    about = {"engine": engine.card.engine_id, "weights": engine.card.weights, "threshold": request.threshold}
    about |= {"good examples": len(request.good_ids)} if request.good_ids else {}
    write_whole(out / "report.html", report_html(root.resolve().name or "Report", about, rows, pictures))


def _read_journal(path: Path) -> dict[str, dict]:
    """Return the newest answer about each image, by its key: its pictures are those that lie there."""
    newest: dict[str | None, tuple[str, dict]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
            newest[entry["row"].get("image")] = entry["key"], entry["row"]
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
            continue  # the last line of a run that was killed
    return dict(newest.values())


def _has_pictures(row: dict) -> bool:
    return row["verdict"] not in ("", UNTRAINED_VERDICT) and not row["details"].get("heat_map_only")


def _files_are_there(row: dict, out: Path, overlays: bool) -> bool:
    if not _has_pictures(row):
        return True
    return all(path.is_file() for path in _pictures(row["image"], out, overlays).values())


def _settings(engine: Engine, request: Request, overlays: bool) -> str:
    """Return all that an answer depends on besides the image: code, weights and options."""
    card = engine.card
    weights = card.weights_hash or card.weights
    shows = ["heat map"] if card.heat_map_only else []
    return json.dumps([__version__, card.engine_id, weights, asdict(request), overlays, *shows], sort_keys=True)


def _key(path: Path, root: Path, settings: str) -> str:
    """Return what tells one answer from others: the place and content of the image, and the settings."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    digest.update(f"{path.relative_to(root).as_posix()}\n{settings}".encode())
    return digest.hexdigest()

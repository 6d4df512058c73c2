"""What is written about a prediction: mask, map and overlay as files, and the facts as JSON."""

# H, W: the photo's own size

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agvas_core.calipers import calipers
from agvas_core.drawing import overlay, shrink
from agvas_core.regions import region_labels
from agvas_core.scale import Scale
from agvas_core.structures import EngineCard, Mode, Prediction, Region

FACTS, PICTURES = "regions.json", ("mask.png", "map.png", "overlay.png")
THUMB_PX = 320
UNTRAINED_VERDICT = "none: untrained weights"
NO_PICTURES = "UNTRAINED: no mask, map or overlay is written, for one from random weights would mean nothing."


def meant(prediction: Prediction | None, card: EngineCard) -> Prediction | None:
    """Return the prediction where its mask means something, to be drawn or written; else None.

    The mask of untrained weights does not, nor that of a heat map.
    """
    return prediction if _marks(card) else None


def _marks(card: EngineCard) -> bool:
    return card.trained and not card.heat_map_only


def make_folder(folder: Path) -> Path:
    """Make a folder for results, before the work whose results go there.

    Raises:
        OSError: in a sentence, when nothing can be written into it.
    """
    if folder.is_file():
        raise NotADirectoryError(f"{folder} is a file; results need a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # one that is mounted for reading is there, too
            pass
    except OSError as error:
        raise OSError(f"Nothing can be written into {folder}: {error.strerror}.") from error
    return folder


def make_room(path: Path) -> Path:
    """Make the folder of a file that will be written, before the work that it is about.

    Raises:
        OSError: in a sentence, when there will be no such file: it is a folder, or nothing can be written there.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file.")
    make_folder(path.parent)
    return path


def write_whole(path: Path, text: str) -> None:
    """Write a text file that nobody ever finds half written, also when the disk is full: the one before then stays."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def mask_png(prediction: Prediction, path: Path) -> None:
    """Write the mask as an 8-bit PNG of the photo's size, 0 and 255."""
    Image.fromarray(prediction.pred_mask.astype(np.uint8) * 255).save(path, format="PNG", compress_level=3)


def map_png(prediction: Prediction, path: Path) -> None:
    """Write the anomaly map as a 16-bit PNG of the photo's size, 65535 for a score of 1."""
    levels = (prediction.anomaly_map * np.float32(65535) + np.float32(0.5)).astype(np.uint16)
    Image.fromarray(levels).save(path, format="PNG", compress_level=1)


def verdict_facts(
    prediction: Prediction | None, card: EngineCard, mode: Mode, name: str = "", scale: Scale | None = None
) -> dict[str, object]:
    """Return what regions.json and the REST endpoint say about a prediction; of untrained weights, no finding.

    Without a prediction all of it is None, or empty. Of a heat map there is a verdict, which is its score's, and no
    region; with a second opinion, an image_score, too.
    With a scale, regions are measured in millimeters, too.
    Scores are not rounded, so that 0.93496 is "0.93" wherever it is shown with two digits.
    """
    if prediction is None:
        unknown = ("size_hw", "verdict", "score", "threshold", "alpha", "min_area_px", "area_percent")
        found: dict[str, object] = {**dict.fromkeys(unknown), "regions": [], "candidates": []}
        return {"image": name, **found, "mode": mode, **card_facts(card)}
    marks = _marks(card)
    shown = prediction.regions if marks else ()
    return {
        "image": name,
        "size_hw": list(prediction.size_hw),
        "verdict": prediction.verdict if card.trained else UNTRAINED_VERDICT,
        "score": prediction.pred_score,
        **({} if prediction.image_score is None else {"image_score": prediction.image_score}),
        "threshold": prediction.threshold,
        "alpha": prediction.alpha,
        "min_area_px": prediction.min_area_px,
        "area_percent": round(100 * float(prediction.pred_mask.mean()), 4) if marks else 0.0,
        **({} if scale is None else {"mm_per_px": scale.mm_per_px}),
        "regions": [
            {
                "index": region.index,
                "finding": region.finding,
                "kind": region.kind,
                "kind_score": round(region.kind_score, 4),
                "place": region.place,
                "box_xyxy": list(region.box_xyxy),
                "area_px": region.area_px,
                "area_percent": round(region.area_percent, 4),
                "centroid_yx": [round(v, 2) for v in region.centroid_yx],
                "score": region.score,
                **lengths,
            }
            for region, lengths in zip(shown, _lengths(prediction, shown, scale), strict=True)
        ],
        "candidates": [
            {
                "label": candidate.label,
                "name": candidate.name,
                "box_xyxy": list(candidate.box_xyxy),
                "kept": candidate.kept,
                "why": candidate.why,
                "score": round(candidate.score, 4),
            }
            for candidate in (prediction.candidates if marks else ())
        ],
        "mode": mode,
        **card_facts(card),
    }


def _lengths(prediction: Prediction, regions: Sequence[Region], scale: Scale | None) -> Iterator[dict[str, float]]:
    """Yield how long and wide each of a prediction's regions is (see calipers), in px and by the scale."""
    if not regions:
        return
    labels = region_labels(prediction.pred_mask)  # (H, W)
    for region in regions:
        left, top, right, bottom = region.box_xyxy
        length, width = calipers(labels[top:bottom, left:right] == region.index)
        measured = {"length_px": round(length, 2), "width_px": round(width, 2)}
        if scale is not None:
            mm = scale.mm_per_px
            in_mm = {"length_mm": length * mm, "width_mm": width * mm, "area_mm2": region.area_px * mm**2}
            measured |= {name: float(f"{value:.6g}") for name, value in in_mm.items()}
        yield measured


def card_facts(card: EngineCard) -> dict[str, object]:
    """Return what every JSON says about who answered; untrained weights and heat maps are named so."""
    return {
        "engine": card.engine_id,
        "weights": card.weights,
        "trained": card.trained,
        "heat_map_only": card.heat_map_only,
    }


def facts_json(facts: Mapping[str, object], path: Path) -> None:
    """Write verdict_facts as a file."""
    path.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def overlay_png(rgb: NDArray[np.uint8], prediction: Prediction, path: Path) -> None:
    """Write the photo (H, W, 3) with the mask drawn over it, at the size at which people look at it."""
    overlay(shrink(rgb), prediction).save(path, format="PNG")


def thumb_jpg(rgb: NDArray[np.uint8], prediction: Prediction, path: Path) -> None:
    """Write the overlay small, for a list of many photos."""
    thumb = overlay(shrink(rgb), prediction)
    thumb.thumbnail((THUMB_PX, THUMB_PX))
    thumb.save(path, format="JPEG", quality=85)


def write_reply(out: Path, rgb: NDArray[np.uint8], prediction: Prediction | None, facts: Mapping[str, object]) -> None:
    """Write regions.json, and mask.png, map.png and overlay.png when there is a mask, into a folder.

    Of a heat map, map.png alone. Pictures of an earlier reply that this one does not write are removed.
    """
    make_folder(out)
    names = () if prediction is None else ("map.png",) if facts.get("heat_map_only") else PICTURES
    if _holds_a_reply(out):
        for stale in set(PICTURES) - set(names):
            (out / stale).unlink(missing_ok=True)
    facts_json(facts, out / FACTS)
    if prediction is not None:
        map_png(prediction, out / "map.png")
    if prediction is not None and "mask.png" in names:
        mask_png(prediction, out / "mask.png")
        overlay_png(rgb, prediction, out / "overlay.png")


def _holds_a_reply(folder: Path) -> bool:
    """Whether pictures of these names in a folder are ours; somebody's own mask.png is left alone."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(facts, dict) and {"verdict", "engine"} <= facts.keys()

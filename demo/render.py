"""The files of a reply on the page: pictures in the formats that browsers load quickly, and the downloads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from agvas_core.drawing import heat_map, overlay, shown_size_hw, shrink
from agvas_core.structures import InspectionImage, Prediction
from agvas_core.writers import facts_json, map_png, mask_png

THUMB_PX = 320
_SUFFIX = {"overlay": ".webp", "heat": ".webp", "mask": ".png", "map": ".png", "json": ".json"}
KINDS: tuple[str, ...] = tuple(_SUFFIX)
SHOWN_KINDS: tuple[str, ...] = ("overlay", "heat", "mask")  # what the picture needs at once


def write_reply_files(
    image: InspectionImage,
    prediction: Prediction,
    facts: dict[str, object],
    selected_region: int | None,
    new_file: Callable[[str, str], Path],
    kinds: Sequence[str] = KINDS,
) -> dict[str, Path]:
    """Write a reply's pictures and downloads, each to new_file(kind, suffix); return the paths by kind."""
    photo = shrink(image.rgb) if "overlay" in kinds else None
    paths = {kind: new_file(kind, _SUFFIX[kind]) for kind in kinds}
    if photo is not None:
        overlay(photo, prediction, selected_region).save(paths["overlay"], format="WEBP", quality=88, method=2)
    if "heat" in paths:
        heat = heat_map(prediction, shown_size_hw(prediction.size_hw))
        heat.save(paths["heat"], format="WEBP", quality=85, method=2)
    if "mask" in paths:
        mask_png(prediction, paths["mask"])
    if "map" in paths:
        map_png(prediction, paths["map"])
    if "json" in paths:
        facts_json(facts, paths["json"])
    return paths

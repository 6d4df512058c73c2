"""Words that ask for a part of what is wrong ("only the scratch"), and masks that show all of it all the same.

Paper differs: there the anchors alone decide what a mask shows. The bundled model's seldom follow such words, so its
regions are then chosen from by the words themselves, and the reply says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agvas_core.engines.names import RULES
from agvas_core.kinds import ENGLISH, asked_pattern
from agvas_core.prompts import pointing_words, singles_out
from agvas_core.regions import keep_regions, place_of
from agvas_core.structures import Prediction, Region

ALL_SHOWN = "Your words ask for a part, but the mask shows everything that was found: it could not be singled out."
SAME_IOU = 0.95  # masks that share so much of their union show the same

_NUMBERED = re.compile(r"(?:\bregions?|区域)\s*(\d{1,3}(?:\s*(?:,|and|&|or|和|、)\s*(?:区域\s*)?\d{1,3})*)(?!\d)")
_SIZES = (
    (re.compile(r"\b(?:largest|biggest|main|worst)\b|最大"), -1),
    (re.compile(r"\b(?:smallest|tiniest|least)\b|最小"), 1),
)
# word: (axis of (y, x), how the centre is sorted, part of the place's name)
_SIDES = (
    (re.compile(r"\bleft(?:most)?\b|左"), 1, 1, "left"),
    (re.compile(r"\bright(?:most)?\b|右"), 1, -1, "right"),
    (re.compile(r"\b(?:upper|top)(?:most)?\b|上方|上面|上边"), 0, 1, "upper"),
    (re.compile(r"\b(?:lower|bottom)(?:most)?\b|下方|下面|下边"), 0, -1, "lower"),
)
_MIDDLE = re.compile(r"\b(?:cent(?:er|re)|middle)\b|中间|中央")
_EXCEPT = re.compile(
    r"\b(?:except(?: for)?|but not|other than|without|ignor(?:e|ing)|exclud(?:e|ing)|leave out|leaving out"
    r"|not (?:on|in|at|the))\b|除了|忽略"
)
_SAME_SIDE = {"top": "upper", "bottom": "lower"}  # as regions.PLACES names the middle column


@dataclass(frozen=True)
class _Finding:
    """Regions that lie close together: their indices, kind, px, mean row and column, and the words of their place."""

    indices: frozenset[int]
    kind: str
    area_px: int
    centroid_yx: tuple[float, float]
    place: tuple[str, ...]


def singled_out(
    instruction: str, prediction: Prediction, everything: Callable[[], Prediction], engine_id: str
) -> tuple[Prediction, str | None]:
    """Return the mask that the words ask for, and a sentence where it is not as the anchors made it.

    Args:
        instruction: the user's own words.
        prediction: the mask that answers them.
        everything: returns what the engine marks when it is asked for all anomalies; called only when it is needed.
        engine_id: who answered.
    """
    if len(prediction.regions) < 2 or not singles_out(instruction):
        return prediction, None
    if not _same(prediction.pred_mask, everything().pred_mask):
        return prediction, None
    chosen = choose(instruction, prediction)
    if not chosen or len(chosen) == len(prediction.regions):
        hint = f"The engine {engine_id}{RULES} keeps regions by place, size or number as you say."
        return prediction, f"{ALL_SHOWN} {hint}"
    counted = "The anchors marked everything; of its {} regions your words chose {}, and the mask shows no other."
    return keep_regions(prediction, chosen), counted.format(len(prediction.regions), len(chosen))


def choose(instruction: str, prediction: Prediction) -> set[int]:
    """Return the indices of the regions that the words mean: by number, or findings by kind, place and size."""
    wanted, *unwanted = _EXCEPT.split(pointing_words(instruction))
    chosen, left_out = _meant(wanted, prediction), _meant(" ".join(unwanted), prediction)
    everything = {region.index for region in prediction.regions}
    return (everything if chosen is None else chosen) - (left_out or set())


def _meant(words: str, prediction: Prediction) -> set[int] | None:
    """Return the indices of the regions that the words name, None where they name none ("everything else")."""
    numbers = {int(number) for listed in _NUMBERED.findall(words) for number in re.findall(r"\d+", listed)}
    if numbers:
        return {region.index for region in prediction.regions} & numbers
    kinds = {kind for kind in ENGLISH if re.search(asked_pattern(kind), words)}
    chosen = [f for f in _findings(prediction) if not kinds or f.kind in kinds]
    sides = [side for side in _SIDES if side[0].search(words)]
    if sides:
        there = [f for f in chosen if all(side in f.place for _, _, _, side in sides)]
        if not there and chosen:  # "the left one" of two in the middle
            there = [min(chosen, key=lambda f: sum(sign * f.centroid_yx[axis] for _, axis, sign, _ in sides))]
        chosen = there
    elif _MIDDLE.search(words):
        chosen = [f for f in chosen if f.place == ("center",)]
    sizes = [sign for pattern, sign in _SIZES if pattern.search(words)]
    for sign in sizes if chosen else ():
        chosen = [min(chosen, key=lambda f: sign * f.area_px)]
    if not (kinds or sides or sizes or _MIDDLE.search(words)):
        return None
    return {index for finding in chosen for index in finding.indices}


def _findings(prediction: Prediction) -> list[_Finding]:
    parts: dict[int, list[Region]] = {}
    for region in prediction.regions:
        parts.setdefault(region.finding, []).append(region)
    return [_finding(regions, prediction.size_hw) for regions in parts.values()]


def _finding(regions: list[Region], size_hw: tuple[int, int]) -> _Finding:
    area = sum(r.area_px for r in regions)
    y, x = (sum(r.area_px * r.centroid_yx[axis] for r in regions) / area for axis in (0, 1))
    place = tuple(_SAME_SIDE.get(word, word) for word in place_of(y, x, *size_hw).split())
    return _Finding(frozenset(r.index for r in regions), regions[0].kind, area, (y, x), place)


def _same(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    union = np.count_nonzero(one | other)
    return bool(union > 0 and np.count_nonzero(one & other) >= SAME_IOU * union)

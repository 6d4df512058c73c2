"""Words that ask for a part of what is wrong ("only the scratch"), and masks that show all of it all the same.

Paper differs: there the anchors alone decide what a mask shows. The bundled model's seldom follow such words, so its
regions are then chosen from by the words themselves, and the reply says so. Where none is of the kind that is asked
for, the mask is empty and its verdict "other": what is there all the same is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agvas_core.engines.names import RULES
from agvas_core.kinds import ENGLISH, asked_pattern, kind_words, kinds_in
from agvas_core.prompts import pointing_words, singles_out
from agvas_core.regions import group_labels, keep_regions, place_of
from agvas_core.structures import Prediction, Region
from agvas_core.wording import a, at, join

ALL_SHOWN = "Your words ask for a part, but the mask shows everything that was found: it could not be singled out."
NONE_OF_KIND = "There is no {kinds} among the findings, as far as I can tell"
ALL_LEFT_OUT = "Your words leave out all that I found, so nothing is marked. What I see: {seen}."
NOTHING_ASKED_FOR = "I find nothing of what you ask for, so nothing is marked. Asked for all anomalies, I mark: {seen}."
SEEN_NAMED = 3  # findings that are told of an emptied mask, largest first
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
# a thing that the words call a defect whatever its kind: "the defect near the hole", "defects such as scratches"
_ANY_DEFECT = re.compile(r"\b(?:defects?|anomal\w+|flaws?|faults?|damages?|abnormal\w*|everything)\b|缺陷|异常|瑕疵")
_OF_THE_KIND = r"\s+(?:defects?|anomal\w+|flaws?|faults?|damages?|marks?)\b"  # "scratch defects" are scratches
_SAME_SIDE = {"top": "upper", "bottom": "lower"}  # as regions.PLACES names the middle column


@dataclass(frozen=True)
class _Finding:
    """Regions that lie close together: their indices, kind, px, mean row and column, place, and the sides it names."""

    indices: frozenset[int]
    kind: str
    area_px: int
    centroid_yx: tuple[float, float]
    place: str
    sides: tuple[str, ...]


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
    if not singles_out(instruction):
        return prediction, None
    if not prediction.regions:
        seen = everything()
        if not seen.regions:
            return prediction, None
        return _emptied(prediction), NOTHING_ASKED_FOR.format(seen=_seen(seen))
    missed = _no_such_kind(instruction, prediction)  # whatever the anchors singled out, it is not that
    if missed is not None:
        return missed
    if not _same(prediction.pred_mask, everything().pred_mask):
        return prediction, None
    wanted, unwanted = _parts(instruction)
    chosen, count = choose(instruction, prediction), len(prediction.regions)
    if len(chosen) == count and (_meant(wanted, prediction) or count == 1):
        return prediction, None  # the words mean all of it
    if not chosen and _meant(unwanted, prediction):
        return _emptied(prediction), ALL_LEFT_OUT.format(seen=_seen(prediction))
    if not chosen or len(chosen) == count:
        hint = f"The engine {engine_id}{RULES} keeps regions by place, size or number as you say."
        return prediction, f"{ALL_SHOWN} {hint}"
    return keep_regions(prediction, chosen), _counted(count, len(chosen))


def _no_such_kind(instruction: str, prediction: Prediction) -> tuple[Prediction, str] | None:
    """Return the mask and a sentence where the words name kinds of which none was found, None elsewhere.

    A kind is read from pixels and may be wrong, so what lies at a place that the words name too is shown all the same.
    """
    findings = _findings(prediction)
    if not all(f.kind for f in findings):
        return None  # of some the kind is unknown
    wanted, unwanted = _parts(instruction)
    found = {f.kind for f in findings}
    named, without = kinds_in(wanted), kinds_in(unwanted)
    if not named and without and not without & found:
        return prediction, f"{_none_of(without)}, so nothing is left out of the mask."
    if not named or named & found or _NUMBERED.search(wanted):
        return None
    none = _none_of(named)
    sides = [side for pattern, _, _, side in _SIDES if pattern.search(wanted)]
    there = {n for f in findings if sides and all(side in f.sides for side in sides) for n in f.indices}
    if there:
        kept = keep_regions(prediction, there)
        return kept, f"{none}. What lies there is marked: {_seen(kept)}."
    if _ANY_DEFECT.search(re.sub(rf"(?:{'|'.join(map(asked_pattern, sorted(named)))}){_OF_THE_KIND}", " ", wanted)):
        return prediction, f"{none}. The mask shows everything that was found: {_seen(prediction)}."
    ask = "Ask for all anomalies to have that marked."
    return _emptied(prediction), f"{none}, so nothing is marked. What I see: {_seen(prediction)}. {ask}"


def choose(instruction: str, prediction: Prediction) -> set[int]:
    """Return the indices of the regions that the words mean: by number, or findings by kind, place and size."""
    wanted, unwanted = _parts(instruction)
    chosen, left_out = _meant(wanted, prediction), _meant(unwanted, prediction)
    everything = {region.index for region in prediction.regions}
    return (everything if chosen is None else chosen) - (left_out or set())


def _parts(instruction: str) -> tuple[str, str]:
    """Return the words that say what to mark, and those that say what to leave out."""
    wanted, *unwanted = _EXCEPT.split(pointing_words(instruction))
    return wanted, " ".join(unwanted)


def _meant(words: str, prediction: Prediction) -> set[int] | None:
    """Return the indices of the regions that the words name, None where they name none ("everything else")."""
    numbers = {int(number) for listed in _NUMBERED.findall(words) for number in re.findall(r"\d+", listed)}
    if numbers:
        return {region.index for region in prediction.regions} & numbers
    kinds = kinds_in(words)
    chosen = [f for f in _findings(prediction) if not kinds or f.kind in kinds]
    sides = [side for side in _SIDES if side[0].search(words)]
    if sides:
        there = [f for f in chosen if all(side in f.sides for _, _, _, side in sides)]
        if not there and chosen:  # "the left one" of two in the middle
            there = [min(chosen, key=lambda f: sum(sign * f.centroid_yx[axis] for _, axis, sign, _ in sides))]
        chosen = there
    elif _MIDDLE.search(words):
        chosen = [f for f in chosen if f.place == "center"]
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
    place = place_of(y, x, *size_hw)
    sides = tuple(_SAME_SIDE.get(word, word) for word in place.split())
    return _Finding(frozenset(r.index for r in regions), regions[0].kind, area, (y, x), place, sides)


def _emptied(prediction: Prediction) -> Prediction:
    return replace(keep_regions(prediction, ()), verdict="other")


def _counted(regions: int, chosen: int) -> str:
    chose = f"of its {regions} regions your words chose {chosen}"
    return f"The anchors marked everything; {chose}, and the mask shows no other."


def _none_of(kinds: frozenset[str]) -> str:
    *first, last = [kind for kind in ENGLISH if kind in kinds]
    return NONE_OF_KIND.format(kinds=f"{', '.join(first)} or {last}" if first else last)


def _seen(prediction: Prediction) -> str:
    """Return "a hole in the center and a scratch on the left", largest first."""
    by_size = sorted(_findings(prediction), key=lambda f: -f.area_px)
    said = list(dict.fromkeys(f"{_named(f.kind)} {at(f.place)}" for f in by_size))
    more = len(said) - SEEN_NAMED
    return join([*said[:SEEN_NAMED], *([f"{more} more"] if more > 0 else [])])


def _named(kind: str) -> str:
    return a(kind_words(kind).one) if kind else "something"


def _same(mask: NDArray[np.bool_], everything: NDArray[np.bool_]) -> bool:
    """Return whether a mask shows all of what was found, be it within other borders."""
    union = np.count_nonzero(mask | everything)
    if union == 0 or np.count_nonzero(mask & everything) >= SAME_IOU * union:
        return bool(union > 0)
    findings = group_labels(everything)  # (H, W)
    return bool(findings.any()) and len(np.unique(findings[mask & everything])) == int(findings.max())

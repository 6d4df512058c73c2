"""Words that ask for a part of what is wrong ("only the scratch"), and masks that show all of it all the same.

Paper differs: there the anchors alone decide what a mask shows. The bundled model's seldom follow such words, so its
regions are then chosen from by the words themselves, and the reply says so. Where none is of the kind that is asked
for, the mask is empty and its verdict "other": what is there all the same is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agvas_core.asking import singles_out
from agvas_core.engines.names import RULES
from agvas_core.engines.pointing import bounds_length, choose, findings_of, meant, numbers_in, parts, sides_in
from agvas_core.engines.ruler import with_lengths
from agvas_core.kinds import ENGLISH, asked_pattern, kind_words, kinds_in
from agvas_core.regions import emptied, group_labels, keep_regions, region_labels
from agvas_core.structures import Prediction
from agvas_core.wording import a, at, join

ALL_SHOWN = "Your words ask for a part, but the mask shows everything that was found: it could not be singled out."
NONE_OF_KIND = "There is no {kinds} among the findings, as far as I can tell"
ALL_LEFT_OUT = "Your words leave out all that I found, so nothing is marked. What I see: {seen}."
NOTHING_ASKED_FOR = "I find nothing of what you ask for, so nothing is marked. Asked for all anomalies, I mark: {seen}."
NOTHING_LEFT_OUT = "Nothing was found of what your words leave out, so the mask shows everything that was found."
SEEN_NAMED = 3  # findings that are told of an emptied mask, largest first
SAME_IOU = 0.95  # masks that share so much of their union show the same

# a thing that the words call a defect whatever its kind: "the defect near the hole", "defects such as scratches"
_ANY_DEFECT = re.compile(r"\b(?:defects?|anomal\w+|flaws?|faults?|damages?|abnormal\w*|everything)\b|缺陷|异常|瑕疵")
_OF_THE_KIND = r"\s+(?:defects?|anomal\w+|flaws?|faults?|damages?|marks?)\b"  # "scratch defects" are scratches


def singled_out(
    instruction: str, prediction: Prediction, everything: Callable[[], Prediction], engine_id: str
) -> tuple[Prediction, str | None]:
    """Return the mask that the words ask for, and a sentence where it is not as the anchors made it.

    Anchors that marked something else than the words name do not decide: asked to "ignore the burn", the bundled ones
    once marked it alone. Where the words name nothing that was measured ("the dark one"), they do.

    Args:
        instruction: the user's own words.
        prediction: the mask that answers them.
        everything: returns what the engine marks when it is asked for all anomalies; called only when it is needed.
        engine_id: who answered.
    """
    if not singles_out(instruction):
        return prediction, None
    seen = everything()
    if not seen.regions:
        return prediction, None
    findings, (wanted, unwanted) = findings_of(seen), parts(instruction)
    if bounds_length(instruction):
        findings = with_lengths(findings, seen)
    own = not _same(prediction.pred_mask, seen.pred_mask)
    means, leaves_out = meant(wanted, findings), meant(unwanted, findings)
    guessed = bool(kinds_in(instruction)) and not all(f.kind for f in findings)  # of some the kind is unknown
    if own and (guessed or (means is None and leaves_out is None)):
        if prediction.regions:
            return prediction, None
        return emptied(seen), NOTHING_ASKED_FOR.format(seen=_seen(seen))
    missed = None if guessed else _no_such_kind(wanted, unwanted, seen)
    if missed is not None:
        return missed
    chosen, count = choose(instruction, findings), len(seen.regions)
    if own and chosen and chosen == _touched(prediction, seen):
        return prediction, None
    whole = seen if own else prediction
    if len(chosen) == count and (means or len(findings) == 1):
        return whole, None  # the words mean all of it
    if not chosen and leaves_out:
        return emptied(whole), ALL_LEFT_OUT.format(seen=_seen(whole))
    if not chosen and means is not None and not guessed and not numbers_in(wanted):
        return emptied(whole), NOTHING_ASKED_FOR.format(seen=_seen(whole))
    if len(chosen) == count and leaves_out is not None:
        return whole, NOTHING_LEFT_OUT
    if not chosen or len(chosen) == count:
        hint = f"The engine {engine_id}{RULES} keeps regions by place and size, and as many as you say."
        return whole, f"{ALL_SHOWN} {hint}"
    return keep_regions(whole, chosen), _counted(count, len(chosen), own=own)


def _touched(prediction: Prediction, seen: Prediction) -> set[int]:
    """Return the numbers of the regions of another mask that a mask touches."""
    return {int(n) for n in np.unique(region_labels(seen.pred_mask)[prediction.pred_mask]) if n}


def _no_such_kind(wanted: str, unwanted: str, prediction: Prediction) -> tuple[Prediction, str] | None:
    """Return the mask and a sentence where the words name kinds of which none was found, None elsewhere.

    A kind is read from pixels and may be wrong, so what lies at a place that the words name too is shown all the same.
    """
    findings = findings_of(prediction)
    found = {f.kind for f in findings}
    named, without = kinds_in(wanted), kinds_in(unwanted)
    if not named and without and not without & found:
        return prediction, f"{_none_of(without)}, so nothing is left out of the mask."
    if not named or named & found or numbers_in(wanted):
        return None
    none, sides = _none_of(named), sides_in(wanted)
    there = {n for f in findings if sides and sides <= f.sides for n in f.numbers}
    if there:
        kept = keep_regions(prediction, there)
        return kept, f"{none}. What lies there is marked: {_seen(kept)}."
    if _ANY_DEFECT.search(re.sub(rf"(?:{'|'.join(map(asked_pattern, sorted(named)))}){_OF_THE_KIND}", " ", wanted)):
        return prediction, f"{none}. The mask shows everything that was found: {_seen(prediction)}."
    ask = "Ask for all anomalies to have that marked."
    return emptied(prediction), f"{none}, so nothing is marked. What I see: {_seen(prediction)}. {ask}"


def _counted(regions: int, chosen: int, *, own: bool) -> str:
    marked = "something else; of the" if own else "everything; of its"
    return f"The anchors marked {marked} {regions} regions your words chose {chosen}, and the mask shows no other."


def _none_of(kinds: frozenset[str]) -> str:
    *first, last = [kind for kind in ENGLISH if kind in kinds]
    return NONE_OF_KIND.format(kinds=f"{', '.join(first)} or {last}" if first else last)


def _seen(prediction: Prediction) -> str:
    """Return "a hole in the center and a scratch on the left", largest first."""
    by_size = sorted(findings_of(prediction), key=lambda f: -f.area_px)
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

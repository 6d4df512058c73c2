"""Property prompts as rules: a candidate passes or is dropped with the reason in words (paper Eq. 4)."""

from __future__ import annotations

import re

import numpy as np
from scipy import ndimage

from agvas_core.calipers import calipers
from agvas_core.kinds import ENGLISH, asked_pattern
from agvas_core.regions import place_of
from agvas_core.saa.candidates import Candidate, ObjectRegion
from agvas_core.saa.places import lies_at
from agvas_core.saa.prompts import AreaOf, LanguagePrompts, PropertyPrompts, Reach

RIM_SHARE = 0.06  # of the side of a square as large as the object: so far the rim reaches


def names_object(candidate: Candidate, language: LanguagePrompts) -> str:
    """Drop what answers to the object's own name: the detector found the part, not a flaw."""
    name = language.object_name.strip().lower()
    if name and re.search(rf"\b{re.escape(name)}\b", candidate.phrase.lower()):
        return f"it answers to the object's own name, {name!r}"
    return ""


def is_excluded(candidate: Candidate, language: LanguagePrompts) -> str:
    """Drop what the user does not want to see, by his word for it or by the kind of defect that the word means."""
    found = next((word for word in language.excluded if _answers_to(candidate, word)), None)
    return "" if found is None else f"{found!r} was to be ignored"


def wrong_side_of_rim(candidate: Candidate, obj: ObjectRegion, rules: PropertyPrompts) -> str:
    """Keep what lies at the rim alone, or what does not."""
    if not rules.rim or lies_at_rim(candidate, obj) == (rules.rim == "only"):
        return ""
    return "it does not lie at the rim" if rules.rim == "only" else "it lies at the rim"


def lies_at_rim(candidate: Candidate, obj: ObjectRegion) -> bool:
    """Return whether at least half of a candidate lies in the object's outermost band, or in the image's without one.

    The band's width is a share of the side of a square as large as the object.
    """
    assert candidate.mask is not None, "the rim is judged on masks"
    h, w = candidate.mask.shape
    depth, size = obj.depth, h * w
    if obj.mask is not None:
        size = np.count_nonzero(obj.mask)
    if depth is None:
        rows, cols = (np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) for n in (h, w))
        depth = np.minimum(rows[:, None], cols[None])
    inside = depth[candidate.mask]
    return bool(np.count_nonzero(inside <= RIM_SHARE * np.sqrt(size)) >= inside.size / 2)


def wrong_reach(candidate: Candidate, rules: PropertyPrompts) -> str:
    """Keep what is as long, or as wide, as is asked for."""
    if rules.reach is None or within(candidate, rules.reach):
        return ""
    return f"it is not {rules.reach.in_words}, but {rules.reach.told(reach_of(candidate, wide=rules.reach.wide))}"


def within(candidate: Candidate, reach: Reach) -> bool:
    """Return whether a candidate is as long, or as wide, as the bounds say."""
    share = reach_of(candidate, wide=reach.wide)
    return share > reach.above and (reach.below is None or share < reach.below)


def reach_of(candidate: Candidate, *, wide: bool = False) -> float:
    """Return how long a candidate is, or how wide, as a share of the image's longer side."""
    assert candidate.mask is not None, "a reach is measured on masks"
    return calipers(candidate.mask)[wide] / max(candidate.mask.shape)


def is_left_out(candidate: Candidate, obj: ObjectRegion, rules: PropertyPrompts) -> str:
    """Drop what the user does not want to see of some kind, size and place together."""
    for rule in rules.exclusions:
        share = candidate.area / _whole(obj, rule.area_of)
        named = not rule.words or any(_answers_to(candidate, word) for word in rule.words)
        sized = share > rule.larger_than and (rule.smaller_than is None or share < rule.smaller_than)
        placed = not rule.places or lies_at(*_middle(candidate), rule.places)
        if (
            named
            and sized
            and placed
            and (not rule.at_rim or lies_at_rim(candidate, obj))
            and (rule.reach is None or within(candidate, rule.reach))
        ):
            return f"{rule.in_words} was to be ignored"
    return ""


def _answers_to(candidate: Candidate, word: str) -> bool:
    phrase, word = candidate.phrase.lower(), word.lower()
    same_kind = phrase in ENGLISH and re.search(asked_pattern(phrase), word)
    return bool(same_kind or re.search(rf"\b{re.escape(word)}", phrase))


def _whole(obj: ObjectRegion, area_of: AreaOf) -> float:
    return obj.area if area_of == "object" else 1.0


def wrong_area(candidate: Candidate, obj: ObjectRegion, rules: PropertyPrompts) -> str:
    """Keep 0 < area < theta_area x ObjectArea, and above the smallest area asked for."""
    share = candidate.area / _whole(obj, rules.area_of)
    what = "image" if rules.area_of == "image" or obj.mask is None else "object"
    if candidate.area <= 0:
        return "it has no area"
    if share >= rules.max_area:
        return f"it covers {_percent(share)} of the {what}, not below {_percent(rules.max_area)}"
    if share <= rules.min_area and rules.min_area > 0:
        return f"it covers {_percent(share)} of the {what}, not above {_percent(rules.min_area)}"
    return ""


def off_object(candidate: Candidate, obj: ObjectRegion, rules: PropertyPrompts) -> str:
    """Keep IoU(candidate, object) > theta_IoU, and enough of it on the object; nothing to ask without an object."""
    if obj.mask is None:
        return ""
    assert candidate.mask is not None, "location is judged on masks"
    shared = int(np.count_nonzero(candidate.mask & obj.mask))
    if rules.min_iou is not None:
        iou = shared / max(1, int(np.count_nonzero(candidate.mask | obj.mask)))
        if iou <= rules.min_iou:
            return f"its IoU with the object is {iou:.3f}, not above {rules.min_iou:g}" if shared else "off the object"
    inside = shared / max(1, int(np.count_nonzero(candidate.mask)))
    if inside < rules.min_inside:
        return f"{_percent(inside)} of it lies on the object, less than {_percent(rules.min_inside)}"
    return ""


def wrong_place(candidate: Candidate, rules: PropertyPrompts) -> str:
    """Keep what has its centre in one of the places asked for."""
    if not rules.places or lies_at(*_middle(candidate), rules.places):
        return ""
    return f"it lies at the {place_in_image(candidate)}"


def place_in_image(candidate: Candidate) -> str:
    """Return where a candidate's centre lies, in words of regions.PLACES."""
    y, x = _middle(candidate)
    return place_of(y, x, 1, 1)


def _middle(candidate: Candidate) -> tuple[float, float]:
    """Return the y and x of a candidate's centre as shares of the image, of its box when it has no mask."""
    if candidate.mask is not None and candidate.mask.any():
        (y, x), (height, width) = ndimage.center_of_mass(candidate.mask), candidate.mask.shape
        return float(y) / height, float(x) / width
    x0, y0, x1, y1 = candidate.box
    return (y0 + y1) / 2, (x0 + x1) / 2


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"

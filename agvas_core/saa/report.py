"""What the rules were and what became of each candidate, in words and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agvas_core.prompts import format_percent
from agvas_core.saa.candidates import Judgement, ObjectRegion
from agvas_core.saa.filters import place_in_image
from agvas_core.saa.pipeline import TOP_K
from agvas_core.saa.places import others, told
from agvas_core.saa.prompts import HybridPrompts, PropertyPrompts, prompts_for
from agvas_core.structures import JudgedCandidate
from agvas_core.wording import join

MOST_ROWS = 12
LETTERS = "ABCDEFGHIJKL"  # one for each row
WAY_BACK = 'Say "start over" to drop these rules.'
NO_AREA = (
    'A size that you name sets no rule. Millimeters do where the scale is known ("1 px is 0.05 mm"), elsewhere shares '
    'and pixels: "larger than 1 % of the image", "larger than 500 px", "longer than 40 px".'
)
NO_RULES = (
    "SAA takes from your words what to look for alone; sizes, places, numbers and what to ignore are SAA+'s rules."
)
NOTHING_READ = (
    "Your words set no rule that I know. Rules say what to look for or to ignore, how large, where and how many: "
    '"look for cracks, ignore dust, at most three, smaller than 5 %, not on the left".'
)
ALL_DROPPED = "Something was found, but the rules drop it, so nothing is marked."
NOT_ASKED_FOR = "Something was found, but it answers to other words than yours, so nothing is marked."
ANY_COUNTS = "Not all of these words mean kinds that the model was taught, so any flaw counts."


def rules_sentence(prompts: HybridPrompts) -> str:
    """Return what was asked for: words, object, size, place, number."""
    language = prompts.language
    parts = ["Looked for " + ", ".join(language.queries) if language.queries else "Looked for nothing"]
    if language.object_name:
        parts[0] += f" on the {language.object_name}"
    return "; ".join([*parts, *limits(prompts)]) + "."


def limits(prompts: HybridPrompts) -> list[str]:
    """Return the rules on candidates, whoever found them: words to ignore, size, place, number."""
    parts = []
    if prompts.language.excluded:
        parts.append("ignoring " + ", ".join(prompts.language.excluded))
    if prompts.property is not None:
        parts += [f"ignoring {exclusion.in_words}" for exclusion in prompts.property.exclusions]
        parts += _property_parts(prompts.property, prompts.language.object_name or "object")
    if prompts.confidence is not None:
        k, by = prompts.confidence.top_k, prompts.confidence.by
        parts.append(f"at most {k}" if by == "score" else f"the {by} {k}" if k > 1 else f"only the {by}")
    return parts


def way_back(prompts: HybridPrompts) -> str:
    """Return how to get rid of rules, "" while none but the default ones are in force."""
    plain = prompts_for()
    rules = (prompts.property, prompts.confidence, prompts.language.excluded)
    return "" if rules == (plain.property, plain.confidence, plain.language.excluded) else WAY_BACK


def _property_parts(rules: PropertyPrompts, name: str) -> list[str]:
    size = f"smaller than {_percent(rules.max_area)} of the {name if rules.area_of == 'object' else rules.area_of}"
    if rules.min_area:
        size += f" and larger than {_percent(rules.min_area)}"
    parts = [size]
    if rules.object_count > 1:
        parts.append(f"{rules.object_count} objects")
    if rules.min_inside:
        parts.append(f"at least {_percent(rules.min_inside)} on the {name}")
    elif rules.min_iou is not None:
        parts.append(f"touching the {name}" if rules.min_iou == 0 else f"IoU with the {name} above {rules.min_iou:g}")
    if rules.reach:
        parts.append(rules.reach.in_words)
    if rules.rim:
        parts.append("only at the rim" if rules.rim == "only" else "not at the rim")
    if rules.places:
        gone = others(rules.places)
        few = not gone or len(rules.places) <= len(gone)
        parts.append(told(rules.places) if few else f"not {told(gone)}")
    return parts


def object_sentence(obj: ObjectRegion, prompts: HybridPrompts) -> str:
    """Return how large the object was taken to be; "" when no rule needs it."""
    if prompts.property is None:
        return ""
    if obj.mask is None:
        return "No object was told apart from its background, so sizes are of the whole image."
    return f"The largest object covers {_percent(obj.area)} of the image."


def count_sentence(judgements: Sequence[Judgement]) -> str:
    """Return how many candidates there were, how many are left, and what dropped the others."""
    if not judgements:
        return "There was no candidate."
    kept = sum(j.kept for j in judgements)
    dropped = Counter(j.rule for j in judgements if not j.kept)
    by_rule = ", ".join(f"{count} by {rule}" for rule, count in dropped.most_common())
    noun = "candidate" if len(judgements) == 1 else "candidates"
    return f"Kept {kept} of {len(judgements)} {noun}" + (f"; dropped {by_rule}." if by_rule else ".")


def unlike_sentence(regions: Sequence[int]) -> str:
    """Return which regions are marked though they look like something else than what was asked for; "" for none."""
    if not regions:
        return ""
    one = len(regions) == 1
    what = f"Region {regions[0]} looks" if one else f"Regions {join([str(n) for n in regions])} look"
    return f" {what} more like something else than like what your words ask for."


def listed(judgements: Sequence[Judgement]) -> list[int]:
    """Return which judgements are told, in their order: kept ones, those by the user's rules, the rest by top-K."""
    order = [0 if j.kept else 2 if j.rule == TOP_K else 1 for j in judgements]
    return sorted(range(len(judgements)), key=order.__getitem__)[:MOST_ROWS]  # stable


def marks(judgements: Sequence[Judgement], size_hw: tuple[int, int]) -> tuple[JudgedCandidate, ...]:
    """Return the judgements that are told, with their letters and with boxes in px of an image of size_hw."""
    height, width = size_hw
    found = []
    for letter, i in zip(LETTERS, listed(judgements), strict=False):
        j = judgements[i]
        x0, y0, x1, y1 = j.candidate.box
        left, top = min(width - 1, int(x0 * width)), min(height - 1, int(y0 * height))
        box = (left, top, max(left + 1, round(x1 * width)), max(top + 1, round(y1 * height)))
        found.append(JudgedCandidate(letter, j.candidate.phrase, box, j.kept, fate(j), j.score))
    return tuple(found)


def fate(judgement: Judgement) -> str:
    """Return "kept, rank 1", or which rule dropped it and why."""
    return f"kept, {judgement.why}" if judgement.kept else f"dropped by {judgement.rule}: {judgement.why}"


def table(judgements: Sequence[Judgement], regions: Sequence[str], below: Sequence[bool]) -> str:
    """Return a markdown table of the candidates with their letters and fates, as `listed`.

    Args:
        judgements: as in pipeline.Regularised.
        regions: for each, the numbers of the regions that show it in the picture ("1", "2, 3", "" for none).
        below: for each, whether it was kept but lies below the mask's threshold.
    """
    lines = [
        "| candidate | region | answers to | fate | where | share of image | score |",
        "|---|---|---|---|---|---:|---:|",
    ]
    for letter, i in zip(LETTERS, listed(judgements), strict=False):
        j, region = judgements[i], regions[i]
        c = j.candidate
        score = f"{j.score:.2f}" if j.saliency is None else f"{c.score:.2f} x {j.score / max(c.score, 1e-9):.2f}"
        if j.saliency is not None:
            score += f" = {j.score:.2f}"
        became = fate(j) + ("; below the threshold" if below[i] else "")
        share = f"{format_percent(100 * c.area)} %"
        cells = (letter, region or "-", c.phrase or "-", became, place_in_image(c), share, score)
        lines.append("| " + " | ".join(cells) + " |")
    more = len(judgements) - MOST_ROWS
    return "\n".join(lines) + (f"\n\nand {more} more" if more > 0 else "")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"

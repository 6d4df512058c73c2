"""What the rules were and what became of each candidate, in words and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agvas_core.prompts import format_percent
from agvas_core.saa.candidates import Judgement, ObjectRegion
from agvas_core.saa.filters import place_in_image
from agvas_core.saa.pipeline import TOP_K
from agvas_core.saa.prompts import HybridPrompts, PropertyPrompts

MOST_ROWS = 12


def rules_sentence(prompts: HybridPrompts) -> str:
    """Return what was asked for: words, object, size, place, number."""
    language, rules = prompts.language, prompts.property
    parts = ["Looked for " + ", ".join(language.queries) if language.queries else "Looked for nothing"]
    if language.object_name:
        parts[0] += f" on the {language.object_name}"
    if language.excluded:
        parts.append("ignoring " + ", ".join(language.excluded))
    if rules is not None:
        parts += _property_parts(rules)
    if prompts.confidence is not None:
        parts.append(f"at most {prompts.confidence.top_k}")
    return "; ".join(parts) + "."


def _property_parts(rules: PropertyPrompts) -> list[str]:
    size = f"smaller than {_percent(rules.max_area)} of the {rules.area_of}"
    if rules.min_area:
        size += f" and larger than {_percent(rules.min_area)}"
    parts = [size]
    if rules.object_count > 1:
        parts.append(f"{rules.object_count} objects")
    if rules.min_inside:
        parts.append(f"at least {_percent(rules.min_inside)} on the object")
    elif rules.min_iou is not None:
        parts.append("on the object" if rules.min_iou == 0 else f"IoU with the object above {rules.min_iou:g}")
    if rules.places:
        parts.append("at " + " or ".join(rules.places))
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


def table(judgements: Sequence[Judgement], regions: Sequence[str], below: Sequence[bool]) -> str:
    """Return a markdown table of candidates and their fates, kept ones first, at most MOST_ROWS rows.

    Args:
        judgements: as in pipeline.Regularised.
        regions: for each, the numbers of the regions that show it in the picture ("1", "2, 3", "" for none).
        below: for each, whether it was kept but lies below the mask's threshold.
    """
    lines = [
        "| region | answers to | where | share of image | score | fate |",
        "|---|---|---|---:|---:|---|",
    ]
    rows = list(zip(judgements, regions, below, strict=True))
    rows.sort(key=lambda row: 0 if row[0].kept else 2 if row[0].rule == TOP_K else 1)  # stable; the user's rules first
    for j, region, hidden in rows[:MOST_ROWS]:
        c = j.candidate
        score = f"{j.score:.2f}" if j.saliency is None else f"{c.score:.2f} x {j.score / max(c.score, 1e-9):.2f}"
        if j.saliency is not None:
            score += f" = {j.score:.2f}"
        fate = f"kept, {j.why}" if j.kept else f"dropped by {j.rule}: {j.why}"
        if hidden:
            fate += "; below the threshold"
        place = place_in_image(c)
        share = format_percent(100 * c.area)
        lines.append(f"| {region or '-'} | {c.phrase or '-'} | {place} | {share} % | {score} | {fate} |")
    more = len(rows) - MOST_ROWS
    return "\n".join(lines) + (f"\n\nand {more} more" if more > 0 else "")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"

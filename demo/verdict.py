"""A reply's verdict in words and as a badge with its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from demo.i18n import percent, regions_said, say
from demo.replies import Reply
from demo.session import Knobs

BORDERLINE = 0.05  # nothing is marked, but the highest suspicion is no further than this below the threshold


def is_borderline(facts: Mapping[str, object]) -> bool:
    """Return whether a slightly lower threshold would have marked something where nothing is marked."""
    below = float(str(facts["threshold"])) - float(str(facts["score"]))
    return facts["verdict"] == "normal" and -1e-9 <= below <= BORDERLINE + 1e-9


def said(facts: Mapping[str, object], lang: str) -> str:
    """Return the verdict in words."""
    return say("verdict_borderline" if is_borderline(facts) else f"verdict_{facts['verdict']}", lang)


def badge(reply: Reply, lang: str, *, by_sliders: bool = False) -> str:
    """The verdict's badge with its numbers; empty while there is no mask.

    by_sliders: it is shown beside them, so the threshold is not named again.
    """
    facts = reply.facts
    if not facts:
        return ""
    if not reply.card.trained:
        return f'<div class="agv-verdict" data-verdict="none"><b>{say("untrained_verdict", lang)}</b></div>'
    found = f"<b>{said(facts, lang)}</b>"
    if facts["verdict"] == "anomaly":
        return f'<div class="agv-verdict" data-verdict="anomaly">{found}{_measures(reply, lang, by_sliders)}</div>'
    if facts["verdict"] == "other":
        return f'<div class="agv-verdict" data-verdict="other">{found}<span>{say("other_seen", lang)}</span></div>'
    near = " agv-borderline" if is_borderline(facts) else ""
    return f'<div class="agv-verdict{near}" data-verdict="normal">{found}<span>{_suspicion(facts, lang)}</span></div>'


def _measures(reply: Reply, lang: str, by_sliders: bool) -> str:
    """Score, regions and share of an anomaly, and the threshold where it is another than the page's own."""
    facts = reply.facts
    regions, threshold = facts["regions"], float(str(facts["threshold"]))
    assert isinstance(regions, list)
    spans = [say("heat", lang)]
    if not reply.card.heat_map_only:
        share = say("of_image", lang, p=percent(float(str(facts["area_percent"]))))
        spans = [region_count(regions, lang), share]
    if threshold != Knobs.threshold and not by_sliders:
        spans.append(say("at_threshold", lang, t=f"{threshold:.2f}"))
    score = f'<b class="agv-score" title="{say("scale", lang)}">{float(str(facts["score"])):.2f}</b>'
    return score + "".join(f"<span>{span}</span>" for span in spans)


def _suspicion(facts: Mapping[str, object], lang: str) -> str:
    """The highest suspicion where nothing is marked, beside the threshold and told apart from it."""
    score, threshold = float(str(facts["score"])), float(str(facts["threshold"]))
    if score > threshold:
        return say("highest_small", lang, s=f"{score:.2f}", a=facts["min_area_px"])
    if score == threshold:
        return say("highest_at", lang, s=f"{score:.2f}")
    if f"{score:.2f}" != f"{threshold:.2f}":
        return say("highest", lang, s=f"{score:.2f}", t=f"{threshold:.2f}")
    return say("highest", lang, s=f"{math.floor(1000 * score) / 1000:.3f}", t=f"{threshold:.3f}")


def region_count(regions: Sequence[Mapping[str, object]], lang: str) -> str:
    """How many regions there are, and how many findings where some lie so close together that they are one."""
    count, findings = regions_said(len(regions), lang), len({r["finding"] for r in regions})
    if findings == len(regions):
        return count
    together = say("finding_1", lang) if findings == 1 else say("finding_n", lang, n=findings)
    return f'<span title="{say("finding_tip", lang)}">{count} {together}</span>'

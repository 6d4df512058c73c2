"""Two images compared: plain sentences from the two measured masks; nothing in them comes from the model's words."""

from __future__ import annotations

from typing import Any, cast

from agvas_core.regions import speck_px
from demo.i18n import percent, regions_said, say
from demo.replies import Reply
from demo.session import Session
from demo.verdict import is_borderline

EQUAL_SHARE = 0.05  # of the larger area: smaller differences are none


def name_of(session: Session, reply: Reply, lang: str) -> str:
    """Return "Image 2", by its place in the conversation."""
    ids = list(session.seen)
    image_id = reply.request.image_id
    return say("image_n", lang, n=ids.index(image_id) + 1) if image_id in ids else say("photo", lang)


def sentences(session: Session, reply: Reply, lang: str) -> list[str]:
    """Return a verdict sentence for each image and what differs; empty until both masks are there."""
    other = reply.compared
    if other is None or not (reply.facts and other.facts) or not reply.card.trained:
        return []
    names = name_of(session, reply, lang), name_of(session, other, lang)
    lines = [verdict_of(session, part, lang) for part in (reply, other)]
    lines.append(_difference(names, reply.facts, other.facts, lang))
    better = _better(reply.facts, other.facts)
    if better is not None:
        lines.append(say("compare_better", lang, name=names[better]))
    if any(_moved(reply.facts, other.facts, key) for key in ("threshold", "alpha", "min_area_px")):
        lines.append(say("compare_settings", lang))
    return lines


def _better(a: dict[str, Any], b: dict[str, Any]) -> int | None:
    """Return which of two has less marked, in number and in area; None where these differ or do not tell."""
    if "other" in (a["verdict"], b["verdict"]):  # something that is not marked was found
        return None
    regions, share = len(a["regions"]) - len(b["regions"]), a["area_percent"] - b["area_percent"]
    if regions * share < 0 or _equal(a, b):
        return None
    return int(share > 0)


def _equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Return whether two marked shares are as good as equal."""
    shares = a["area_percent"], b["area_percent"]
    return abs(shares[0] - shares[1]) <= EQUAL_SHARE * max(shares)


def _moved(a: dict[str, Any], b: dict[str, Any], key: str) -> bool:
    """Return whether a slider stands otherwise; the size of a speck, which each photo has, is no one's choice."""
    if key != "min_area_px":
        return a[key] != b[key]
    return max(a[key], speck_px(b["size_hw"])) != max(b[key], speck_px(a["size_hw"]))


def verdict_of(session: Session, reply: Reply, lang: str) -> str:
    """Return a sentence about one image's mask: "Image 2: no anomaly found ..."."""
    name, facts = name_of(session, reply, lang), cast(dict[str, Any], reply.facts)
    score = f"{facts['score']:.2f}"
    if facts["verdict"] == "normal":
        return say("compare_borderline" if is_borderline(facts) else "compare_normal", lang, name=name, s=score)
    kinds = sorted({r["kind"] for r in facts["regions"] if r["kind"]})
    listed = f" ({', '.join(say(kind, lang) for kind in kinds)})" if kinds else ""
    return say(
        "compare_anomaly", lang, name=name, s=score, regions=regions_said(len(facts["regions"]), lang) + listed,
        share=percent(facts["area_percent"]),
    )  # fmt: skip


def points_said(points: float) -> str:
    """Return a difference in percentage points with as many digits as it needs."""
    return f"{points:.1f}" if points >= 0.95 else f"{points:.2g}"


def _difference(names: tuple[str, str], a: dict[str, Any], b: dict[str, Any], lang: str) -> str:
    count = len(a["regions"]) - len(b["regions"])
    points = a["area_percent"] - b["area_percent"]
    equal = _equal(a, b)
    if not count and equal:
        return say("compare_same", lang)
    regions = say("compare_as_many", lang)
    if count:
        regions = say("compare_more" if count > 0 else "compare_fewer", lang, regions=regions_said(abs(count), lang))
    area = say("compare_larger" if points >= 0 else "compare_smaller", lang, p=points_said(abs(points)))
    if equal:
        area = say("compare_equal_area", lang)
    return say("compare_both", lang, a=names[0], b=names[1], regions=regions, area=area)

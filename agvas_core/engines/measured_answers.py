"""Answers that the measured mask gives better than the language model: what a question singles out, and its size.

The bundled model was never taught "how big is region 3?" or "how many are on the right?"; it told of the largest
defect, or of all of them. Such questions are answered here, from what the mask measures; all others stay with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from agvas_core.asking import HOW_MANY
from agvas_core.engines.pointing import Finding, groups, meant, numbers_in, parts, sides_in, singles_by, told_apart
from agvas_core.engines.ruler import NO_SCALE, Ruler, against_limit, asks_limit, the
from agvas_core.kinds import kind_words, kinds_in
from agvas_core.prompts import format_percent
from agvas_core.wording import a, at, capital, join, number, placed, smaller_ones

NO_DEPTH = "I cannot say how deep anything is: a photo shows no depth."
MOST_LISTED = 6

_SIZE = re.compile(
    r"\bhow (?:big|large|small|wide|long|high|tall)\b|\b(?:what|which) (?:is the )?(?:size|area)\b"
    r"|\b(?:size|area|diameter) (?:of|in)\b|\bhow (?:many|much) (?:px|pixels?|per ?cent|%|area)\b"
    r"|\bwhat (?:share|per ?cent\w*|fraction)\b|\bcovers?\b"
)
_ALL_OF_IT = re.compile(
    r"\bhow much of\b|\bhow many per ?cent\b"
    r"|\bwhat (?:share|per ?cent\w*|fraction|part) of the (?:image|picture|photo|part|surface)\b.*"
    r"\b(?:damaged|defective|marked|covered|affected|bad)\b|\btotal (?:area|size)\b"
)
_LISTS = re.compile(
    r"^(?:please |can you |now |and )*(?:list|enumerate|tabulate)\b|\b(?:list|tabulate|enumerate|table of)\b"
    r".*\b(?:defects?|findings?|regions?|anomal\w+|them|everything|all|sizes?)\b"
    r"|\b(?:what|which) are (?:the|their) sizes\b|\bsizes of (?:all|the|each)\b"
)
_LENGTH = re.compile(r"\bhow (?:long|wide|high|tall)\b|\blength\b|\bwidth\b")
_ONLY_ONE = re.compile(r"^(?:and |so |but )*(?:is|are) .*\bthe only\b")
_EDGE = re.compile(r"\b(?:how (?:far|close|near)|distance)\b.*\b(?:edge|border|rim)\b")
_ROUND = re.compile(r"^(?:and |so |but )*(?:is|are|how) .*\b(?:round|circular|elongated|oblong|square|thin)\b")
_COMPARE = re.compile(
    r"(?:^(?:please |can you |now )*compare (?:the |both|all|them|these|those|regions?)\b|\bdifference between )"
    r"(?!.*\b(?:image|photo|picture)s?\b)"
)
_DEPTH = re.compile(r"\bhow deep\b|\bdepth\b|\b(?:is|are|looks?) .*\bdeep\b|\b(?:all the way|right) through\b")
_APART = re.compile(r"\bhow (?:far apart|close together)\b|\bdistance between\b")
_BOX = re.compile(
    r"\bcoordinates?\b|\bbounding box\w*\b|\bbox(?:es)?\b|\bexact(?:ly)?\b|\bposition\b|\bpixel position\b"
)
_ITS_SIZE = re.compile(
    r"^(?:and |so )*(?:what|give|tell)\b.*\b(?:its|their|the) (?:size|area|diameter|dimension)s?\b(?! of\b)"
)
_TABLE = re.compile(r"\btable\b|\btabulate\b")
_UNITS = re.compile(r"\b(?:mm|millimet\w+|cm|centimet\w+|inch\w*|µm|microns?|micromet\w+)\b")
_IN_UNITS = re.compile(rf"(?:and |please |now |ok )*in {_UNITS.pattern}")
_LARGER = re.compile(r"\b(?:bigger|larger|smaller)\b")
_ASKS_WHICH = re.compile(r"^(?:and |so |but |ok )*(?:is|are|does|do|which|what)\b")
_TOGETHER = re.compile(r"\b(?:together|altogether|in (?:all|total))\b")
_WHICH = re.compile(r"\b(?:which|what)\b")
_ASKS = re.compile(
    r"^(?:and |so |but |ok |please )*(?:where|what|which|is there|are there|do you see|can you see|any"
    r"|(?:is|are) .*\b(?:clean|ok|okay|good|fine|intact|perfect|undamaged|free of)\b)"
)
# what only the language model has words for
_BEYOND = re.compile(
    r"\b(?:caus\w+|why|reasons?|mean\w*|serious|severe|critical|bad|worse|should|normal|looks?|colou?r|shape|do about"
    r"|fix\w*|repair\w*|happen\w*|sure|certain|confiden\w+|score|made|wrong|recommend\w*|next)\b"
)


def measured_answer(question: str, findings: Sequence[Finding], ruler: Ruler | None = None) -> str | None:
    """Return the answer to a question that singles findings out or asks for their sizes, None for all others.

    Args:
        question: the user's own words.
        findings: what the mask shows, largest first, with their regions' numbers.
        ruler: of that mask; without one, nothing is said of lengths.
    """
    text, findings = question.strip().casefold().replace("’", "'"), told_apart(findings)
    if findings and _DEPTH.search(text):
        return NO_DEPTH
    if _BEYOND.search(text) or (kinds_in(text) and not all(f.kind for f in findings)):
        return None
    if not findings:
        return _of_nothing(question, text)
    if _LARGER.search(text) and _ASKS_WHICH.match(text) and (said := _compared(text, findings)):
        return said
    if _ONLY_ONE.search(text):
        return _only_one(findings)
    wanted, unwanted = parts(question)
    if unwanted.strip(" ;?.!"):
        return None
    named = meant(wanted, findings)
    asked_about = findings if named is None else [f for f in findings if f.numbers & named]
    if ruler and asks_limit(text):
        return against_limit(text, asked_about, ruler) if asked_about else f"{capital(_nothing(wanted))}."
    if asked_about and _EDGE.search(text) and (said := _from_edge(asked_about, ruler)):
        return said
    if asked_about and ruler and _ROUND.search(text):
        return _how_round(asked_about, ruler)
    length = _LENGTH.search(text) and (ruler or len(findings) == 1)
    listed = any(asked.search(text) for asked in (_LISTS, _BOX, _ITS_SIZE, _COMPARE))
    if named is None and (listed or length or _asks_in_units(text)):
        return _sizes(wanted, findings, text, ruler)
    if _ALL_OF_IT.search(text) and named is None:
        share = format_percent(sum(f.percent for f in findings))
        all_of_them = f"The {number(len(findings))} findings cover" if len(findings) > 1 else "What is marked covers"
        return f"{all_of_them} about {share} % of the image in all."
    if re.search(r"\bis (?:there )?(?:more|less) than\b", text) and not kinds_in(text):
        return None  # "is more than 5 % damaged?"
    if named is None:
        return None
    if _APART.search(text) and len(asked_about) == 2:
        return _apart(asked_about[0], asked_about[1], ruler)
    if HOW_MANY.search(text) and not _SIZE.search(text):
        return _count(wanted, asked_about)
    if HOW_MANY.search(text):  # "how many are there, and how big is the largest?"
        return _count_and_sizes(text, findings, ruler)
    if _SIZE.search(text) or _BOX.search(text) or _LISTS.search(text):
        return _sizes(wanted, asked_about, text, ruler)
    if _ASKS.match(text) and singles_by(wanted, "number", "side", "size"):
        return _what(wanted, asked_about)
    return None


def _of_nothing(question: str, text: str) -> str | None:
    """Return that there is nothing where a question looks for something; None where it names neither place nor number.

    The bundled model told of a shadow, or declined.
    """
    wanted, _ = parts(question)
    looks = _ASKS.match(text) or _ASKS_WHICH.match(text) or _SIZE.search(text) or _BOX.search(text)
    if not looks or not singles_by(wanted, "number", "side") or kinds_in(text):
        return None
    return f"{capital(_nothing(wanted))}{': nothing is marked' if numbers_in(wanted) else ''}."


def _only_one(findings: Sequence[Finding]) -> str:
    """Return whether there is one finding, and what there is."""
    if len(findings) == 1:
        return f"Yes: nothing is marked but {the(findings[0])}."
    return f"No. {_count('', findings)}"


def _from_edge(there: Sequence[Finding], ruler: Ruler | None) -> str | None:
    """Return how far findings are from the image's nearest edge, None where that was not measured."""
    told = []
    for f in there[:MOST_LISTED]:
        if ruler is None or f.box_xyxy is None:
            return None
        (left, top, right, bottom), (height, width) = f.box_xyxy, ruler.prediction.size_hw
        gaps = {"left": left, "top": top, "right": width - right, "bottom": height - bottom}
        side = min(gaps, key=gaps.__getitem__)
        mm = f" ({ruler.scale.length(gaps[side])})" if ruler.scale else ""
        far = f"is {gaps[side]:,} px{mm} from" if gaps[side] else "touches"
        told.append(f"{the(f)} {far} the {side} edge of the image")
    return f"{capital(join(told))}."


def _how_round(there: Sequence[Finding], ruler: Ruler) -> str:
    """Return how many times as long as wide findings are."""
    told = []
    for f in there[:MOST_LISTED]:
        length, width = ruler.reach(f)
        told.append(f"{the(f)} is {length / max(width, 1.0):.1f} times as long as it is wide")
    return f"{capital(join(told))}."


def _compared(text: str, findings: Sequence[Finding]) -> str | None:
    """Return which of two is the larger, None where not two are named."""
    sides = [side for side in groups(text, findings) if side]
    if len(sides) == 1 and len(sides[0]) == 2 and _WHICH.search(text):
        large, small = sorted(sides[0], key=lambda f: -f.percent)
        return f"{capital(the(large))} is larger: {_share(large)}, {the(small)} {_share(small)}."
    if len(sides) != 2 or sides[0] == sides[1]:
        return None
    first, second = (max(side, key=lambda f: f.percent) for side in sides)
    if first is second:
        return None
    larger = first.percent > second.percent
    yes = "Yes" if larger != ("smaller" in text) else "No"
    return f"{yes}: {the(first)} covers {_share(first)} of the image, {the(second)} {_share(second)}."


def _asks_in_units(text: str) -> bool:
    """Whether a question asks for sizes in mm, be it "in mm please" alone."""
    return bool(_UNITS.search(text) and (_SIZE.search(text) or _IN_UNITS.match(text)))


def _apart(one: Finding, other: Finding, ruler: Ruler | None) -> str | None:
    """Return how far the middles of two findings' boxes are from each other, None where they were not measured."""
    if one.box_xyxy is None or other.box_xyxy is None:
        return None
    (x, y), (x2, y2) = (((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in (one.box_xyxy, other.box_xyxy))
    px = math.hypot(x - x2, y - y2)
    scale = f" ({ruler.scale.length(px)})" if ruler and ruler.scale else ""
    return f"From the middle of {the(one)} to that of {the(other)} it is about {px:,.0f} px{scale}."


def _count(wanted: str, there: Sequence[Finding]) -> str:
    if not there:
        return f"None: {_nothing(wanted)}."
    kinds = {f.kind for f in there}
    words = kind_words(next(iter(kinds))) if len(kinds) == 1 and "" not in kinds else None
    noun = (words.one if len(there) == 1 else words.many) if words else ("finding" if len(there) == 1 else "findings")
    if len(there) > MOST_LISTED:
        return f"I count {number(len(there))} {noun}: see the list beside the mask."
    if words:
        lie = "It lies" if len(there) == 1 else "They lie"
        return f"I count {number(len(there))} {noun}. {lie} {join(list(dict.fromkeys(at(f.place) for f in there)))}."
    return f"I count {number(len(there))} {noun}: {join(placed([(f.kind, f.place) for f in there]))}."


def _count_and_sizes(text: str, findings: Sequence[Finding], ruler: Ruler | None) -> str | None:
    """Return the answers to a question of two clauses, None where one clause asks for both."""
    clauses = re.split(r"[,;.?]|\band\b", text)
    counts = next((c for c in clauses if HOW_MANY.search(c) and not _SIZE.search(c)), None)
    sizes = next((c for c in clauses if _SIZE.search(c) and not HOW_MANY.search(c)), None)
    if counts is None or sizes is None:
        return None
    counted = _named(counts, findings)
    return f"{_count(counts, counted)} {_sizes(sizes, _named(sizes, counted), text, ruler)}"


def _named(words: str, among: Sequence[Finding]) -> Sequence[Finding]:
    """Return the findings that words name, all where they name none."""
    named = meant(words, among)
    return among if named is None else [f for f in among if f.numbers & named]


def _sizes(wanted: str, there: Sequence[Finding], text: str, ruler: Ruler | None) -> str:
    """Return how large findings are and how far they reach, as a question wants it: together, with their boxes."""
    box, together = bool(_BOX.search(text)), bool(_TOGETHER.search(text))
    scale = ruler.scale if ruler else None
    unknown = f" {NO_SCALE}" if _UNITS.search(text) and scale is None else ""
    measures = ruler if scale or _LENGTH.search(text) else None
    if not there:
        return f"{capital(_nothing(wanted))}."
    if _TABLE.search(text):
        return _table(there, ruler if scale else None)
    if together:
        area = f" ({scale.area(sum(f.area_px for f in there))})" if scale else ""
        return (
            f"Together they cover about {format_percent(sum(f.percent for f in there))} % of the image{area}.{unknown}"
        )
    told = [f"{the(f)} covers about {_share(f)} of the image{_px(f, measures, box=box)}" for f in there[:MOST_LISTED]]
    return f"{capital(join([*told, *smaller_ones(len(there) - MOST_LISTED)]))}.{unknown}"


def _table(there: Sequence[Finding], ruler: Ruler | None) -> str:
    """Return findings as a table in markdown, with their boxes; ruler: by which their sizes are in millimeters."""
    rows = ["| region | kind | where | share | size | box (left, top, right, bottom) |", "|---|---|---|---:|---:|---|"]
    for f in there:
        regions, box = ", ".join(map(str, sorted(f.numbers))), ", ".join(map(str, f.box_xyxy or ()))
        size = ruler.told(f) if ruler else f"{f.area_px:,} px"
        rows.append(f"| {regions} | {f.noun} | {f.place} | {_share(f)} | {size} | {box} |")
    return "\n".join(rows)


def _what(wanted: str, there: Sequence[Finding]) -> str:
    if not there:
        return f"{capital(_nothing(wanted))}."
    if numbers := numbers_in(wanted):
        told = [
            f"region {n} is {_whole_or_part(f)} {at(f.place)}, {_share(f)} of the image"
            for f in there
            for n in sorted(f.numbers & numbers) or [min(f.numbers)]
        ]
        return f"{capital(join(told[:MOST_LISTED]))}."
    told = [f"{a(f.noun)} {at(f.place)} ({_share(f)} of the image)" for f in there[:MOST_LISTED]]
    that = "That is" if len(told) == 1 else "Those are"
    return f"{that if singles_by(wanted, 'size') else 'I see'} {join(told)}."


def _nothing(wanted: str) -> str:
    """Return "I see no hole on the left" of what was asked for."""
    kinds = " or ".join(kind_words(kind).one for kind in sorted(kinds_in(wanted)))
    numbers = [str(n) for n in sorted(numbers_in(wanted)) if n > 0]
    if numbers:
        return f"there is no region {' or '.join(numbers)}"
    sides = sorted(sides_in(wanted), key=("upper", "lower", "left", "right").index)
    where = f" {at(_place(sides))}" if sides else ""
    like = " like that" if singles_by(wanted, "size") or not kinds else ""
    return f"I see {f'no {kinds}' if kinds else 'nothing unusual'}{where or like}"


def _place(sides: Sequence[str]) -> str:
    alone = {"upper": "top", "lower": "bottom"}
    return " ".join(sides) if len(sides) > 1 else alone.get(sides[0], sides[0])


def _whole_or_part(finding: Finding) -> str:
    """Return what one of a finding's regions is: "a hole", or "part of a hole"."""
    return f"{'part of ' if len(finding.numbers) > 1 else ''}{a(finding.noun)}"


def _share(finding: Finding) -> str:
    return f"{format_percent(finding.percent)} %"


def _px(finding: Finding, ruler: Ruler | None, *, box: bool) -> str:
    """Return "(1,492 px, in 40 x 60 px)", with box "(1,492 px, x 300 to 340, y 20 to 80)", with a ruler its lengths."""
    if not finding.area_px:
        return ""
    if finding.box_xyxy is None:
        return f" ({finding.area_px:,} px)"
    left, top, right, bottom = finding.box_xyxy
    corners = f"x {left} to {right}, y {top} to {bottom}"
    if ruler is not None:
        return f" ({ruler.told(finding)}{f', {corners}' if box else ''})"
    return f" ({finding.area_px:,} px, {corners if box else f'in {right - left} x {bottom - top} px'})"

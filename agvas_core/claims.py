"""What words claim: kinds of defects, places, numbers and the verdict, read out of a reply."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agvas_core.counting import COUNT_WORDS
from agvas_core.kinds import ENGLISH
from agvas_core.regions import PLACES

_ANY_KIND = "|".join(f"(?:{p})" for p in sorted(ENGLISH.values(), key=len, reverse=True))
_DEFECT = r"(?:defects?|anomal(?:y|ies)|flaws?|faults?|abnormal (?:areas?|regions?|parts?))"

_NUMBER = rf"(?:{'|'.join(COUNT_WORDS)}|\d{{1,3}})"
_ADJECTIVES = r"(?:[a-z][a-z-]*\s+){0,4}?"
# "no scratch", "without any visible stain": what is named is denied
_DENIED = re.compile(
    r"\b(?:no|not an?|without(?: any)?|free of|nor|neither)\s+(?:(?!but\b|only\b)[a-z-]+\s+){0,2}?"
    rf"(?:{_ANY_KIND}|{_DEFECT})\b(?:\s+or\s+(?:{_ANY_KIND}|{_DEFECT})\b)*"
)
_NORMAL = re.compile(
    rf"\b(?:no|without(?: any)?|free of|not any)\s+(?:(?!other\b|further\b|more\b)[a-z]+\s+){{0,2}}?{_DEFECT}\b"
    r"|\bnothing\s+(?:is\s+)?(?:unusual|abnormal|wrong|stands out|breaks)"
    r"|\b(?:looks?|is|appears?|seems?)\s+(?:to be\s+)?(?:completely |quite |perfectly )?"
    r"(?:normal|as it should|fine|ok|okay)\b|^\s*normal\b"
)
_EXPLICIT_COUNT = re.compile(rf"\b({_NUMBER})\s+(?:(?!weave|weaving|printing)[a-z-]+\s+){{0,2}}?{_DEFECT}\b")
_COUNTED_KIND = re.compile(rf"\b(an?|another|{_NUMBER})\s+(?:more\b|{_ADJECTIVES}(?:{_ANY_KIND})\b)")

# what stands before a kind: article or number, then adjectives
_COUNTS = rf"an?|another|the|{_NUMBER}"
_BEFORE_KIND = re.compile(rf"\b({_COUNTS})\s+((?:(?!(?:{_COUNTS}|and)\b)[a-z][a-z-]*\s+){{0,4}})$")
_SIZE = re.compile(r"\b(?:small|medium-sized|large)\b")

_ROW = {"upper": "upper", "top": "upper", "lower": "lower", "bottom": "lower"}
_PLACE = re.compile(
    r"\b(upper|top|lower|bottom)[\s-]+(?:(?:part|side|corner) )?(left|right)\b"
    r"|\b(left|right)[\s-]+(upper|top|lower|bottom)\b"
    r"|\b(cent(?:er|re)|middle)\b|\b(top|bottom|upper|lower|left(?! (?:from|over|behind)\b)|right)\b"
)


@dataclass(frozen=True)
class ReplyFacts:
    """What a reply claims.

    Attributes:
        kinds: names in kinds.ENGLISH that it says are there.
        places: members of regions.PLACES that it names.
        count: how many defects it speaks of, 0 for a normal verdict, None when it does not say.
        says_normal: it says that nothing is wrong.
    """

    kinds: frozenset[str]
    places: frozenset[str]
    count: int | None
    says_normal: bool


@dataclass(frozen=True)
class Mention:
    """A defect that a sentence speaks of.

    Attributes:
        kind: its name in kinds.ENGLISH.
        place: the member of regions.PLACES that is said of it, or None.
        number: how many of them, 1 for "a scratch", None for "the scratch".
        size: "small", "medium" or "large", or None.
    """

    kind: str
    place: str | None
    number: int | None
    size: str | None


def mentions(sentence: str) -> list[Mention]:
    """Return the defects that a sentence says are there, in its order."""
    text = _claimed(_plain(sentence))
    places = list(_places_at(text))
    found = _kinds_at(text)
    first = found[0][0] if found else 0
    leading = next((place for at, place in places if at < first), None)  # "in the upper left I see a pit"
    out = []
    for n, (start, end, kind) in enumerate(found):
        limit = found[n + 1][0] if n + 1 < len(found) else len(text)
        own = next((place for at, place in places if end <= at < limit), None)
        before = _BEFORE_KIND.search(text[:start])
        size = _SIZE.search(before[2]) if before else None
        number = None if before is None or before[1] == "the" else _number(before[1])
        out.append(Mention(kind, own or leading, number, size[0].removesuffix("-sized") if size else None))
        leading = None if own else leading
    return out


def list_at(sentence: str) -> int | None:
    """Return where a sentence begins to list defects ("two scratches and a hole"), or None."""
    found = _kinds_at(sentence.lower())
    before = _BEFORE_KIND.search(sentence[: found[0][0]].lower()) if found else None
    return before.start() if before and before[1] != "the" else None


def with_count(sentence: str, count: str) -> str:
    """Return a sentence with another number of defects where it says one."""
    match = _EXPLICIT_COUNT.search(sentence.lower())
    return sentence if match is None else sentence[: match.start(1)] + count + sentence[match.end(1) :]


def denied_kinds(sentence: str) -> frozenset[str]:
    """Return the kinds of which a sentence says that there is none."""
    text = _without_normal_looks(_plain(sentence))
    return frozenset(kind for denial in _DENIED.finditer(text) for _, _, kind in _kinds_at(denial[0]))


def said_count(sentence: str) -> int | None:
    """Return the number in "three defects", or None."""
    match = _EXPLICIT_COUNT.search(_plain(sentence))
    return _number(match[1]) if match else None


def places_in(text: str) -> frozenset[str]:
    """Return the members of regions.PLACES that words name."""
    return _places(_plain(text))


def _plain(text: str) -> str:
    text = re.sub(r"\[(?:NOR|ANO|SEG)\]|<measured>.*?</measured>", " ", text).lower()
    return re.sub(r"\s+", " ", text)


def _claimed(text: str) -> str:
    """Return plain text without what it denies."""
    return _DENIED.sub(" ", _without_normal_looks(text))


def _without_normal_looks(text: str) -> str:
    """Return plain text without a surface's own normal look, which is no claim about defects."""
    text = re.sub(r"(?:^|[.:] ?)(?:an? (?:normal|good) |normally |an? [a-z -]+ should )[^.]*\.", ". ", text)
    return re.sub(r"(?<=normal), with [^.]*", "", text)


def _kinds_at(text: str) -> list[tuple[int, int, str]]:
    """Return start, end and name of the kinds in a text; of two at one place the longer."""
    spans = [
        (match.start(), match.end(), kind)
        for kind, pattern in ENGLISH.items()
        for match in re.finditer(rf"\b(?:{pattern})\b", text)
    ]
    longest = sorted(spans, key=lambda span: span[0] - span[1])
    kept: list[tuple[int, int, str]] = []
    for start, end, kind in longest:
        if all(end <= s or e <= start for s, e, _ in kept):
            kept.append((start, end, kind))
    return sorted(kept)


def parse_reply(text: str) -> ReplyFacts:
    """Read the claims out of a reply; anchors, capitals and punctuation do not matter."""
    text = _plain(text)
    claimed = _claimed(text)
    kinds = frozenset(kind for kind, pattern in ENGLISH.items() if re.search(rf"\b(?:{pattern})\b", claimed))
    normal = not kinds and bool(_NORMAL.search(text)) and not re.search(r"\bnot (?:look |be )?normal\b", text)
    return ReplyFacts(kinds, _places(claimed), _count(claimed, normal), normal)


def _places(text: str) -> frozenset[str]:
    found = frozenset(place for _, place in _places_at(re.sub(r"\b(?:all|that is|thats) right\b", "", text)))
    assert found <= set(PLACES)
    return found


def _places_at(text: str) -> Iterator[tuple[int, str]]:
    """Yield where each place begins, and which it is."""
    for match in _PLACE.finditer(text):
        row, col, col_first, row_last, center, single = match.groups()
        if center:
            yield match.start(), "center"
        elif single:
            yield match.start(), {"upper": "top", "lower": "bottom"}.get(single, single)
        else:
            yield match.start(), f"{_ROW[row or row_last]} {col or col_first}"


def _count(text: str, normal: bool) -> int | None:
    if normal:
        return 0
    if match := _EXPLICIT_COUNT.search(text):
        return _number(match[1])
    # the sentence that lists the most: later ones speak of the same defects again
    sums = [
        sum(_number(m[1]) for m in _COUNTED_KIND.finditer(sentence)) for sentence in re.split(r"[.!?] |[.!?]$", text)
    ]
    return max(sums, default=0) or None


def _number(word: str) -> int:
    return COUNT_WORDS.get(word) or (int(word) if word.isdigit() else 1)

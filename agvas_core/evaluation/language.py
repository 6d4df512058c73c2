"""Are the words right? Read kind, place, count and verdict out of a reply, and compare them with the facts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from agvas_core.kinds import ENGLISH
from agvas_core.regions import PLACES
from agvas_core.synthesis.facts import SceneFacts

_ANY_KIND = "|".join(f"(?:{p})" for p in sorted(ENGLISH.values(), key=len, reverse=True))
_DEFECT = r"(?:defects?|anomal(?:y|ies)|flaws?|faults?|abnormal (?:areas?|regions?|parts?))"

_NUMBERS = {w: n for n, w in enumerate("one two three four five six seven eight nine ten eleven twelve".split(), 1)}
_NUMBER = rf"(?:{'|'.join(_NUMBERS)}|\d{{1,3}})"
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

FACTS = ("normal", "kind", "place", "count")
# What a true answer to a family of questions (Exchange.kind) always says.
JUDGED: Mapping[str, tuple[str, ...]] = {
    "describe": FACTS, "describe_plus": FACTS, "explain": FACTS, "report": FACTS, "where": ("normal", "kind", "place"),
    "count": ("normal", "kind", "count"), "any": ("normal", "kind", "count"), "ok": ("normal", "kind", "count"),
    "what": ("normal", "kind", "count"),
}  # fmt: skip

_ROW = {"upper": "upper", "top": "upper", "lower": "lower", "bottom": "lower"}
_PLACE = re.compile(
    r"\b(upper|top|lower|bottom)[\s-]+(?:(?:part|side|corner) )?(left|right)\b"
    r"|\b(left|right)[\s-]+(upper|top|lower|bottom)\b"
    r"|\b(cent(?:er|re)|middle)\b|\b(top|bottom|upper|lower|left|right)\b"
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


def parse_reply(text: str) -> ReplyFacts:
    """Read the claims out of a reply; anchors, capitals and punctuation do not matter."""
    text = re.sub(r"\[(?:NOR|ANO|SEG)\]|<measured>.*?</measured>", " ", text).lower()
    text = re.sub(r"\s+", " ", text)
    claimed = _DENIED.sub(" ", text)
    # the surface's own normal look is not a claim about defects
    claimed = re.sub(r"(?:^|[.:] ?)(?:an? (?:normal|good) |normally )[^.]*\.", ". ", claimed)
    claimed = re.sub(r"(?<=normal), with [^.]*", "", claimed)
    kinds = frozenset(kind for kind, pattern in ENGLISH.items() if re.search(rf"\b(?:{pattern})\b", claimed))
    normal = not kinds and bool(_NORMAL.search(text)) and not re.search(r"\bnot (?:look |be )?normal\b", text)
    return ReplyFacts(kinds, _places(claimed), _count(claimed, normal), normal)


def _places(text: str) -> frozenset[str]:
    found = set()
    for match in _PLACE.finditer(re.sub(r"\b(?:all|that is|thats) right\b", "", text)):
        row, col, col_first, row_last, center, single = match.groups()
        if center:
            found.add("center")
        elif single:
            found.add({"upper": "top", "lower": "bottom"}.get(single, single))
        else:
            found.add(f"{_ROW[row or row_last]} {col or col_first}")
    assert found <= set(PLACES)
    return frozenset(found)


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
    return _NUMBERS.get(word) or (int(word) if word.isdigit() else 1)


def score_reply(reply: str, scene: SceneFacts, judged: Collection[str] = FACTS) -> dict[str, bool]:
    """Return which facts a reply about the whole image has right, of those that are judged (see JUDGED).

    "normal" (the verdict) always; for a scene with defects also "kind" and "place" (the largest defect's are named) and
    "count"; a fact that the reply leaves out is wrong.
    """
    facts = parse_reply(reply)
    if not scene.defects:
        return {"normal": facts.says_normal}
    largest = scene.defects[0]
    right = {
        "normal": not facts.says_normal,
        "kind": largest.kind in facts.kinds,
        "place": largest.place in facts.places,
        "count": facts.count == len(scene.defects),
    }
    return {name: value for name, value in right.items() if name in judged}


@dataclass(frozen=True)
class LanguageScore:
    """Scores of many replies added up.

    Attributes:
        right: per fact, replies that had it right.
        asked: per fact, replies that were judged on it.
    """

    right: Mapping[str, int] = field(default_factory=dict)
    asked: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, scores: Iterable[Mapping[str, bool]]) -> LanguageScore:
        """Add up what score_reply returned."""
        right: dict[str, int] = {}
        asked: dict[str, int] = {}
        for score in scores:
            for name, correct in score.items():
                right[name] = right.get(name, 0) + int(correct)
                asked[name] = asked.get(name, 0) + 1
        return cls(right, asked)

    def __add__(self, other: LanguageScore) -> LanguageScore:
        """Return both together."""
        names = dict.fromkeys((*self.asked, *other.asked))
        return LanguageScore(
            {n: self.right.get(n, 0) + other.right.get(n, 0) for n in names},
            {n: self.asked.get(n, 0) + other.asked.get(n, 0) for n in names},
        )

    def rates(self) -> dict[str, float]:
        """Return the share of right replies per fact, 0 to 1."""
        return {name: self.right.get(name, 0) / n for name, n in self.asked.items() if n}

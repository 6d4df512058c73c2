"""Which findings of a mask words mean: by number, kind, place and size, and which they leave out.

A sentence is read as what is wanted and what is left out ("everything but the stain"), each of them as pieces joined by
"and", each piece as a number, or as kinds at places, of which the sizes say how many.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agvas_core.asking import pointing_words
from agvas_core.counting import COUNT_WORDS, LAST, NUMBERED, ORDINALS, count_of, listed_numbers, nth_numbers
from agvas_core.kinds import ENGLISH, asked_pattern, kind_words, kinds_in
from agvas_core.regions import place_of
from agvas_core.structures import Prediction, Region

_SMALLEST, _LARGEST = 1, -1
_COUNT = rf"(?:\d{{1,2}}|{'|'.join(COUNT_WORDS)})"
_LARGE = r"(?:largest|biggest|main|worst)"
_SMALL = r"(?:smallest|tiniest|least)"
_SIZES = (
    (_LARGEST, re.compile(rf"\b{_LARGE}\b|\b(?:larger|bigger)\b(?! than)|\b(?:big|large) one\b|最大"), _LARGE),
    (_SMALLEST, re.compile(rf"\b{_SMALL}\b|\bsmaller\b(?! than)|\b(?:small|tiny|little) one\b|最小"), _SMALL),
)
_AT_MOST = re.compile(rf"\b(?:at most|no more than|up to) ({_COUNT})\b(?!\s*(?:%|per ?cent|px|pixels?|mm|cm))")
_BOUND = re.compile(
    r"\b(?:(?P<above>(?:larger|bigger|greater|more|longer|wider|broader|thicker) than|above|over|at least)"
    r"|(?P<below>(?:smaller|less|shorter|narrower|thinner) than|below|under|at most|no more than|up to))"
    r"\s+(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>%|per ?cent|px|pixels?)(?P<sure> (?:sure|certain|confiden\w+|likely))?"
)
_LENGTH, _WIDTH = re.compile(r"longer|shorter"), re.compile(r"wider|broader|thicker|narrower|thinner")
# word: (axis of (y, x), how the centre is sorted, part of the place's name)
_SIDES = (
    (re.compile(r"\bleft(?:-?most)?\b|左"), 1, 1, "left"),
    (re.compile(r"\bright(?:-?most)?\b|右"), 1, -1, "right"),
    (re.compile(r"\b(?:upper|top)(?:most)?\b|上方|上面|上边"), 0, 1, "upper"),
    (re.compile(r"\b(?:lower|bottom)(?:most)?\b|下方|下面|下边"), 0, -1, "lower"),
)
_MIDDLE = re.compile(r"\b(?:cent(?:er|re)|middle)\b|中间|中央")
_HALF = re.compile(r"\bhal(?:f|ves)\b|半")
_SAME_SIDE = {"top": "upper", "bottom": "lower"}  # as regions.PLACES names the middle column
# "the left one", "the leftmost defect", "the left stain": one is meant, be it in the middle
_ANY_KIND = "|".join(asked_pattern(kind) for kind in ENGLISH)
_ONE_OF_THEM = re.compile(
    r"\bones?\b|\b(?:left|right|top|bottom|upper|lower)-?most\b"
    rf"|\b(?:left|right|top|bottom|upper|lower)\s+(?:\w+\s+)?(?:{_ANY_KIND})"
)
_NTH_KIND = re.compile(rf"\b({'|'.join(ORDINALS)}) (?:{_ANY_KIND})")  # by size, as regions are numbered
_ANY = re.compile(r"\b(?:ones?|defects?|anomal\w+|flaws?|faults?|findings?|regions?)\b")
# what only says where something is: "the hole next to the stain", "left of the crack"
_LANDMARK = re.compile(
    r"\b(?:next to|near(?:est)?(?: to)?|clos(?:e|er|est) to|beside|(?<!difference )between|away from|far from)"
    r"(?! (?:the |its )?(?:left|right|top|bottom|upper|lower|cent|middle|edge|corner)) (?:the |an? )?(?:\w+ )?\w+"
    rf"|\b(?:to the )?(?:left|right) of (?:the |an? )?(?:\w+ )?(?:{_ANY_KIND}|region\b)"
)
_THAN = re.compile(r"\b(?P<way>larger|bigger|smaller) than (?P<what>(?:the |region|#).*)")
_ARTICLE = re.compile(r"^(?:on |in |at |of )*(?:the|an?|any|all|both|that|those)\b")
_JOINED = re.compile(
    r"\s*(?:\b(?:and(?! (?:larger|bigger|smaller|more|less|above|below|under|over)\b)|or|nor|plus|as well as)\b"
    r"|[;&、]|和|以及|还有|,(?=\s*(?:the|an?|all|both|region)\b))\s*"
)
_MARK = r"(?:mark|segment|show|outline|highlight|circle|report|include|keep|want)"
_TURNS = re.compile(
    r"(?P<out>(?:\bexcept(?: for)?\b|\bbut (?:not|no)\b|\b(?:other than|apart from|aside from|besides|without)\b"
    rf"|\boutside(?: of)?\b|\b(?:do not|don['’]?t|never)(?: \w+){{0,3}}? {_MARK}\b"
    r"|\b(?:everything|anything|all)(?: else)? but\b|\b(?:ignor|exclud)(?:e|es|ing)\b|\bdisregard(?:ing)?\b"
    r"|\b(?:skip(?:ping)?|omit(?:ting)?|hid(?:e|ing)|remov(?:e|ing))\b|\bnot interested in\b"
    r"|\bleav(?:e|ing) (?:out\b|(?=.*\bout\b))|\bneither\b"
    r"|\b(?:is|are) not\b|\b(?:is|are)n['’]?t\b|\bnot (?=(?:on|in|at|the|an?)\b))(?: (?:only|just)\b)?|除了|忽略|不要)"
    rf"|(?P<again>(?:[,;]|\b(?:and|but|then|please))\s*{_MARK}\b|\b(?:only|just)\b)"
)


@dataclass(frozen=True)
class Finding:
    """One finding of a mask: regions that lie close together.

    Attributes:
        kind: of defect, "" where it was not read.
        place: a member of regions.PLACES.
        percent: share of the image.
        numbers: of its regions, as they are drawn.
        area_px: its pixels, 0 where they were not counted.
        centre: of its pixels, (y, x) as shares of the image.
        box_xyxy: left, top, right, bottom in px, right and bottom exclusive; None where it was not measured.
        length_px, width_px: see calipers; 0 where they were not measured.
        score: the highest of its regions, from 0 to 1.
        alike: whether another one is of its kind at its place, so that only numbers tell them apart; see told_apart.
    """

    kind: str
    place: str
    percent: float
    numbers: frozenset[int] = frozenset()
    area_px: int = 0
    centre: tuple[float, float] = (0.5, 0.5)
    box_xyxy: tuple[int, int, int, int] | None = None
    length_px: float = 0.0
    width_px: float = 0.0
    score: float = 0.0
    alike: bool = False

    @property
    def noun(self) -> str:
        """What it is called: its kind, or a defect."""
        return kind_words(self.kind).one if self.kind else "defect"

    @property
    def sides(self) -> frozenset[str]:
        """The sides that its place names: left, right, upper, lower."""
        return frozenset(_SAME_SIDE.get(word, word) for word in self.place.split())


def findings_of(prediction: Prediction) -> list[Finding]:
    """Return a mask's findings, largest first, as findings.measure does."""
    parts: dict[int, list[Region]] = {}
    for region in prediction.regions:
        parts.setdefault(region.finding, []).append(region)
    return [_finding(regions, prediction.size_hw) for _, regions in sorted(parts.items())]


def told_apart(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings that know whether kind and place alone name them."""
    named = Counter((f.kind, f.place) for f in findings)
    return [replace(f, alike=named[f.kind, f.place] > 1 and bool(f.numbers)) for f in findings]


def _finding(regions: list[Region], size_hw: tuple[int, int]) -> Finding:
    area = sum(r.area_px for r in regions)
    y, x = (sum(r.area_px * r.centroid_yx[axis] for r in regions) / area for axis in (0, 1))
    lefts, tops, rights, bottoms = zip(*(r.box_xyxy for r in regions), strict=True)
    return Finding(
        kind=regions[0].kind,
        place=place_of(y, x, *size_hw),
        percent=100 * area / (size_hw[0] * size_hw[1]),
        numbers=frozenset(r.index for r in regions),
        area_px=area,
        centre=(y / size_hw[0], x / size_hw[1]),
        box_xyxy=(min(lefts), min(tops), max(rights), max(bottoms)),
        score=max(r.score for r in regions),
    )


def choose(instruction: str, findings: Sequence[Finding]) -> set[int]:
    """Return the numbers of the regions that the words want: those they mean, or all, without those they leave out."""
    wanted, unwanted = parts(instruction)
    chosen, left_out = meant(wanted, findings), meant(unwanted, findings)
    everything = {number for finding in findings for number in finding.numbers}
    return (everything if chosen is None else chosen) - (left_out or set())


def parts(instruction: str) -> tuple[str, str]:
    """Return the words that say what to mark, and those that say what to leave out."""
    pointing = _LANDMARK.sub(" ", pointing_words(instruction))
    words = re.sub(r"\bbut also\b", "and", re.sub(r"\bnot (?:only|just)\b", " ", pointing))
    wanted: list[str] = []
    unwanted: list[str] = []
    into, start = wanted, 0
    for turn in _TURNS.finditer(words):
        into.append(words[start : turn.start()])
        into, start = (unwanted if turn["out"] else wanted), turn.end()
    into.append(words[start:])
    return ";".join(wanted), ";".join(unwanted)


def sides_in(words: str) -> frozenset[str]:
    """Return the sides that words name: left, right, upper, lower."""
    return frozenset(side for pattern, _, _, side in _SIDES if pattern.search(words))


def numbers_in(words: str) -> set[int]:
    """Return the regions' numbers that words name: "region 2", "regions 1 to 3", "#4", "the second one"."""
    return {n for piece in _pieces(words) for n in piece.numbers}


def singles_by(words: str, *ways: Literal["number", "kind", "side", "size"]) -> bool:
    """Return whether words name findings in one of these ways."""
    return any(
        {"number": piece.numbers, "kind": piece.kinds, "side": piece.has_sides, "size": piece.has_size}[way]
        for piece in _pieces(words)
        for way in ways
    )


def meant(words: str, findings: Sequence[Finding]) -> set[int] | None:
    """Return the numbers of the regions that words name, None where they name none ("everything else")."""
    if than := _THAN.search(words):  # "everything larger than the crack"
        others = meant(than["what"], findings)
        measure = [f.percent for f in findings if f.numbers & (others or set())]
        among = meant(words[: than.start()], findings)
        if measure:
            smaller = than["way"] == "smaller"
            there = [f for f in findings if (f.percent < min(measure) if smaller else f.percent > max(measure))]
            return {n for f in there for n in f.numbers if among is None or n in among}
    found = [_meant(piece, findings) for piece in _pieces(words) if piece.says_something]
    return set().union(*found) if found else None


def groups(words: str, findings: Sequence[Finding]) -> list[list[Finding]]:
    """Return the findings that are set side by side: of "is the hole larger than the stain?" two lists."""
    sides = [side for side in (meant(part, findings) for part in re.split(r"\bthan\b", words)) if side is not None]
    return [[f for f in findings if f.numbers & side] for side in sides]


@dataclass(frozen=True)
class _Piece:
    """What is said between two "and"s; kinds may be those of its neighbour."""

    text: str
    kinds: frozenset[str]
    numbers: frozenset[int]

    @property
    def has_sides(self) -> bool:
        return bool(sides_in(self.text) or _MIDDLE.search(self.text))

    @property
    def has_size(self) -> bool:
        sized = any(pattern.search(self.text) for _, pattern, _ in _SIZES)
        return sized or bool(_AT_MOST.search(self.text) or _BOUND.search(self.text))

    @property
    def says_something(self) -> bool:
        return bool(self.numbers or self.kinds or self.has_sides or self.has_size)

    @property
    def has_article(self) -> bool:
        return bool(_ARTICLE.match(self.text))


def _pieces(words: str) -> list[_Piece]:
    """Return the pieces of words; neighbours lend each other what is said once for both."""
    listed = NUMBERED.sub(lambda match: "".join(f" #{n} " for n in listed_numbers(match)), words)
    pieces = [_piece(text.strip()) for text in _JOINED.split(listed)]
    out: list[_Piece] = []
    for n, piece in enumerate(pieces):
        before = pieces[n - 1] if n else None
        after = pieces[n + 1] if n + 1 < len(pieces) else None
        out.append(_lent(piece, before, after))
    return out


def _lent(piece: _Piece, before: _Piece | None, after: _Piece | None) -> _Piece:
    """Return a piece with its neighbours' words that count for it, too."""
    shared = after is not None and after.kinds and not after.has_article
    if piece.numbers or _ANY.search(piece.text):
        return piece
    if piece.kinds:  # "scratches and dents on the left"
        alone = not piece.has_sides and not piece.has_size
        if shared and alone and after is not None and after.has_sides and not piece.has_article:
            return _Piece(f"{piece.text} {after.text}", piece.kinds, piece.numbers)
        return piece
    if after is not None and after.kinds and (piece.has_size and after.has_size or (piece.has_sides and shared)):
        return _Piece(piece.text, after.kinds, piece.numbers)  # "the left and right holes"
    if before is not None and before.kinds and piece.has_sides and not piece.has_size:
        return _Piece(piece.text, before.kinds, piece.numbers)  # "the holes on the left and on the right"
    return piece


def _piece(text: str) -> _Piece:
    return _Piece(text, kinds_in(text), frozenset({*map(int, re.findall(r"#(\d+)", text)), *nth_numbers(text)}))


def _meant(piece: _Piece, findings: Sequence[Finding]) -> set[int]:
    if piece.numbers:
        there = {n for f in findings for n in f.numbers}
        return there & {max(there, default=0) if n == LAST else n for n in piece.numbers}
    chosen = [f for f in findings if not piece.kinds or f.kind in piece.kinds]
    chosen = [f for f in _at(piece.text, chosen) if all(_within(f, bound) for bound in _BOUND.finditer(piece.text))]
    for sized in _by_size(piece.text, chosen):
        chosen = sized
    return {number for finding in chosen for number in finding.numbers}


def _at(text: str, findings: list[Finding]) -> list[Finding]:
    """Return the findings that lie where a piece says."""
    sides = [side for side in _SIDES if side[0].search(text)]
    if not sides:
        return [f for f in findings if f.place == "center"] if _MIDDLE.search(text) else findings
    if _HALF.search(text):
        return [f for f in findings if all(sign * (f.centre[axis] - 0.5) < 0 for _, axis, sign, _ in sides)]
    there = [f for f in findings if all(side in f.sides for _, _, _, side in sides)]
    exact = [f for f in there if len(f.sides) == len(sides)]
    if exact and re.search(r"\bone\b", text):  # beside one in the upper right, "the one on the right"
        there = exact
    if not there and findings and _ONE_OF_THEM.search(text):  # "the left one" of two in the middle
        there = [min(findings, key=lambda f: sum(sign * f.centre[axis] for _, axis, sign, _ in sides))]
    return there


def bounds_length(words: str) -> bool:
    """Return whether words bound how long or wide something is: "longer than 40 px"."""
    return any(_LENGTH.search(bound[0]) or _WIDTH.search(bound[0]) for bound in _BOUND.finditer(words.casefold()))


def _within(finding: Finding, bound: re.Match[str]) -> bool:
    value = 100 * finding.score if bound["sure"] else finding.percent  # "what you are more than 90 % sure of"
    if bound["unit"].startswith("p") and "cent" not in bound["unit"]:
        length, width = _LENGTH.search(bound[0]), _WIDTH.search(bound[0])
        value = finding.length_px if length else finding.width_px if width else finding.area_px
    return value > float(bound["value"]) if bound["above"] else value < float(bound["value"])


def _by_size(text: str, findings: list[Finding]) -> Iterator[list[Finding]]:
    """Yield what sizes leave of findings: "the two largest", "the second smallest", "at most three"."""
    for sign, pattern, name in _SIZES:
        if not pattern.search(text):
            continue
        ranked = sorted(findings, key=lambda f: sign * (f.area_px or f.percent))
        nth = re.search(rf"\b({'|'.join(ORDINALS)}) {name}\b", text)
        many = re.search(rf"\b({_COUNT}) {name}\b|\b{name} ({_COUNT})\b(?! ?%)", text)
        if nth:
            yield ranked[ORDINALS[nth[1]] - 1 :][:1]
        else:
            yield ranked[: count_of(many[1] or many[2]) if many else 1]
    if nth := _NTH_KIND.search(text):
        yield sorted(findings, key=lambda f: -(f.area_px or f.percent))[ORDINALS[nth[1]] - 1 :][:1]
    if most := _AT_MOST.search(text):
        yield sorted(findings, key=lambda f: -(f.area_px or f.percent))[: count_of(most[1])]

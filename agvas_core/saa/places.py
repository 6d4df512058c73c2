"""Where to look and where not, from words: "on the left", "outside the center", "the lower half", "the left edge"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agvas_core.kinds import kinds_in
from agvas_core.regions import PLACES, place_of

# parts that are no thirds, and their (y0, y1), (x0, x1) as shares of the image
_LOW, _HIGH, _ALL = (0.0, 0.5), (0.5, 1.0), (0.0, 1.0)
FINER: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "left half": (_ALL, _LOW), "right half": (_ALL, _HIGH), "upper half": (_LOW, _ALL), "lower half": (_HIGH, _ALL),
    "upper left quarter": (_LOW, _LOW), "upper right quarter": (_LOW, _HIGH),
    "lower left quarter": (_HIGH, _LOW), "lower right quarter": (_HIGH, _HIGH),
}  # fmt: skip
ALL_PLACES: tuple[str, ...] = (*PLACES, *FINER)

PLACE_WORD = r"(?:upper|lower|top|bottom|cent(?:er|re|ral)|middle|left|right)"
_RIM_WORD = r"(?:rim|edge|border|margin|outline)"
SIDE_WORD = rf"(?:halves|(?:side|half|part|area|corner|{_RIM_WORD}|third|quarter|quadrant|region|end)s?)"
_CORNERS = r"(?:(?:all |any of )?(?:the )?(?:four |outer )*corners|(?<=(?:any|ach|ery) )corner)"
_ONE = rf"(?:{PLACE_WORD}(?:[ -](?:left|right))?(?:[ -]hand)?(?: {SIDE_WORD})?|{_CORNERS})"
_CHAIN = rf"{_ONE}(?:(?:,| and| or| nor|, and|, or) (?:(?:in|at|on|near|to) )?(?:the )?{_ONE}\b)*"
_LOOK_AT = r"(?:check|inspect|examine|scan|search|review|analy[sz]e)(?:ing)?(?: only| just)?"
_PLACE = re.compile(
    r"(?:\b(?:(?:in|at|on|near|to|inside|within|along|around|touch(?:es|ing)?)|(?P<outside>outside(?: of)?(?: (?:in|at"
    rf"|on))?)) (?:the|all|any|each|every)|\b(?:only|just)(?: the)?|\b(?:in|on)(?= {_ONE} (?:half|side))"
    rf"|\b{_LOOK_AT}(?: the)?(?= {_CHAIN}(?: (?:for|of|only|please)\b|[^\w ]|$)))"
    rf" (?P<chain>{_CHAIN})\b(?! \d| \w+ candidates)"
)
_ALONE = re.compile(rf"(?:^|[,;:.] ?|\bthe )(?P<chain>{_CHAIN}) only\b")  # "the left side only"
_BARE = re.compile(rf"(?:^|\bthe )(?P<chain>{_CHAIN})\b(?P<after>(?: \w+)?)")  # "ignore the left side"
_ON_ONE_SIDE = rf"(?:(?:{PLACE_WORD}(?: {_RIM_WORD}s?)?(?:,| and| or|, and|, or) (?:the )?)*{PLACE_WORD} )?"
_RIM = rf"(?:outer |outermost |very ){{,2}}{_ON_ONE_SIDE}{_RIM_WORD}s?"
_AT_RIM = re.compile(
    rf"\b(?:near|on|at|along|around|close to|next to|by|touch(?:es|ing)?|reach(?:es|ing)?|{_LOOK_AT})"
    rf" (?:the |its |any )?{_RIM}\b"
)
_RIM_ALONE = re.compile(
    rf"^(?:the |its |an? |only |just |all )*{_RIM}(?: (?:only|area|region|zone|out|please|of the [a-z]+))*$"
)
_NAMED = re.compile(
    rf"\b(?P<a>{PLACE_WORD})(?:[ -](?P<b>left|right))?\b(?:[ -]hand)?(?: (?P<side>{SIDE_WORD})\b)?"
    r"|\b(?P<corners>corners?)\b|\b(?:in|at|on)\b"
)
# "below the middle" is a half, not what lies at the center
_MIDDLE = r"(?: of)? the (?:middle|cent(?:er|re)(?: ?line)?|mid ?line|middle line)\b(?! (?:third|part|area|region))"
_SPLIT = (
    (re.compile(rf"\b(?:below|under(?:neath)?|beneath){_MIDDLE}"), "in the lower half"),
    (re.compile(rf"\b(?:above|over){_MIDDLE}"), "in the upper half"),
    (re.compile(rf"\b(?:to the )?(left|right){_MIDDLE}"), r"in the \1 half"),
)
_ROWS = {"upper": 0, "top": 0, "middle": 1, "center": 1, "centre": 1, "central": 1, "lower": 2, "bottom": 2}
_COLUMNS = {"left": 0, "right": 2}
_HALF_OF = {"top": "upper", "bottom": "lower"}
_OPPOSITE = {"left": "right", "right": "left", "upper": "lower", "lower": "upper"}


def with_halves(words: str) -> str:
    """Return words with the halves that are told by the middle: "below the middle" as "in the lower half"."""
    for told, half in _SPLIT:
        words = told.sub(half, words)
    return words


def names_rim(words: str, *, bare: bool = False) -> bool:
    """Return whether a clause speaks of the rim: "near the edge"; bare also "(ignore) the edges"."""
    return bool(_AT_RIM.search(words) or (bare and _RIM_ALONE.match(words)))


def without_rim(words: str) -> str:
    """Return a clause without its rim."""
    return _AT_RIM.sub(" ; ", _RIM_ALONE.sub("", words))


def places_in(words: str, *, bare: bool = False) -> tuple[str, ...]:
    """Return the members of ALL_PLACES that a clause names, in their order; () when it names none.

    A side is the outer third, a corner where two of them meet; halves and quarters are what they say.

    Args:
        words: in lower case. "Outside the center" names the eight others.
        bare: whether a place may come without "in" or "on", as in "(ignore) the left side" or "the left scratch".
    """
    found: set[str] = set()
    for match in (*_PLACE.finditer(words), *_ALONE.finditer(words)):
        named = _all_of(match["chain"])
        outside = "outside" in match.re.groupindex and match["outside"]
        found |= set(others(named)) if outside else named
    if bare and not found:
        for match in _BARE.finditer(words):
            if match["after"] in ("", " and", " or", " out", " of", " please") or kinds_in(match["after"]):
                found |= _all_of(match["chain"])
    return _in_order(found)


def others(places: Iterable[str], of: Iterable[str] = PLACES) -> tuple[str, ...]:
    """Return the places that are left when some are taken away; () where none is, or where no names tell what is."""
    gone, here = set(places), set(of)
    if not (gone | here) & FINER.keys():
        return tuple(place for place in of if place not in gone)
    half = _opposite(*gone) if len(gone) == 1 else ""
    return (half,) if half and here in ({*PLACES}, {half}, gone) else ()


def together(places: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    """Return all of these places; () for anywhere, which two halves are, too."""
    found = {*places, *more}
    whole = found >= {*PLACES} or any(_opposite(place) in found for place in found)
    return () if whole else _in_order(found)


def lies_at(y: float, x: float, places: Iterable[str]) -> bool:
    """Return whether a point of an image, as shares of its height and width, lies in one of these places."""
    finer = {name for name, ((y0, y1), (x0, x1)) in FINER.items() if y0 <= y < y1 and x0 <= x < x1}
    return bool({place_of(y, x, 1, 1), *finer} & {*places})


def told(places: Sequence[str]) -> str:
    """Return places as a rule is told: "at top or center", "in the left half"."""
    thirds = [place for place in places if place in PLACES]
    said = [f"at {' or '.join(thirds)}"] if thirds else []
    return " or ".join([*said, *(f"in the {place}" for place in places if place in FINER)])


def _in_order(places: set[str]) -> tuple[str, ...]:
    return tuple(place for place in ALL_PLACES if place in places)


def _opposite(place: str) -> str:
    """Return the other half, "" for what is no half."""
    side, _, half = place.partition(" ")
    return f"{_OPPOSITE[side]} half" if half == "half" else ""


def _all_of(chain: str) -> set[str]:
    """Return the places of a chain, whose last side is all of theirs: "left or right half", "top and bottom edges"."""
    found: set[str] = set()
    side = ""
    for match in reversed(list(_NAMED.finditer(chain))):
        side = match["side"] or side if match["a"] else ""
        if match["corners"]:
            found |= {place for place in PLACES if " " in place}
        elif match["a"]:
            found |= set(_places(match["a"], match["b"] or "", side))
    return found


def _places(a: str, b: str, side: str) -> tuple[str, ...]:
    """Return the places that "upper left", "left", "top half" or "center" mean."""
    a = _HALF_OF.get(a, a)
    if b:
        if side.startswith(("quarter", "quadrant")) and a in _OPPOSITE:
            return (f"{a} {b} quarter",)
        return (PLACES[3 * _ROWS[a] + _COLUMNS[b]],) if a in _ROWS else _places(b, "", side)
    if side in ("half", "halves") and a in _OPPOSITE:
        return (f"{a} half",)
    if a in _COLUMNS:
        return tuple(PLACES[3 * row + _COLUMNS[a]] for row in range(3))
    return PLACES[3 * _ROWS[a] : 3 * _ROWS[a] + 3] if a in _OPPOSITE else ("center",)

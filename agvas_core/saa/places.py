"""Where to look and where not, from words: "on the left", "outside the center", and what is left of the image then."""

from __future__ import annotations

import re
from collections.abc import Iterable

from agvas_core.kinds import kinds_in
from agvas_core.regions import PLACES

PLACE_WORD = r"(?:upper|lower|top|bottom|cent(?:er|re)|middle|left|right)"
SIDE_WORD = r"(?:side|half|part|area|corner|edge|third|region|end)"
_ONE = rf"{PLACE_WORD}(?:[ -](?:left|right))?(?: {SIDE_WORD})?"
_CHAIN = rf"{_ONE}(?:(?:,| and| or| nor|, and|, or) (?:(?:in|at|on|near|to) )?(?:the )?{_ONE}\b)*"
_PLACE = re.compile(
    r"(?:\b(?:(?:in|at|on|near|to|inside|within)|(?P<outside>outside(?: of)?(?: (?:in|at|on))?)) the"
    rf"|\b(?:only|just)(?: the)?) (?P<chain>{_CHAIN})\b(?! \d| \w+ candidates)"
)
_BARE = re.compile(rf"(?:^|\bthe )(?P<chain>{_CHAIN})\b(?P<after>(?: \w+)?)")  # "ignore the left side"
_RIM = r"(?:outer |outermost )?(?:rim|edge|border|margin|outline)s?"
_AT_RIM = re.compile(rf"\b(?:near|on|at|along|around|close to|next to|touching) (?:the |its )?{_RIM}\b")
_RIM_ALONE = re.compile(
    rf"^(?:the |its |only |just |all )*{_RIM}(?: (?:only|area|region|zone|out|please|of the [a-z]+))*$"
)
_NAMED = re.compile(rf"\b({PLACE_WORD})(?:[ -](left|right))?\b")
_ROWS = {"upper": 0, "top": 0, "middle": 1, "center": 1, "centre": 1, "lower": 2, "bottom": 2}
_COLUMNS = {"left": 0, "right": 2}


def names_rim(words: str, *, bare: bool = False) -> bool:
    """Return whether a clause speaks of the rim: "near the edge"; bare also "(ignore) the edges"."""
    return bool(_AT_RIM.search(words) or (bare and _RIM_ALONE.match(words)))


def without_rim(words: str) -> str:
    """Return a clause without its rim."""
    return _AT_RIM.sub(" ; ", _RIM_ALONE.sub("", words))


def places_in(words: str, *, bare: bool = False) -> tuple[str, ...]:
    """Return the members of PLACES that a clause names, in their order; () when it names none.

    Args:
        words: in lower case. "Outside the center" names the eight others.
        bare: whether a place may come without "in" or "on", as in "(ignore) the left side" or "the left scratch".
    """
    found: set[str] = set()
    for match in _PLACE.finditer(words):
        named = _all_of(match["chain"])
        found |= set(others(named)) if match["outside"] else named
    if bare and not found:
        for match in _BARE.finditer(words):
            if match["after"] in ("", " and", " or", " out", " of", " please") or kinds_in(match["after"]):
                found |= _all_of(match["chain"])
    return tuple(place for place in PLACES if place in found)


def others(places: Iterable[str], of: Iterable[str] = PLACES) -> tuple[str, ...]:
    """Return the places that are left when some are taken away; () where none is."""
    gone = set(places)
    return tuple(place for place in of if place not in gone)


def _all_of(chain: str) -> set[str]:
    return {place for a, b in _NAMED.findall(chain) for place in _places(a, b)}


def _places(a: str, b: str) -> tuple[str, ...]:
    """Return the places that "upper left", "left", "top" or "center" mean."""
    if b:
        return (PLACES[3 * _ROWS[a] + _COLUMNS[b]],) if a in _ROWS else _places(b, "")
    if a in _COLUMNS:
        return tuple(PLACES[3 * row + _COLUMNS[a]] for row in range(3))
    if a in ("upper", "top", "lower", "bottom"):
        return PLACES[3 * _ROWS[a] : 3 * _ROWS[a] + 3]
    return ("center",)

"""Numbers of things in words: "at most three", "the two largest", "there are four capsules"; "3 mm" is none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agvas_core.counting import COUNT_WORDS
from agvas_core.saa.prompts import ConfidencePrompt, RankedBy

_WORDS = COUNT_WORDS | {"a single": 1, "twenty": 20}
LENGTH_UNIT = r"(?:[cmnµμ]?m\b|um\b|microns?\b|(?:milli|centi)?met(?:er|re)s?\b|inch(?:es)?\b|毫米|微米)"
_UNIT = rf"(?:%|‰|per ?cent\b|per ?mill?e?\b|{LENGTH_UNIT}|px\b|pixels?\b|像素)"
_N = rf"(?:\d{{1,3}}|{'|'.join(_WORDS)})\b(?!\s*{_UNIT}|[.,]\d)"
_ASK = r"(?:show|mark|segment|find|highlight|outline|report|detect)"
_NO_MORE = rf"(?:do not|don'?t|never) (?:keep|{_ASK})(?: me)? more than"
_AT_MOST = re.compile(
    r"\b(?:at most|no more than|not more than|up to|a maximum of|maximum|max\.?|only the best|top"
    rf"|{_NO_MORE})\s+(?P<n>{_N})"
)
_LARGE, _SMALL = r"(?:largest|biggest)", r"(?:smallest|tiniest)"
_BY_SIZE = re.compile(
    rf"(?P<ask>\b{_ASK}(?: me)? )?(?P<only>\b(?:only|just|keep) )?(?:\bthe )?(?:\b(?P<n>{_N}) )?"
    rf"\b(?:(?P<large>{_LARGE})|{_SMALL})\b(?: (?!one\b)(?P<m>{_N}))?"
)
_OBJECTS = re.compile(
    rf"\b(?:there are|with|shows?|contains?|has|of|all)\s+(?:the\s+)?(?P<n>{_N})\s+(?P<what>[a-z]+(?: [a-z]+)?s)\b"
)
_FIND = " ; find "


def most_in(words: str) -> ConfidencePrompt | None:
    """Return how many of the best candidates a sentence keeps; None when it does not say."""
    most = _AT_MOST.search(words)
    return _kept(most["n"], "score") if most else None


def without_most(words: str) -> str:
    """Return a sentence with what most_in reads cut out, as an order to find what follows."""
    return _AT_MOST.sub(_FIND, words)


def by_size_in(wanted: str) -> ConfidencePrompt | None:
    """Return how many of the largest or smallest candidates a clause asks for; None when it does not."""
    order = next(filter(_is_order, _BY_SIZE.finditer(wanted)), None)
    if order is None:
        return None
    return _kept(order["n"] or order["m"] or "one", "largest" if order["large"] else "smallest")


def without_by_size(wanted: str) -> str:
    """Return a clause with "largest" and the like cut out, as an order to find what follows."""
    return _BY_SIZE.sub(lambda match: _FIND if match["ask"] or _is_order(match) else " ", wanted)


def objects_in(words: str) -> Iterator[tuple[int, str]]:
    """Yield (4, "capsules") for each "there are four capsules"."""
    for match in _OBJECTS.finditer(words):
        yield _number(match["n"]), match["what"]


def _is_order(match: re.Match[str]) -> bool:
    """Whether a "largest" sets a rule; that of "how large is the largest one" does not."""
    return bool(match["only"] or match["n"] or match["m"])


def _kept(number: str, by: RankedBy) -> ConfidencePrompt | None:
    return ConfidencePrompt(_number(number), by) if _number(number) >= 1 else None


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _WORDS[word]

"""Numbers of things in words: "at most three", "the two largest", "there are four capsules"; "3 mm" is none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agvas_core.counting import COUNT_WORDS
from agvas_core.saa.prompts import ConfidencePrompt, RankedBy
from agvas_core.scale import UNITS

_WORDS = COUNT_WORDS | {"a single": 1, "twenty": 20}
_UNIT = rf"(?:%|‰|per ?cent\b|per ?mill?e?\b|{UNITS}|px\b|pixels?\b)"
_N = rf"(?:\d{{1,3}}|{'|'.join(_WORDS)})\b(?!\s*{_UNIT}|[.,]\d)"
_ASK = r"(?:show|mark|segment|find|highlight|outline|report|detect)"
_NO_MORE = rf"(?:do not|don'?t|never) (?:keep|{_ASK})(?: me)? more than"
_AT_MOST = re.compile(
    r"\b(?:at most|no more than|not more than|up to|a maximum of|maximum|max\.?|only the best|top"
    rf"|{_NO_MORE})\s+(?P<n>{_N})"
)
_LARGE, _SMALL = r"(?:largest|biggest)", r"(?:smallest|tiniest)"
_WORST = r"(?:worst|clearest|most (?:obvious|severe|serious|prominent|significant|suspicious|visible))"
_RANKED = re.compile(
    rf"(?P<ask>(?P<first>\b(?:only|just) )?\b{_ASK}(?: me)? )?(?P<only>\b(?:only|just|keep) )?(?:\bthe )?"
    rf"(?:\b(?P<n>{_N}) )?"
    rf"\b(?:(?P<large>{_LARGE})|(?P<small>{_SMALL})|{_WORST})\b(?: (?!one\b)(?P<m>{_N}))?"
)
_FIRST = re.compile(rf",?\s*\b(?:the )?(?:(?P<large>{_LARGE})|(?P<small>{_SMALL}))(?: ones?)? first\b")
_OBJECTS = re.compile(
    rf"\b(?:there are|with|shows?|contains?|has|of|all)\s+(?:the\s+)?(?P<n>{_N})\s+(?P<what>[a-z]+(?: [a-z]+)?s)\b"
)
_FIND = " ; find "


def most_in(words: str) -> ConfidencePrompt | None:
    """Return how many of the best candidates a sentence keeps; None when it does not say."""
    most, first = _AT_MOST.search(words), _FIRST.search(words)
    return _kept(most["n"], _by(first) if first else "score") if most else None


def without_most(words: str) -> str:
    """Return a sentence with what most_in reads cut out, as an order to find what follows."""
    return _FIRST.sub(" ", _AT_MOST.sub(_FIND, words))


def ranked_in(wanted: str) -> ConfidencePrompt | None:
    """Return how many of the largest, smallest or worst candidates a clause asks for; None when it does not."""
    order = next(filter(_is_order, _RANKED.finditer(wanted)), None)
    if order is None:
        return None
    return _kept(order["n"] or order["m"] or "one", _by(order))


def without_ranked(wanted: str) -> str:
    """Return a clause with "largest" and the like cut out, as an order to find what follows."""
    return _RANKED.sub(lambda match: _FIND if match["ask"] or _is_order(match) else " ", wanted)


def objects_in(words: str) -> Iterator[tuple[int, str]]:
    """Yield (4, "capsules") for each "there are four capsules"."""
    for match in _OBJECTS.finditer(words):
        yield _number(match["n"]), match["what"]


def _is_order(match: re.Match[str]) -> bool:
    """Whether a "largest" sets a rule; that of "how large is the largest one" does not."""
    return any(match[group] for group in ("first", "only", "n", "m"))


def _by(ranked: re.Match[str]) -> RankedBy:
    return "largest" if ranked["large"] else "smallest" if ranked["small"] else "score"


def _kept(number: str, by: RankedBy) -> ConfidencePrompt | None:
    return ConfidencePrompt(_number(number), by) if _number(number) >= 1 else None


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _WORDS[word]

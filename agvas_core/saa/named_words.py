"""What a sentence names: flaws to look for or to ignore, one by one, and the object that is inspected."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agvas_core.counting import COUNT_WORDS
from agvas_core.kinds import ENGLISH, kinds_in
from agvas_core.saa.places import PLACE_WORD, SIDE_WORD, without_rim
from agvas_core.saa.sizes import IMAGE, without_sizes

COUNTABLE = r"(?:part|object|piece|item|sample|specimen|component|product|unit)"
_LONGEST_NAME = 40  # characters
_ANYTHING = re.compile(
    r"^(?:anomal\w*|defects?|flaws?|faults?|damages?|problems?|issues?|blemish\w*|imperfections?|irregularit\w*"
    r"|abnormal\w*|anything(?: unusual| wrong| odd| strange)?|everything|all|it|them|that|those|these|ones?|things?"
    r"|regions?|areas?|findings?|candidates?|nothing|rest|others?)$"
)
_LOOK = re.compile(
    r"\b(?:look(?:ing)? for|watch for|focus on|concentrate on|(?:only|just) care about|(?:only|just) interested in"
    r"|(?:search|check|inspect|examine|scan)(?:ing)?(?: (?:it|(?:the|this|these) (?P<on>[a-z -]+?)))? for"
    r"|find(?! out\b)|segment|mark"
    r"|detect|highlight|outline|locate|show(?: me)?|are there|is there|any"
    r"|also(?: (?:(?:look(?:ing)?|search|check) for|find|segment|mark|detect|highlight|outline|show))?)\s+(?P<what>.+)"
)
_MORE = re.compile(r"\balso\b|\bas well\b|\bin addition\b|\bincluding\b|\btoo\b(?! \w)")
_STOP = re.compile(
    r"[.;:!?]|,?\s*\b(?:on|in|at|inside|outside|within|of|from|that|which|smaller|larger|bigger|less|below|under|above|over"
    r"|along|near|around|as well"
    r"|at most|at least|up to|no more|not|no larger|no bigger|no smaller|maximum|max|top(?= \d)|but"
    r"|and (?:explain|describe|segment|mark|tell)|please|with|there)\b"
)
_ON = re.compile(
    r"\b(?P<how>on|in|inside|within|of|from)\s+(?:the|this|these|those|a|an|my|our)\s+"
    r"(?=(?P<what>[a-z][a-z-]*(?: [a-z][a-z-]*){0,2}))"  # looked ahead to, for one may hold the next: "rim of the nut"
)
_NOT_OBJECT = re.compile(
    rf"\b(?:{IMAGE}s?|left|right|top|bottom|upper|lower|cent(?:er|re|ral)|middle|side|hal(?:f|ves)|quarter|third|surface"
    rf"|(?:corner|edge|rim|border|margin|outline)s?|background|{COUNTABLE}s?|whole|entire|area|size|number|design|it)\b"
)
_TAIL = re.compile(
    r"\s+(?:and|or|is|are|at|on|in|with|that|which|smaller|larger|please|but|for|under|below|above|only|of|up|no|not)\b.*$"
)
_ARTICLE = re.compile(
    r"^(?:(?:the|a|an|any|all|every|some|only|just|possible|few|small|visible|also|either|other|and|or|kinds? of"
    rf"|\d{{1,2}}|{'|'.join(COUNT_WORDS)})\s+)+"
)
_PLACED = re.compile(rf"^(?:{PLACE_WORD}(?:-hand)?[ -])+")
_PLACED_ONE = re.compile(
    rf"^(?:(?:{PLACE_WORD}(?:[ -]hand)?[ -]?)+(?: ?(?:{SIDE_WORD}|one|defect|flaw))?|(?:outer )?corners?)$"
)
_END = re.compile(r"(?: (?:out|too|also|again|either|only|any ?more|as well|ones?))+$")
_WISH = re.compile(r"^(?:i|we)(?:'d| would)? (?:only |just )?(?:want|need|like)(?: only| just)?(?: to see)? ")
_NO_FLAW = re.compile(  # which one the largest is, no name tells; and what belongs to the reply is not in the photo
    r"\b(?:largest|biggest|smallest|tiniest|darkest|brightest|thresholds?|masks?|overlays?|heat ?maps?|expla\w+"
    r"|descri\w+)\b|^(?:size|number|limit)s?\b|(?<![\w.-])\d|%"
)
_KIND = re.compile(
    rf"^(?!(?:is|are|was|were|see|no|not)\b)(?:[a-z-]+ )?(?:{'|'.join(ENGLISH.values())})$"
)  # "deep crack"
_SAYS = re.compile(r"(?<!\bwhat)\s+(?:is|are|was|were)\b.*")  # "any crack is a defect"
_NO_LIST = re.compile(r"(?:where|what|how|why|if|whether|me)\b")
_JOINED = re.compile(r",|/|&|\b(?:and|or|including)\b")
_ALL = re.compile(r"\b(?:all|anything|everything|nothing|anywhere|everywhere)(?:,? please)?$")
_AROUND = " '\"()"
_NO_NAMES = re.compile(r"(?:please |then |also |only )*(?:tell|explain|describe)\b")  # "and tell me if any is deep"


def means_any(name: str) -> bool:
    """Return whether a name is one for any flaw: "defect", "anything unusual"."""
    return bool(_ANYTHING.match(name))


def speaks_of_all(clause: str) -> bool:
    """Return whether a clause is about all there is, or only about the reply: "show all", "anywhere", "explain"."""
    return bool(_ALL.search(clause) or _NO_NAMES.match(clause))


def says_more(text: str) -> bool:
    """Return whether words come on top of those in force: "also", "too"."""
    return bool(_MORE.search(text))


def asked_names(wanted: Sequence[str]) -> list[str]:
    """Return what clauses ask for by its name, words for any flaw among it; kinds need no verb: "only cracks"."""
    named: list[str] = []
    for text in map(without_sizes, wanted):
        look = None if _NO_NAMES.match(text) else _LOOK.search(text)
        named += (
            _listed(_SAYS.sub("", without_rim(look["what"])))
            if look
            else filter(_KIND.match, _listed(without_rim(text)))
        )
    return named


def names_in(clause: str) -> list[str]:
    """Return what a clause without a verb names: "the stain out" is a stain, "the left scratch" a scratch.

    Words for any flaw are not among it.
    """
    listed = _listed(clause)
    named = (rest if kinds_in(rest := _PLACED.sub("", item)) else item for item in listed)
    return [w for w in named if not means_any(w)]


def object_name(wanted: Sequence[str]) -> str:
    """Return what is inspected: "check the tile for", or the first "on the tile"; "" when nothing is named."""
    words = without_sizes(" ; ".join(wanted))
    checked = next((look["on"] for look in _LOOK.finditer(words) if look["on"]), "")
    for name in (checked, *(_TAIL.sub("", match["what"]) for match in _ON.finditer(words))):
        if name and not _NOT_OBJECT.search(name):
            return _singular(name)
    return ""


def _listed(text: str) -> list[str]:
    """Return "the blow holes and any cracks on the left, dents on the right" as blow hole, crack, dent."""
    if _NO_LIST.match(_ARTICLE.sub("", text)):
        return []
    text = text.encode("ascii", "ignore").decode()  # what is left of other scripts
    stop = _STOP.search(text)
    head, rest = (text[: stop.start()], text[stop.start() :]) if stop else (text, "")
    items = [_named(part) for part in _JOINED.split(head)]
    stopped = [_named(part[: stop.start()]) for part in _JOINED.split(rest) if (stop := _STOP.search(part))]
    items += filter(_KIND.match, stopped)  # each with its own place or size
    items = [item for item in items if 1 < len(item) <= _LONGEST_NAME and not _NO_LIST.match(item)]
    flaws = (item for item in items if not _PLACED_ONE.match(item) and not _NO_FLAW.search(item))
    return list(dict.fromkeys(map(_singular, flaws)))


def _named(item: str) -> str:
    """Return "the stain too" as stain."""
    return _ARTICLE.sub("", f"{_END.sub('', _WISH.sub('', item.strip(_AROUND)))} ").strip()


def _singular(phrase: str) -> str:
    head, _, last = phrase.strip().rpartition(" ")
    if last.endswith("ies") and len(last) > 4:
        last = last[:-3] + "y"
    elif last.endswith(("ches", "shes", "xes", "sses")):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith(("ss", "us", "is")):
        last = last[:-1]
    return f"{head} {last}".strip()

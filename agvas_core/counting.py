"""Numbers as people write them: "two", "the second one", "regions 1, 2 and 4 to 6"."""

from __future__ import annotations

import re
from collections.abc import Iterator

COUNT_WORDS = {w: n for n, w in enumerate("one two three four five six seven eight nine ten eleven twelve".split(), 1)}
ORDINALS = {
    "first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4, "fifth": 5, "5th": 5,
}  # fmt: skip
LAST = -1
MOST_IN_RANGE = 99
_WORDS = "|".join(COUNT_WORDS)
_DIGITS = r"\d{1,3}(?!\d)(?![.,]\d)(?!\s*(?:%|per ?cent|px|pixels?|mm|cm)\b)(?!\s*%)"
_REGION = r"(?:\b(?:regions?|findings?|defects?|anomal(?:y|ies))|区域)"
_NUMBER = r"(?<!part )(?<!serial )(?<!batch )(?<!lot )(?<!model )(?<!order )(?<!article )\bnumbers?\b(?! of)"
_AND = r"\s*(?:,|and|&|or|to|through|[-–]|和|、|到|至)\s*"
NUMBERED = re.compile(
    rf"(?:(?:{_REGION}|{_NUMBER})\s*#?|#)\s*{_DIGITS}(?:{_AND}(?:{_REGION}\s*)?#?{_DIGITS})*"
    rf"|\bregions? (?:{_WORDS})\b(?:\s*(?:,|and|&|or)\s*(?:{_WORDS})\b)*"
)
_RANGE = re.compile(r"(\d+)\s*(?:to|through|[-–]|到|至)\s*#?(\d+)")
NTH = re.compile(rf"\b(?P<nth>{'|'.join(ORDINALS)}|last) (?:ones?|defects?|regions?|findings?|anomal(?:y|ies))\b")


def count_of(word: str) -> int:
    """Return the number that digits or a word ("two") say; KeyError for other words."""
    return int(word) if word.isdigit() else COUNT_WORDS[word]


def listed_numbers(match: re.Match[str]) -> Iterator[int]:
    """Yield the numbers of a match of NUMBERED, a range as all that is in it."""
    if not re.search(r"\d", match[0]):
        yield from (COUNT_WORDS[word] for word in re.findall(rf"\b(?:{_WORDS})\b", match[0]))
        return
    for first, last in re.findall(r"(\d+)-(\d+)", _RANGE.sub(r"\1-\2", match[0])):
        yield from range(int(first), min(int(last), int(first) + MOST_IN_RANGE) + 1)
    yield from (int(n) for n in re.findall(r"\d+", _RANGE.sub(" ", match[0])))


def nth_numbers(text: str) -> Iterator[int]:
    """Yield the number of each "second one" in a text; LAST for "the last one"."""
    yield from (ORDINALS.get(match["nth"], LAST) for match in NTH.finditer(text))

"""Shares of the part or the image in words: "smaller than 5 % of the image", "between 1 and 5 %", "more than half"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agvas_core.saa.prompts import AreaOf

IMAGE = r"(?:image|picture|photo|photograph|frame|view)"
PER_CENT = r"(?:%|per ?cent\b)"
_PERCENT = rf"(?P<p>\d+(?:[.,]\d+)?)\s*{PER_CENT}"
_OF = r"(?:\s+of\s+(?:the\s+)?(?P<of>(?:whole |entire )?[a-z]+(?: [a-z]+)?))?"
_THAN = r"(?: than)?(?: about)?\s+"
_NO = r"(?:not|no|nothing|none)"
_NOT_NO = r"\b(?<!no )(?<!not )(?<!nothing )(?<!none )"
_BELOW = rf"{_NOT_NO}(?:smaller|less|below|under|{_NO} (?:larger|bigger|more)|at most|up to)" + _THAN
_ABOVE = rf"{_NOT_NO}(?:larger|bigger|more|above|over|{_NO} (?:smaller|less)|at least)" + _THAN
_MAX, _MIN = re.compile(_BELOW + _PERCENT + _OF), re.compile(_ABOVE + _PERCENT + _OF)
_RANGE = " yet "  # joins the two bounds of one range
_BETWEEN = re.compile(rf"\bbetween\s+(\d+(?:[.,]\d+)?)\s*{PER_CENT}?\s+and\s+(?=\d)")
_SHARES = {
    "half": 50, "third": 33.3, "quarter": 25, "fifth": 20, "tenth": 10, "twentieth": 5, "hundredth": 1,
}  # fmt: skip
_SHARE_WORD = re.compile(rf"\bthan\s+(?:about\s+)?(?:(?:a|an|one)\s+)?({'|'.join(_SHARES)})\b")


@dataclass(frozen=True)
class Sizes:
    """Bounds as shares, 0 to 1; None where none is named.

    Attributes:
        below: "smaller than".
        above: "larger than".
        area_of: what they are shares of, None when it is not said.
        is_range: whether both are the ends of one range, "between 1 % and 5 %".
    """

    below: float | None = None
    above: float | None = None
    area_of: AreaOf | None = None
    is_range: bool = False

    def __bool__(self) -> bool:
        return self.below is not None or self.above is not None


def in_percents(words: str) -> str:
    """Return words in lower case with all shares in percent: "half" as 50 %, ranges as two bounds."""
    words = _SHARE_WORD.sub(lambda m: f"than {_SHARES[m[1]]} %", words)
    return _BETWEEN.sub(rf"larger than \1 %{_RANGE}smaller than ", words)


def sizes_in(words: str) -> Sizes:
    """Return the bounds that words name; what is no share from 0 to 100 % is none."""
    below, above = _share(_MAX.search(words)), _share(_MIN.search(words))
    said = [share[1] for share in (below, above) if share and share[1]]
    of = said[0] if said else None
    return Sizes(below and below[0], above and above[0], of, bool(below and above and _RANGE in words))


def without_sizes(words: str) -> str:
    """Return the words without their bounds."""
    return _MIN.sub(" ; ", _MAX.sub(" ; ", words))


def _share(match: re.Match[str] | None) -> tuple[float, AreaOf | None] | None:
    """Return "5 % of the part" as (0.05, "object"), "5 %" as (0.05, None); None for no share from 0 to 100 %."""
    share = float(match["p"].replace(",", ".")) / 100 if match else 0.0
    if match is None or not 0 < share <= 1:
        return None
    if not match["of"]:
        return share, None
    return share, "image" if re.search(IMAGE, match["of"]) else "object"

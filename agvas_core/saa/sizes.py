"""Shares of the part or the image in words: "smaller than 5 % of the image", "between 1 and 5 %", "more than half"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agvas_core.counting import COUNT_WORDS
from agvas_core.kinds import kinds_in
from agvas_core.saa.counts import LENGTH_UNIT
from agvas_core.saa.prompts import AreaOf
from agvas_core.scale import UNITS, unit_mm
from agvas_core.wording import MEDIUM_BELOW, SMALL_BELOW

IMAGE = r"(?:image|picture|photo|photograph|frame|view)"
PER_CENT = r"(?:%|per ?cent\b)"
_PERCENT = rf"(?P<p>\d+(?:[.,]\d+)?)\s*{PER_CENT}"
_OF = r"(?:\s+of\s+(?:the\s+)?(?P<of>(?:whole |entire )?[a-z]+(?: [a-z]+)?))?"
_THAN = r"(?: than)?(?: about)?\s+"
_NO = r"(?:not|no|nothing|none)"
_NOT_NO = r"\b(?<!no )(?<!not )(?<!nothing )(?<!none )"
_BELOW = rf"{_NOT_NO}(?:smaller|less|below|under|{_NO} (?:larger|bigger|more|above|over)|at most|up to)" + _THAN
_ABOVE = rf"{_NOT_NO}(?:larger|bigger|more|above|over|{_NO} (?:smaller|less|below|under)|at least)" + _THAN
_MAX, _MIN = re.compile(_BELOW + _PERCENT + _OF), re.compile(_ABOVE + _PERCENT + _OF)
_RANGE = " yet "  # joins the two bounds of one range
_N = r"(\d+(?:[.,]\d+)?)"
_BETWEEN = re.compile(
    rf"\bbetween\s+{_N}\s*{PER_CENT}?\s+and\s+(?=\d)"
    rf"|(?:\bfrom\s+)?(?<![\d.,]){_N}\s*{PER_CENT}?\s*(?:-|\N{{EN DASH}}|\bto\b)\s*(?={_N}\s*{PER_CENT})"
)
_SHARES = {
    "half": 50, "third": 33.3, "quarter": 25, "fifth": 20, "tenth": 10, "twentieth": 5, "hundredth": 1,
}  # fmt: skip
_NUMBER_WORD = re.compile(rf"\b({'|'.join(COUNT_WORDS)})(?=\s+{PER_CENT})")
_SIGNS = (
    (re.compile(r"(?:[<\N{LESS-THAN OR EQUAL TO}]=?)\s*(?=\d)"), " smaller than "),
    (re.compile(r"(?:[>\N{GREATER-THAN OR EQUAL TO}]=?)\s*(?=\d)"), " larger than "),
)
_LONG = r"(?:wide|long|high|tall|deep|thick|across|in (?:length|width|height|diameter))"
LENGTH = re.compile(rf"\d\s*(?:{LENGTH_UNIT}|(?:px|pixels?)\s+{_LONG}\b)")
AREA = re.compile(
    rf"(?<![\d.,])(?P<value>\d+(?:[.,]\d+)?)\s*(?:(?:square|sq\.?)\s+(?P<u1>{UNITS})|(?P<u2>{UNITS})(?:²|\^?2\b))"
)
_PX = r"\s*(?:px|pixels?)\b"
_PIXELS = re.compile(rf"(?<![\d.,])(\d+){_PX}(?!\s+{_LONG})")
_PIXEL_RANGE = re.compile(rf"(?<![\d.,])(\d+)(?=\s*(?:-|\N{{EN DASH}}|\bto\b|\band\b)\s*\d+{_PX}(?!\s+{_LONG}))")
_ADJECTIVE = re.compile(
    r"\b(?:(?P<small>small|tiny|little|minor)|large|big|huge|major)(?= (?P<what>[a-z]+(?: [a-z]+)?))"
)
_FLAWS = re.compile(r"(?:defects?|flaws?|faults?|anomal\w+|regions?|ones?|things?)\b")
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


def in_percents(words: str, image_px: int | None = None, mm_per_px: float | None = None) -> str:
    """Return words in lower case with all shares in percent: "half" as 50 %, ranges as two bounds, signs as words.

    Args:
        words: in lower case.
        image_px: the image's number of pixels, by which areas in px become shares of it; None leaves them.
        mm_per_px: by which areas in mm² and the like do, too; None leaves them.
    """
    words = _SHARE_WORD.sub(lambda m: f"than {_SHARES[m[1]]} %", words)
    words = _NUMBER_WORD.sub(lambda m: str(COUNT_WORDS[m[1]]), words)
    if image_px is not None and mm_per_px is not None:
        image_mm2 = image_px * mm_per_px**2
        words = AREA.sub(lambda m: f"{100 * _mm2(m) / image_mm2:.8f} % of the image", words)
    if image_px is not None:
        words = _PIXEL_RANGE.sub(lambda m: f"{100 * int(m[1]) / image_px:.8f} %", words)
        words = _PIXELS.sub(lambda m: f"{100 * int(m[1]) / image_px:.8f} % of the image", words)
    for sign, meant in _SIGNS:
        words = sign.sub(meant, words)
    return _BETWEEN.sub(lambda m: f"larger than {m[1] or m[2]} %{_RANGE}smaller than ", words)


def _mm2(area: re.Match[str]) -> float:
    return float(area["value"].replace(",", ".")) * unit_mm(area["u1"] or area["u2"]) ** 2


def with_bounds(clause: str) -> str:
    """Return "small stains" as "stains smaller than 1 % of the image", the bound by which replies call a defect small.

    A clause that names a size, or no flaw that is small, stays as it is.
    """
    said = _ADJECTIVE.search(clause)
    if said is None or sizes_in(clause) or not (kinds_in(said["what"]) or _FLAWS.match(said["what"])):
        return clause
    bound = f"smaller than {SMALL_BELOW:g}" if said["small"] else f"larger than {MEDIUM_BELOW:g}"
    return f"{clause[: said.start()]}{clause[said.end() + 1 :]} {bound} % of the image"


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

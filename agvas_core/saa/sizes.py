"""Shares of the part or the image in words: "smaller than 5 % of the image", "between 1 and 5 %", "more than half"."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from agvas_core.counting import COUNT_WORDS
from agvas_core.kinds import kinds_in
from agvas_core.saa.prompts import AreaOf, Reach
from agvas_core.scale import UNITS, unit_mm
from agvas_core.wording import MEDIUM_BELOW, SMALL_BELOW

IMAGE = r"(?:image|picture|photo|photograph|frame|view)"
PER_CENT = r"(?:%|per ?cent\b)"
_PERCENT = rf"(?P<p>\d+(?:[.,]\d+)?)\s*{PER_CENT}"
_OF = r"(?:\s+of\s+(?:the\s+)?(?P<of>(?:whole |entire )?[a-z]+(?: [a-z]+)?))?"
_THAN = r"(?: than)?(?: about)?\s+"
_NO = r"(?:not|no|nothing|none)"
_NOT_NO = r"\b(?<!no )(?<!not )(?<!nothing )(?<!none )"
_LESS, _MORE = "smaller|tinier|less|lower|below|under", "larger|greater|bigger|more|above|over|exceed(?:s|ing)?"
_OF_SIZE = r"(?: (?:size|area|length|width))?(?: of| is|:)?"
_MOST, _LEAST = rf"at most|up to|max(?:imum|\.)?{_OF_SIZE}", rf"at least|min(?:imum|\.)?{_OF_SIZE}"
_BELOW = rf"{_NOT_NO}(?:{_LESS}|{_NO} (?:{_MORE})|{_MOST})" + _THAN
_ABOVE = rf"{_NOT_NO}(?:{_MORE}|{_NO} (?:{_LESS})|{_LEAST})" + _THAN
_MAX, _MIN = re.compile(_BELOW + _PERCENT + _OF), re.compile(_ABOVE + _PERCENT + _OF)
_RANGE = " yet "  # joins the two bounds of one range
_N = r"(\d+(?:[.,]\d+)?)"
_BETWEEN = re.compile(
    rf"\bbetween\s+{_N}\s*{PER_CENT}?(?: of the image)?\s+and\s+(?=\d)"
    rf"|(?:\bfrom\s+)?(?<![\d.,]){_N}\s*{PER_CENT}?\s*(?:-|\N{{EN DASH}}|\bto\b)\s*(?={_N}\s*{PER_CENT})"
)
_SHARES = {
    "half": 50, "third": 33.3, "quarter": 25, "fifth": 20, "tenth": 10, "twentieth": 5, "hundredth": 1,
}  # fmt: skip
_UNIT = rf"(?:{PER_CENT}|{UNITS}|(?:px|pixels?)\b)"
_NUMBER_WORD = re.compile(rf"\b(?:({'|'.join(COUNT_WORDS)})|half an?|(?<=than )an?)(?=\s+(?:square )?{_UNIT})")
# "2 mm or longer" is at least 2 mm long
_AND_UP = re.compile(
    rf"(?<![\d.,])(?P<size>\d+(?:[.,]\d+)?\s*{_UNIT}²?)\s+(?:or|and) (?:(?P<more>{_MORE}|up|upwards|longer|wider)"
    rf"|{_LESS}|shorter|narrower)\b(?! than)"
)
_SIGNS = (
    (re.compile(r"(?:[<\N{LESS-THAN OR EQUAL TO}]=?)\s*(?=\d)"), " smaller than "),
    (re.compile(r"(?:[>\N{GREATER-THAN OR EQUAL TO}]=?)\s*(?=\d)"), " larger than "),
)
_LONG = r"(?:wide|long|high|tall|deep|thick|across|in (?:length|width|height|diameter))"
_SIDES = rf"(?P<r>\d+\.\d+) sides of (?P<side>\d+)\b(?:\s+{_LONG})?"
_SIDES_LEFT = re.compile(r"\d sides of \d")
_THIN, _THICK = rf"{_LESS}|shorter|narrower|thinner", rf"{_MORE}|longer|wider|broader|thicker"
_SHORTER = re.compile(rf"{_NOT_NO}(?:{_THIN}|{_NO} (?:{_THICK})|{_MOST}){_THAN}{_SIDES}")
_LONGER = re.compile(rf"{_NOT_NO}(?:{_THICK}|{_NO} (?:{_THIN})|{_LEAST}){_THAN}{_SIDES}")
_WIDE = re.compile(r"narrow|thin|wide|broad|thick|across|diameter")
_LENGTH = re.compile(rf"\d\s*(?:{UNITS}|(?:px|pixels?)\s+{_LONG}\b)")
_AREA = re.compile(
    rf"(?<![\d.,])(?P<value>\d+(?:[.,]\d+)?)\s*(?:(?:square|sq\.?)\s+(?P<u1>{UNITS})|(?P<u2>{UNITS})(?:²|\^?2\b))"
)
_MILLIMETERS = re.compile(rf"(?<![\d.,]){_N}\s*({UNITS})(?!²|\^?2\b)")
_PX = r"\s*(?:px|pixels?)\b"
_TO = r"\s*(?:-|\N{EN DASH}|\bto\b|\band\b)\s*"
# the first number of "2 to 5 mm" or "20-50 px long", which has the unit of the second
_MM_RANGE = re.compile(rf"(?<![\d.,]){_N}(?={_TO}\d+(?:[.,]\d+)?\s*((?:(?:square|sq\.?)\s+)?{UNITS}(?:²|\^?2\b)?))")
_PIXELS_LONG_RANGE = re.compile(rf"(?<![\d.,]){_N}(?:{_PX})?(?={_TO}\d+(?:[.,]\d+)?{_PX}\s+{_LONG})")
_PIXEL_RANGE = re.compile(rf"(?<![\d.,])(\d+)(?={_TO}\d+{_PX}(?!\s+{_LONG}))")
_REACHES = re.compile(
    rf"(?:\b(?P<between>between)\s+|\bfrom\s+)?(?P<r>\d+\.\d+ sides of \d+)\s*(?:{_LONG}\b)?"
    rf"(?:(?P<and>\s*\band\b\s*)|{_TO})(?=\d+\.\d+ sides)"
)
_AFTER_LONGER = (
    f"(?:{'|'.join(f'(?<={word} than )' for word in 'longer shorter wider narrower thinner thicker'.split())})"
)
_PIXELS_LONG = re.compile(rf"(?<![\d.,]){_N}{_PX}(?=\s+{_LONG}\b)|{_AFTER_LONGER}{_N}{_PX}")
_PIXELS = re.compile(rf"(?<![\d.,])(\d+){_PX}(?!\s+{_LONG})")
_ADJECTIVE = re.compile(
    r"\b(?:(?P<small>small|tiny|little|minor)|large|big|huge|major)(?= (?P<what>[a-z]+(?: [a-z]+)?))"
)
_FLAWS = re.compile(r"(?:defects?|flaws?|faults?|anomal\w+|regions?|ones?|things?)\b")
_CERTAINTY = re.compile(  # no share of anything: "more than 90 % sure", "with a confidence above 70 %"
    rf"(?:[a-z]+ than|at least|at most|over|above|below|under)?\s*{_N}\s*{PER_CENT}\s+"
    r"(?:sure|certain|confiden\w+|likely)"
    rf"|\b(?:confidence|certainty|probability|likelihood|score)s?\b[^,;.\d]*{_N}\s*{PER_CENT}"
)
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


def in_percents(words: str, size_hw: tuple[int, int] | None = None, mm_per_px: float | None = None) -> str:
    """Return words in lower case with all shares in percent: "half" as 50 %, ranges as two bounds, signs as words.

    Args:
        words: in lower case.
        size_hw: the image's, by which areas in px become shares of it and lengths of its longer side; None leaves both.
        mm_per_px: by which those in mm², mm and the like do, too; None leaves them.
    """
    words = _CERTAINTY.sub(" ", words)
    words = _NUMBER_WORD.sub(lambda m: str(COUNT_WORDS.get(m[0], 0.5 if m[0].startswith("half") else 1)), words)
    words = _SHARE_WORD.sub(lambda m: f"than {_SHARES[m[1]]} %", words)
    words = _AND_UP.sub(_bound_first, words)
    if size_hw is not None and mm_per_px is not None:
        image_mm2, side_mm = math.prod(size_hw) * mm_per_px**2, max(size_hw) * mm_per_px
        words = _MM_RANGE.sub(r"\1 \2", words)
        words = _AREA.sub(lambda m: f"{100 * _mm2(m) / image_mm2:.8f} % of the image", words)
        words = _MILLIMETERS.sub(
            lambda m: f"{_value(m[1]) * unit_mm(m[2]) / side_mm:.8f} sides of {max(size_hw)} ", words
        )
    if size_hw is not None:
        image_px, side_px = math.prod(size_hw), max(size_hw)
        words = _PIXELS_LONG_RANGE.sub(r"\1 px long", words)
        words = _PIXELS_LONG.sub(lambda m: f"{_value(m[1] or m[2]) / side_px:.8f} sides of {side_px} ", words)
        words = _PIXEL_RANGE.sub(lambda m: f"{100 * int(m[1]) / image_px:.8f} %", words)
        words = _PIXELS.sub(lambda m: f"{100 * int(m[1]) / image_px:.8f} % of the image", words)
    words = _REACHES.sub(
        lambda m: f"longer than {m['r']}{_RANGE}shorter than " if m["between"] or not m["and"] else m[0], words
    )
    for sign, meant in _SIGNS:
        words = sign.sub(meant, words)
    return _BETWEEN.sub(lambda m: f"larger than {m[1] or m[2]} %{_RANGE}smaller than ", words)


def _bound_first(said: re.Match[str]) -> str:
    """Return "2 mm or wider" as "at least 2 mm wide"."""
    wide = (
        " wide" if re.search(r"wider|narrower", said[0]) else " long" if re.search(r"longer|shorter", said[0]) else ""
    )
    return f"at {'least' if said['more'] else 'most'} {said['size']}{wide}"


def _value(written: str) -> float:
    return float(written.replace(",", "."))


def _mm2(area: re.Match[str]) -> float:
    return _value(area["value"]) * unit_mm(area["u1"] or area["u2"]) ** 2


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
    for bound in (_MAX, _MIN, _SHORTER, _LONGER):
        words = bound.sub(" ; ", words)
    return words


def size_left(words: str) -> bool:
    """Return whether words name a length or an area that is no bound: "2 mm" without a scale, "3 mm deep"."""
    left = without_sizes(words)
    return any(size.search(left) for size in (_LENGTH, _AREA, _SIDES_LEFT))


def reach_in(words: str) -> Reach | None:
    """Return how long or wide the words say, None where they do not."""
    below, above = _SHORTER.search(words), _LONGER.search(words)
    if not below and not above:
        return None
    said = [bound for bound in (below, above) if bound]
    wide = any(_WIDE.search(bound[0]) for bound in said)
    return Reach(int(said[0]["side"]), float(above["r"]) if above else 0.0, float(below["r"]) if below else None, wide)


def _share(match: re.Match[str] | None) -> tuple[float, AreaOf | None] | None:
    """Return "5 % of the part" as (0.05, "object"), "5 %" as (0.05, None); None for no share from 0 to 100 %."""
    share = float(match["p"].replace(",", ".")) / 100 if match else 0.0
    if match is None or not 0 < share <= 1:
        return None
    if not match["of"]:
        return share, None
    return share, "image" if re.search(IMAGE, match["of"]) else "object"

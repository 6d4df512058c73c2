"""Scale: millimeters a pixel, as a user says them ("1 px is 0.05 mm", "the image is 40 mm wide", "the nut 19 mm")."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from agvas_core.foreground import object_hw
from agvas_core.structures import Conversation, InspectionImage, Request

LEAST_MM, MOST_MM = 1e-7, 1e5  # of a pixel: a tenth of a nanometer, a hundred meters; beyond them it is a slip

# how people write the units
UNITS = (
    r"(?:nm|nanomet(?:er|re)s?|[uμµ]m|microns?|micromet(?:er|re)s?|mm|millimet(?:er|re)s?|cm|centimet(?:er|re)s?"
    r"|met(?:er|re)s?|m|inch(?:es)?)(?![a-z])"
)

_MM = {"nm": 1e-6, "um": 1e-3, "mm": 1.0, "cm": 10.0, "meter": 1000.0, "inch": 25.4}
# how units, pixels and "is" are written, in the order in which they are replaced
_WRITTEN = (
    (r"\bnanomet(?:er|re)s?\b|纳米", "nm"),
    (r"\b(?:micromet(?:er|re)s?|microns?|[μµ]m)\b|(?<=\d)[μµ]m\b|微米", "um"),
    (r"\bmillimet(?:er|re)s?\b|毫米", "mm"),
    (r"\bcentimet(?:er|re)s?\b|厘米", "cm"),
    (r"\b(?:met(?:er|re)s?|m)\b|(?<=\d)m\b", "meter"),
    (r"\binch(?:es)?\b|英寸", "inch"),
    (r"\b(?:pix|pixels?)\b|像素", "px"),
    (r"(?<=\d),(?=\d)", "."),
    (r"(?<=px)(?=\d)", " "),
    (r"(?<=\d)\s*(?=(?:nm|um|mm|cm|meter|inch|px|dpi|ppi)\b)", " "),
    (r"\b(?:per|each|every|an?)\b|[/每]", " / "),
    (r"\b(?:is|are|equals?|measures?|shows|covers|spans|corresponds to|stands for)\b|[=:≈~为是]|等于", " = "),
    (r"\b(?:about|roughly|exactly|approximately|approx\.?|the)\b|=(?=\s*=)", " "),
    (r"\bone\b", "1"),
    (r"\s+", " "),
)
_N, _U = r"(\d+(?:\.\d+)?(?:e-?\d+)?)", r"(nm|um|mm|cm|meter|inch)\b"
_FEATURE = r"(?: (?:size|pitch|spacing|width|edge|resolution|大小|尺寸))?"
_PICTURE = r"(?:image|picture|photo|photograph|field of view|fov|frame|view|scene|图像|图片|照片|视场)"
_NAMES_UNIT = re.compile(r"[nuμmc]m|\d ?m\b|met|inch|micron|[dp]pi|米|英寸")  # no scale is said without one of them
# how a pixel's size is said, and the millimeters that it means
_OF_PIXEL: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], float]], ...] = (
    (re.compile(rf"{_N} {_U} / (?:1 )?px\b"), lambda m: float(m[1]) * _MM[m[2]]),
    (re.compile(rf"{_N} px / (?:{_N} )?{_U}"), lambda m: float(m[2] or 1) * _MM[m[3]] / float(m[1])),
    (re.compile(rf"{_N} {_U} = {_N} px\b"), lambda m: float(m[1]) * _MM[m[2]] / float(m[3])),
    (
        re.compile(rf"(?:{_N} )?(?:/ )?\bpx{_FEATURE} (?:= |of )?{_N} {_U}"),
        lambda m: float(m[2]) * _MM[m[3]] / float(m[1] or 1),
    ),
    (re.compile(rf"{_N} (?:dpi|ppi)\b"), lambda m: _MM["inch"] / float(m[1])),
)
_ACROSS = re.compile(
    rf"(?:(?P<before>width|height) of (?:/ |this |my )?)?{_PICTURE} ?(?P<side>width|height|宽|高)?度? ?(?:= )?"
    rf"(?:{_N} (?:{_U} )?x )?{_N} {_U}(?: (?:in )?(?P<after>wide|across|broad|high|tall|long|width|height))?"
    r"(?= ?(?:$|[^\w\s²]|(?:and|so|but|then|in|how|what|which|where|is|are|mark|segment|find|show|please)\b))"
)
_THING = (  # what a photo may show as its one object
    r"(?:part|object|piece|component|workpiece|item|product|sample|specimen|nut|bolt|screw|washer|gear|coin|plate|dis[ck]"
    r"|ring|bottle|cap|lid|connector|board|pcb|wafer|cookie|biscuit|pill|tablet|capsule|tile|housing|bearing|shaft|rod|pipe"
    r"|tube|wheel|flange|gasket|seal|lens|panel|leaf|零件|工件|产品)"
)
_NO_ADJECTIVE = r"(?!(?:missing|broken|damaged|foreign|other|next|second|first|last|left|right|upper|lower|in|on|of)\b)"
_OF_OBJECT = re.compile(
    r"(?:(?:and|so|but|ok|okay|note|note that|here|fyi|now|if)[, ]+)*"
    r"(?:(?P<before>width|height|length|diameter) of )?(?:(?:/|this|my|our|your|whole) )*"
    rf"(?:{_NO_ADJECTIVE}[a-z-]+ )?{_THING}(?:'?s?)? ?(?P<side>width|height|length|diameter|宽|高|长|直径)?度? ?(?:= )?"
    rf"{_N} {_U}(?: (?:in )?(?P<after>wide|across|broad|high|tall|long|width|height|length|diameter))?"
    r"(?= ?(?:$|[^\w\s²]))"
)
_SIDES: dict[str, tuple[str, Callable[[float, float], float]]] = {  # how a side is said: its name, its px of both
    **dict.fromkeys(("wide", "across", "broad", "width", "宽"), ("wide", lambda h, w: w)),
    **dict.fromkeys(("high", "tall", "height", "高"), ("high", lambda h, w: h)),
    **dict.fromkeys(("long", "length", "长"), ("long", max)),
    **dict.fromkeys(("diameter", "直径"), ("across", lambda h, w: (h + w) / 2)),
}
_INSIDE = re.compile(r"\b(?:in|on|of|from|at|across) (?:/ |this |that |my |our |your )?$")  # "the crack in this image"
# what may be said beside a scale without asking for anything
_ASIDE = re.compile(
    r"\b(?:scale|resolution|calibration|magnification|note|that|here|please|ok|okay|so|and|then|now|for|this|my|image"
    r"|camera|photo|use|set|assume|with|to|at|of|in|know|you|should|fyi|by|way|info)\b|[^\w]+"
)
_SHOWN_HW: WeakKeyDictionary[InspectionImage, tuple[float, float] | None] = WeakKeyDictionary()


@dataclass(frozen=True)
class Scale:
    """Millimeters a pixel; measured: what of the image they were taken from ("the nut is 262 px wide"), or ""."""

    mm_per_px: float
    measured: str = field(default="", compare=False)

    def length(self, px: float) -> str:
        """Return a length in px as "3.2 mm", "12 µm" or "1.4 m"."""
        mm = px * self.mm_per_px
        for unit, size, least in (("m", 1000.0, 1000.0), ("mm", 1.0, 0.1), ("µm", 1e-3, 1e-4)):
            if mm >= least:
                return f"{_digits(mm / size)} {unit}"
        return f"{_digits(mm / 1e-6)} nm"

    def area(self, px: float) -> str:
        """Return an area in px as "2.1 mm²", "350 µm²" or "1.4 m²"."""
        mm2 = px * self.mm_per_px**2
        if mm2 >= 1e6:
            return f"{_digits(mm2 / 1e6)} m²"
        return f"{_digits(mm2)} mm²" if mm2 >= 0.01 else f"{_digits(mm2 / 1e-6)} µm²"


def read_scale(text: str, image: InspectionImage) -> tuple[Scale | None, str]:
    """Return the scale that a user's words give an image, or None; and what else they say.

    Of several the last counts. An object's size ("the nut is 19 mm wide") holds where one stands out. What else they
    say is "" when it asks for nothing.
    """
    if not _NAMES_UNIT.search(_folded(text)):  # as most words do not: a page reads all of a talk for each mask
        return None, text.strip()
    scale, rest = None, []
    for sentence in _sentences(text):
        found = _read(_canonical(sentence), image)
        if found is None or not LEAST_MM <= found[0].mm_per_px <= MOST_MM:
            rest.append(sentence)
            continue
        scale, left = found
        if _ASIDE.sub("", left):  # it asks something, too: "how long is it if 1 px is 0.05 mm?"
            rest.append(sentence)
    said = "".join(rest).strip()
    return scale, said if scale is None or _ASIDE.sub("", _canonical(said)) else ""


def scale_of(conversation: Conversation, request: Request) -> Scale | None:
    """Return the scale of a request's image as the newest of a user's words say it, or its mm_per_px, or None.

    What is said of a pixel holds for every image; what is said of an image's width, for images of that size; what is
    said of an object, for its own image: the next may show another one.
    """
    image = conversation.images.get(request.image_id or "")
    if image is None:
        return None
    asked = [(turn.text, turn.image_id) for turn in reversed(conversation.turns) if turn.role == "user"]
    for text, about in ((request.instruction, image.image_id), *asked):
        then = conversation.images.get(about or "", image)
        scale, _ = read_scale(text, then)
        if scale is None or (scale.measured and then is not image):
            continue
        if then.size_hw == image.size_hw or read_scale(text, image)[0] == scale:
            return scale
    return None if request.mm_per_px is None else Scale(request.mm_per_px)


def unit_mm(written: str) -> float:
    """Return the millimeters of a unit as people write it; see UNITS."""
    return _MM[_canonical(written)]


def without_object_size(text: str) -> str | None:
    """Return words without what says how large the object is, be there one or not; None where nothing says it."""
    sentences = _sentences(text)
    rest = [sentence for sentence in sentences if not _object_size(_canonical(sentence))]
    return None if len(rest) == len(sentences) else "".join(rest).strip()


def _object_size(said: str) -> re.Match[str] | None:
    found = _OF_OBJECT.match(said)
    return found if found and any(found[group] for group in ("before", "side", "after")) else None


def _shown_hw(image: InspectionImage) -> tuple[float, float] | None:
    """Return object_hw of an image, which is kept: each mask and question of a talk reads all of the talk."""
    if image not in _SHOWN_HW:
        _SHOWN_HW[image] = object_hw(image.rgb)
    return _SHOWN_HW[image]


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[!?;。；！？\n])|(?<=\.)(?=\s)|(?<=[,，])(?=\s)", text)


def _read(said: str, image: InspectionImage) -> tuple[Scale, str] | None:
    """Return the scale of canonical words, and these without what says so."""
    for pattern, mm_of in _OF_PIXEL:
        if found := pattern.search(said):
            return Scale(mm_of(found)), said.replace(found[0], " ")
    if found := _object_size(said):
        shown = _shown_hw(image)
        if shown is None:
            return None
        side, px_of = _SIDES[next(found[group] for group in ("before", "side", "after") if found[group])]
        px = px_of(*shown)
        return Scale(float(found[3]) * _MM[found[4]] / px, f"the object is {px:,.0f} px {side}"), said.replace(
            found[0], " "
        )
    size_hw = image.size_hw
    found = _ACROSS.search(said)
    if found is None or said.startswith("=") or _INSIDE.search(said[: found.start()]):  # "is the image 40 mm wide?"
        return None
    first, first_unit, last, unit = (found[i] for i in range(3, 7))
    mm, px = float(last) * _MM[unit], size_hw[1]
    if first:  # "40 x 30 mm": the longer side is the longer one, whichever is named first
        mm, px = max(mm, float(first) * _MM[first_unit or unit]), max(size_hw)
    elif found["after"] == "long":
        px = max(size_hw)
    elif any(found[group] in ("height", "high", "tall", "高") for group in ("before", "side", "after")):
        px = size_hw[0]
    return Scale(mm / px), said.replace(found[0], " ")


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _canonical(text: str) -> str:
    said = _folded(text).replace("×", "x")
    for written, meant in _WRITTEN:
        said = re.sub(written, meant, said)
    return said.strip()


def _digits(value: float) -> str:
    """Return a number with two or three digits that count: 0.42, 3.2, 12, 345."""
    return f"{value:.2g}" if value < 9.95 else f"{value:,.0f}"

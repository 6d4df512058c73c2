"""Small pieces of English that every sentence about a mask is made of: places, articles, numbers, sizes, lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agvas_core.kinds import kind_words
from agvas_core.prompts import MAX_MEASURED_REGIONS, format_percent

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
# Share of the image in per cent, as printed in the measured line, below which a defect is called small, then medium.
SMALL_BELOW, MEDIUM_BELOW = 1.0, 5.0
# What a normal surface, a normal object has, where nothing more is known of it
DEFAULT_LOOK = "an even texture and an even color"
OBJECT_LOOK = "a complete shape, clean edges and an even surface"


def size_word(percent: float) -> str:
    """Return "small", "medium" or "large" for a share of the image in per cent, judged as it is printed."""
    shown = float(format_percent(percent))
    if shown < SMALL_BELOW:
        return "small"
    return "medium" if shown < MEDIUM_BELOW else "large"


def at(place: str) -> str:
    """Return "in the upper left", "at the top", "on the left" ..."""
    preposition = {"top": "at", "bottom": "at", "left": "on", "right": "on"}.get(place, "in")
    return f"{preposition} the {place}"


def a(noun: str) -> str:
    """Return the noun with its article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def join(parts: Sequence[str]) -> str:
    """Return "x", "x and y" or "x, y and z"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def number(count: int) -> str:
    """Return a number as a word, above ten in digits."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def capital(text: str) -> str:
    """Return the text with a capital letter, as at a sentence's begin."""
    return text[:1].upper() + text[1:]


def smaller_ones(count: int) -> list[str]:
    """Return ["three smaller ones"] for findings beyond those that were told, [] without any."""
    return [f"{number(count)} smaller {'one' if count == 1 else 'ones'}"] if count > 0 else []


def counted(kinds: Sequence[str]) -> str:
    """Return "two scratches and a stain" of the kinds of all findings, in order of their first; see more."""
    parts = []
    for kind, count in Counter(kinds[:MAX_MEASURED_REGIONS]).items():
        words = kind_words(kind)
        parts.append(a(words.one) if count == 1 else f"{number(count)} {words.many}")
    return join(parts + more(len(kinds)))


def placed(spots: Sequence[tuple[str, str]]) -> list[str]:
    """Return ["two cracks in the center", "a hole at the top"] of findings' kinds and places; "" is a defect."""
    parts = []
    for (kind, place), count in Counter(spots).items():
        words = kind_words(kind or "defect")
        parts.append(f"{a(words.one) if count == 1 else f'{number(count)} {words.many}'} {at(place)}")
    return parts


def more(count: int) -> list[str]:
    """Return ["three more"] for the findings that the measured line counts but does not list, [] without any."""
    unlisted = count - MAX_MEASURED_REGIONS
    return [f"{number(unlisted)} more"] if unlisted > 0 else []

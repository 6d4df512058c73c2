"""Mistyped words: "segment the crak" means the crack. Few words are known here, and only near misses are corrected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import cache, lru_cache

# Kinds of defects, of five letters and more: of shorter ones a slip is often another word ("hoe", "pat", "dense").
KINDS = (
    "scratch", "scratches", "scratched", "scuff", "scuffs", "abrasion", "abrasions", "crack", "cracks", "cracked",
    "fracture", "fractures", "fissure", "fissures", "perforation", "perforations", "puncture", "punctures", "stain",
    "stains", "stained", "smudge", "smudges", "discoloration", "discolorations", "discolouration", "contamination",
    "contaminations", "debris", "fiber", "fibers", "fibre", "fibres", "deformation", "deformations", "distortion",
    "distortions", "misprint", "misprints", "corrosion", "scorch",
)  # fmt: skip
# What requests and questions are made of.
_ASKING = (
    "segment", "segmentation", "highlight", "outline", "localize", "localise", "circle", "detect", "describe",
    "description", "explain", "inspect", "examine", "analyze", "analyse", "everything", "please", "where", "which",
    "defect", "defects", "anomaly", "anomalies", "anomalous", "region", "regions", "largest", "biggest", "smallest",
    "exactly",
)  # fmt: skip
_ORDINARY = frozenset(  # near, but words themselves
    ("were", "satin", "insect", "insects", "fire", "fires", "continuation", "continuations")
)
_VOWELS = "aeiou"
_VOWELS_FROM = 7  # letters of a word in which a vowel may slip: "anomoly", "segement", but a "stein" is no stain
_CLOSE_FROM = 8  # letters of a word that more than one slip leaves recognisable: "corossion"
_CLOSE = 0.885
_ENDING = 3  # letters in which forms of a word differ: "contaminating" is no slip
_WORD = re.compile(r"[a-z]{4,}", re.I)


def respelled(words: str) -> str:
    """Return a user's words with mistyped ones as they were meant; all else stays as it was typed."""
    return _WORD.sub(lambda word: _meant(word[0].lower()) or word[0], words)


def told(words: str) -> str | None:
    """Return a sentence that tells as which kinds of defects mistyped words are read, None where there are none."""
    from agvas_core.wording import join  # brings torch with it, for which a Space on ZeroGPU has to be first

    read = {word[0]: _meant(word[0].lower()) for word in _WORD.finditer(words)}
    kinds = [f'"{typed}" as {meant}' for typed, meant in read.items() if meant in KINDS]
    return f"I read {join(kinds)}." if kinds else None


@cache
def _slips() -> dict[str, str]:
    """Return what one slip of the finger makes of each word; the first letter is hit well."""
    known = {*KINDS, *_ASKING, *_ORDINARY}
    return {slip: word for word in reversed((*KINDS, *_ASKING)) for slip in _slips_of(word) if slip not in known}


def _slips_of(word: str) -> Iterator[str]:
    """Yield a word with a letter missing, doubled or swapped with the next; a long one with a vowel more or another."""
    for i in range(1, len(word)):
        yield word[:i] + word[i + 1 :]
        yield word[:i] + word[i] + word[i:]
        if i + 1 < len(word):
            yield word[:i] + word[i + 1] + word[i] + word[i + 2 :]
        if len(word) >= _VOWELS_FROM:
            after = word[i + 1 :] if word[i] in _VOWELS else word[i:]
            yield from (word[:i] + vowel + after for vowel in _VOWELS)


@cache
def _long_words() -> list[str]:
    return [word for word in (*KINDS, *_ASKING) if len(word) >= _CLOSE_FROM]


@lru_cache(maxsize=4096)
def _meant(word: str) -> str | None:
    """Return the known word that a mistyped one was meant to be, or None."""
    if word.startswith((*KINDS, *_ASKING)) or word in _ORDINARY:
        return None
    if slip := _slips().get(word):
        return slip
    if len(word) + 1 < _CLOSE_FROM:
        return None
    near = [w for w in _long_words() if w[0] == word[0] and not word.startswith(w[:-_ENDING])]
    close = difflib.get_close_matches(word, near, n=1, cutoff=_CLOSE)
    return close[0] if close else None

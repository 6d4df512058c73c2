"""What a reply calls the thing in the picture: the bundled language model has not learned to see it, so it is not said.

Asked what they show, all of 36 held-out images and 24 photographs were "a part" to it, roads and rolled steel too
(LOG.md, eleventh round). Where no object stands out from its background, a sentence speaks of a surface instead, and
the question what it is gets an honest answer.
"""

from __future__ import annotations

import re

from agvas_core.wording import DEFAULT_LOOK, OBJECT_LOOK

CANNOT_NAME = "I have not learned to name materials and objects."

_NAMED = re.compile(
    r"\b(?P<before>(?:[Aa]|[Tt]he) (?:normal |good )?|(?:[Oo]f|[Oo]n) this )part\b(?! (?:is|was) missing)"
)
_MATERIAL = re.compile(
    r"\b(?P<the>[Tt]he) (?!normal|good|clean|even|whole|entire|same|marked)(?P<of>[a-z]+) surface\b"
    r"(?= (?:looks|is|has)|[.,])"
)
_ASKS_NAME = re.compile(
    r"\b(?:what|which) (?:kind of |type of )?(?:material|surface|texture|object|part|product|thing) "
    r"(?:(?:is|are) (?:this|that|it|these|shown|here)|do you see|does (?:it|this|the \w+) show|am i looking at)\b"
    r"|\bwhat is (?:this|it|that) (?:made of|an? (?:picture|photo|image) of)\b"
    r"|\bwhat (?:is shown|am i looking at|does (?:the|this) (?:image|picture|photo) show)\b"
    r"|\bwhat is (?:on|in) (?:the|this) (?:image|picture|photo)\b"
)


def of_a_surface(text: str, question: str = "") -> str:
    """Return words about "the part" as words about "the surface", with what a surface should look like.

    Its material goes, unless the question named it: rolled steel was "the plastic surface".
    """
    text = _NAMED.sub(r"\g<before>surface", text).replace(OBJECT_LOOK, DEFAULT_LOOK)
    asked = question.casefold()
    return _MATERIAL.sub(lambda match: match[0] if match["of"] in asked else f"{match['the']} surface", text)


def asks_name(question: str) -> bool:
    """Whether a question asks what the picture shows or what it is made of, and not which part is damaged."""
    return bool(_ASKS_NAME.search(question.strip().casefold()))

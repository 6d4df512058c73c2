"""The kinds of defects as people write them: one table for requests, for references to a region, for judged replies."""

# ruff: noqa: E501

from __future__ import annotations

import re
from dataclasses import dataclass

# Patterns of lower-case English, without word boundaries, plurals included.
ENGLISH: dict[str, str] = {
    "scratch": r"scratch(?:es)?|scuffs?|abrasions?",
    "crack": r"cracks?|fractures?|fissures?",
    "hole": r"holes?|perforations?|punctures?",
    "pit": r"pits?|pores?|pitting",
    "dent": r"dents?",
    "bump": r"bumps?",
    "stain": r"stains?|spills?|smudges?",
    "discoloration": r"discolou?rations?|discolou?red (?:areas?|spots?|patch(?:es)?)",
    "contamination": r"contaminations?|foreign (?:particles?|material|matter|objects?)|debris",
    "fiber": r"fib(?:er|re)s?|hairs?|lint",
    "missing part": r"missing (?:parts?|pieces?|components?)",
    "chipped edge": r"chipped edges?|chipping|chips?",
    "deformation": r"deformations?|distortions?",
    "misprint": r"misprints?|printing (?:errors?|faults?)",
    "weave fault": r"weave (?:faults?|errors?)|weaving (?:faults?|errors?)|broken threads?",
    "corrosion": r"corrosion(?: spots?)?|rust(?: spots?)?",
    "burn": r"burns?(?: marks?)?|scorch(?: marks?|es)?",
    "blur": r"blur(?:s|red (?:patch(?:es)?|areas?))?|smears?",
    "foreign patch": r"foreign patch(?:es)?",
}
CHINESE: dict[str, str] = {
    "scratch": "划痕", "crack": "裂", "hole": "孔", "dent": "凹", "stain": "污", "contamination": "异物|杂质",
    "corrosion": "锈",
}  # fmt: skip
# What people also point with ("only the chipped one"); in a description it need not name a defect.
_POINTING: dict[str, str] = {
    "scratch": "scratched", "crack": "cracked|cracking", "pit": "pitted", "dent": "dented", "bump": "bumpy",
    "stain": "stained", "discoloration": "discolou?red",
    "contamination": r"contaminated|dust(?! cover| cap)|dirt|particles?", "missing part": "missing",
    "chipped edge": "chipped", "deformation": "deformed|bent", "misprint": "misprinted", "weave fault": "weaving",
    "corrosion": "corroded|rusty|rusted", "burn": "burnt|burned|burning", "blur": "blurred|blurry",
    "foreign patch": "patch(?:es)?",
}  # fmt: skip


def asked_pattern(kind: str) -> str:
    """Return a pattern that finds a kind in a request, in lower-case English or in Chinese."""
    english = "|".join([ENGLISH[kind], *([_POINTING[kind]] if kind in _POINTING else [])])
    return rf"\b(?:{english})\b" + (f"|{CHINESE[kind]}" if kind in CHINESE else "")


def kinds_in(words: str) -> frozenset[str]:
    """Return the kinds that a request names."""
    text = words.casefold()
    return frozenset(kind for kind in ENGLISH if re.search(asked_pattern(kind), text))


@dataclass(frozen=True)
class KindWords:
    """How a defect kind is spoken of.

    Attributes:
        one: singular noun, without article.
        many: plural noun.
        causes: noun phrases that follow "caused by".
        why: what it does to the surface; follows "because it".
        grave: True when it usually affects the part's function, not only its looks.
        colored: False when its color says nothing.
    """

    one: str
    many: str
    causes: tuple[str, str]
    why: str
    grave: bool = False
    colored: bool = True


KIND_WORDS: dict[str, KindWords] = {
    "scratch": KindWords("scratch", "scratches", ("contact with a sharp tool", "rubbing during transport"), "cuts a line into the surface"),
    "crack": KindWords("crack", "cracks", ("too much stress", "a hard impact"), "breaks the surface apart", True),
    "hole": KindWords("hole", "holes", ("a sharp object", "an error in drilling"), "opens the surface where it should be closed", True),
    "pit": KindWords("pit", "pits", ("gas bubbles in the material", "wear of the surface"), "leaves a small cavity in the surface"),
    "dent": KindWords("dent", "dents", ("a hit by a hard object", "pressure during handling"), "pushes the surface inward", colored=False),
    "bump": KindWords("bump", "bumps", ("trapped air under the surface", "a particle under the surface"), "raises the surface", colored=False),
    "stain": KindWords("stain", "stains", ("a spilled liquid", "dirty handling"), "marks the clean surface"),
    "discoloration": KindWords("discoloration", "discolorations", ("uneven heating", "a chemical on the surface"), "changes the normal color"),
    "contamination": KindWords("contamination", "contaminations", ("dust or dirt from production", "material left from another process"), "puts foreign material on the surface"),
    "fiber": KindWords("fiber", "fibers", ("a loose thread from a cloth", "dust from the air"), "lies on the surface and does not belong there"),
    "missing part": KindWords("missing part", "missing parts", ("an error in assembly", "a part that broke off"), "leaves a gap where something should be", True, False),
    "chipped edge": KindWords("chipped edge", "chipped edges", ("a hit on the edge", "rough handling"), "takes a piece out of the edge", True, False),
    "deformation": KindWords("deformation", "deformations", ("too much pressure", "too much heat"), "bends the normal shape", True, False),
    "misprint": KindWords("misprint", "misprints", ("a shifted print head", "wet ink"), "spoils the normal print"),
    "weave fault": KindWords("weave fault", "weave faults", ("a broken thread", "a wrong machine setting"), "disturbs the regular pattern", True, False),
    "corrosion": KindWords("corrosion spot", "corrosion spots", ("moisture on the surface", "a damaged coating"), "eats into the surface", True),
    "burn": KindWords("burn", "burns", ("too much heat", "contact with a hot tool"), "scorches the surface", True),
    "blur": KindWords("blurred patch", "blurred patches", ("too much polishing", "smeared material"), "wipes out the normal texture", colored=False),
    "foreign patch": KindWords("foreign patch", "foreign patches", ("a piece of another material", "a repair with the wrong material"), "does not match the texture around it"),
}  # fmt: skip


def kind_words(kind: str) -> KindWords:
    """Return how a kind is spoken of; plain words for kinds that the table does not know."""
    known = KIND_WORDS.get(kind)
    return known or KindWords(
        kind, f"{kind}s", ("rough handling", "an error in production"), "differs from the rest of the surface"
    )

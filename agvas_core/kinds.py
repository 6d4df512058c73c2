"""The kinds of defects as people write them: one table for requests, for references to a region, for judged replies."""

from __future__ import annotations

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

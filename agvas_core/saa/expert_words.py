"""What an inspector would look for on the objects of MVTec AD, VisA, KolektorSDD2 and the magnetic tiles; our words.

Written by us from what such products suffer from; the paper's own lists are not copied. "" is the unknown object.
"""

from __future__ import annotations

import re

EXPERT_WORDS: dict[str, tuple[str, ...]] = {
    "": ("scratch", "crack", "hole", "stain", "dent", "foreign particle"),
    # MVTec AD, textures
    "carpet": ("cut in the pile", "coloured stain", "loose fibre", "small hole"),
    "grid": ("bent wire", "broken wire", "thread caught in the mesh"),
    "leather": ("cut mark", "fold line", "glue residue", "puncture"),
    "tile": ("crack line", "grey smear", "oil mark", "rough patch"),
    "wood": ("drilled hole", "liquid mark", "scratch across the grain", "paint spot"),
    # MVTec AD, objects
    "bottle": ("chipped rim", "piece of broken glass", "dirt on the rim"),
    "cable": ("bent strand", "cut insulation", "missing wire", "pierced insulation"),
    "capsule": ("crushed end", "misprinted lettering", "pinhole", "surface scratch"),
    "hazelnut": ("cracked shell", "drilled hole", "white print"),
    "metal nut": ("bent tooth", "paint mark", "scratched metal"),
    "pill": ("chipped coating", "speck of another colour", "wrong imprint"),
    "screw": ("damaged thread", "scratched head", "worn tip"),
    "toothbrush": ("bent bristles", "missing bristles", "lint"),
    "transistor": ("bent lead", "broken case", "lead out of its hole"),
    "zipper": ("broken teeth", "frayed fabric", "split teeth"),
    # VisA
    "candle": ("overlong wick", "wax drip", "foreign particle", "chunk missing from the wax"),
    "capsules": ("bubble", "leaked liquid", "discoloured capsule", "misshapen capsule"),
    "cashew": ("burnt spot", "broken nut", "small hole", "stuck fragment"),
    "chewinggum": ("missing corner", "scratched coating", "crack in the coating"),
    "fryum": ("broken edge", "burnt spot", "stuck piece"),
    "macaroni": ("chipped edge", "crack", "dark spot", "off-colour spot"),
    "pcb": ("bent pin", "burnt component", "missing component", "melted solder", "scratched track"),
    "pipe fryum": ("broken end", "burnt spot", "crack"),
    # KolektorSDD2 and MTD
    "metal surface": ("scratch", "small spot", "rubbed patch", "inclusion"),
    "magnetic tile": ("blow hole", "break", "crack", "frayed edge", "uneven patch"),
}

# other names under which the sets and people know them
_ALSO = {
    "metalnut": "metal nut", "nut": "metal nut", "chewing gum": "chewinggum", "gum": "chewinggum",
    "macaroni1": "macaroni", "macaroni2": "macaroni", "pcb1": "pcb", "pcb2": "pcb", "pcb3": "pcb", "pcb4": "pcb",
    "circuit board": "pcb", "printed circuit board": "pcb", "pipe_fryum": "pipe fryum", "magnet tile": "magnetic tile",
    "mtd": "magnetic tile", "kolektor": "metal surface", "kolektorsdd2": "metal surface", "ksdd2": "metal surface",
    "electrical commutator": "metal surface", "steel": "metal surface", "metal": "metal surface",
    "fabric": "carpet", "plank": "wood", "board": "wood", "macaronis": "macaroni", "tablet": "pill",
}  # fmt: skip


def words_key(object_name: str) -> str | None:
    """Return the key of EXPERT_WORDS that an object's name means, or None."""
    name = re.sub(r"[\s_-]+", " ", object_name.strip().lower())
    for candidate in (name, name.removesuffix("s"), name.replace(" ", "")):
        if candidate in EXPERT_WORDS and candidate:
            return candidate
        if candidate in _ALSO:
            return _ALSO[candidate]
    last = name.split(" ")[-1] if " " in name else ""  # "ceramic tile" is a tile
    return words_key(last) if last else None


def default_words(object_name: str) -> tuple[str, ...]:
    """Return an expert's words for an object, those for an unknown one when there are none."""
    return EXPERT_WORDS[words_key(object_name) or ""]


# words of an inspector -> the kinds of defects that the bundled model was taught (synthesis.facts.DEFECT_KINDS)
_KIND_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"fib(?:er|re)|thread|hair|lint", "fiber"),
    (r"scratch|cut mark|score", "scratch"),
    (r"crack|fracture|split", "crack"),
    (r"hole|puncture|pierced|perforation", "hole"),
    (r"\bpits?\b|pitting|\bpores?\b|porosity|blister hole", "pit"),
    (r"dent|crushed|impression", "dent"),
    (r"bump|bubble|blister|bulge", "bump"),
    (r"burn|scorch|melted", "burn"),
    (r"stain|smear|drip|oil|liquid|\bmark\b|spot|speck", "stain"),
    (r"discolou?r|colou?r", "discoloration"),
    (r"particle|contaminat|dirt|dust|residue|inclusion|foreign|crumb|debris", "contamination"),
    (r"missing|absent|lost", "missing part"),
    (r"chip|break|broken|frayed|edge|rim", "chipped edge"),
    (r"bent|deform|warp|fold|misshap|uneven|worn", "deformation"),
    (r"print|letter|label|imprint", "misprint"),
    (r"weav|pile|mesh", "weave fault"),
    (r"corro|rust", "corrosion"),
    (r"blur|rubbed|polish|rough", "blur"),
)  # fmt: skip


def kind_of(text: str) -> str:
    """Return the kind of defect that words mean ("blow hole" is a hole), or "" for words about any flaw."""
    words = text.lower()
    return next((kind for pattern, kind in _KIND_PATTERNS if re.search(pattern, words)), "")

"""Hybrid prompts: what SAA+ is told beside the picture, as frozen values (paper Sec. 4).

Four kinds: language (what to look for), property (how large, how many objects, where), saliency (how unlike the rest of
the image) and confidence (how many). SAA is the same with one naive word and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from agvas_core.saa.expert_words import default_words
from agvas_core.saa.places import ALL_PLACES, told

Variant = Literal["paper", "code"]
VARIANTS: tuple[Variant, ...] = ("paper", "code")
AreaOf = Literal["object", "image"]
RankedBy = Literal["score", "largest", "smallest"]

CLASS_AGNOSTIC: tuple[str, ...] = ("defect", "anomaly", "damaged spot on the {object}")
UNKNOWN_OBJECT = "object"


@dataclass(frozen=True)
class LanguagePrompts:
    """What to look for, P^L = {T_a, T_s}; each text is one query to the proposer.

    Attributes:
        object_name: what is inspected ("magnetic tile"); "" when unknown.
        class_agnostic: T_a, words for any flaw; "{object}" stands for the object's name.
        class_specific: T_s, an expert's words for this object's flaws.
        excluded: what is not to be reported; candidates found under such words are dropped.
    """

    object_name: str = ""
    class_agnostic: tuple[str, ...] = CLASS_AGNOSTIC
    class_specific: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    @property
    def queries(self) -> tuple[str, ...]:
        """The texts to ask, each once, class-agnostic ones first."""
        name = self.object_name or UNKNOWN_OBJECT
        asked = (text.replace("{object}", name) for text in (*self.class_agnostic, *self.class_specific))
        return tuple(dict.fromkeys(text.strip().lower() for text in asked if text.strip()))


@dataclass(frozen=True)
class Reach:
    """Bounds on how long something is, or how wide, as shares of the image's longer side. Not in the paper.

    Attributes:
        side_px: that side, by which the bounds are told.
        above: it is longer than this.
        below: it is shorter, None for any length.
        wide: whether its width is meant, as of calipers.
    """

    side_px: int
    above: float = 0.0
    below: float | None = None
    wide: bool = False

    @property
    def is_range(self) -> bool:
        """Whether both bounds are the ends of one range: "from 2 to 5 mm", not "below 2 or above 5"."""
        return self.below is not None and 0 < self.above < self.below

    @property
    def in_words(self) -> str:
        """As a rule is told: "longer than 40 px"."""
        more, less = ("wider", "narrower") if self.wide else ("longer", "shorter")
        parts = [f"{more} than {self.told(self.above)}"] if self.above else []
        parts += [f"{less} than {self.told(self.below)}"] if self.below is not None else []
        return " and ".join(parts)

    def told(self, share: float) -> str:
        """Return a share of the longer side in px."""
        return f"{share * self.side_px:,.4g} px"


@dataclass(frozen=True)
class Exclusion:
    """What is not to be reported, where all of this holds. Not in the paper.

    Attributes:
        words: names of flaws; () for any.
        places: of places.ALL_PLACES; () for anywhere.
        larger_than: share of area_of, 0 to 1.
        smaller_than: share of area_of, None for any size.
        area_of: what the two are shares of.
        at_rim: whether only what lies at the rim is meant; see filters.lies_at_rim.
        reach: how long or wide it is, None for any.
    """

    words: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    larger_than: float = 0.0
    smaller_than: float | None = None
    area_of: AreaOf = "object"
    at_rim: bool = False
    reach: Reach | None = None

    @property
    def in_words(self) -> str:
        """As a rule is told: "scratch larger than 2 % of the image at left or upper left"."""
        sizes = [f"larger than {100 * self.larger_than:.3g} %"] if self.larger_than else []
        sizes += [f"smaller than {100 * self.smaller_than:.3g} %"] if self.smaller_than is not None else []
        parts = [" or ".join(self.words) or "anything"]
        parts += [f"{' and '.join(sizes)} of the {self.area_of}"] if sizes else []
        parts += [told(self.places)] if self.places else []
        parts += ["at the rim"] if self.at_rim else []
        parts += [self.reach.in_words] if self.reach else []
        return " ".join(parts)


@dataclass(frozen=True)
class PropertyPrompts:
    """Rules on a candidate's shape and place, P^P = {theta_area, theta_IoU} and their everyday relatives.

    Attributes:
        object_count: how many objects the image shows; an object's box is smaller than 1 / object_count of the image.
        max_area: theta_area; a candidate's area must lie below this share of area_of. 0 to 1.
        min_area: it must lie above this share. Not in the paper; 0 asks for nothing.
        area_of: what the two shares are of: the largest object (paper), or the whole image.
        min_iou: theta_IoU; the candidate's IoU with the object must lie above it. 0 asks that they touch, None for
            nothing (the public code has no such filter). Paper leaves open: its value.
        min_inside: share of the candidate that lies on the object. Not in the paper, but what people mean by "on".
        places: of places.ALL_PLACES, one of which the centre must be in; () for anywhere. Not in the paper.
        rim: what lies at the object's rim, or at the border of an image without one: "only" it, or "not". Not in the
            paper.
        reach: how long or wide a candidate must be, None for any.
        exclusions: what is dropped only of some kind, size and place together. Not in the paper.
    """

    object_count: int = 1
    max_area: float = 0.9
    min_area: float = 0.0
    area_of: AreaOf = "object"
    min_iou: float | None = 0.0
    min_inside: float = 0.0
    places: tuple[str, ...] = ()
    rim: Literal["", "only", "not"] = ""
    reach: Reach | None = None
    exclusions: tuple[Exclusion, ...] = ()

    def __post_init__(self) -> None:
        if self.object_count < 1:
            raise ValueError(f"object_count must be at least 1; got {self.object_count}.")
        for name in ("max_area", "min_area", "min_inside", "min_iou"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must lie between 0 and 1; got {value}.")
        unknown = [place for place in self.places if place not in ALL_PLACES]
        if unknown:
            raise ValueError(f"places must be among {', '.join(ALL_PLACES)}; got {', '.join(unknown)}.")


@dataclass(frozen=True)
class SaliencyPrompt:
    """Rescore by how unlike the rest of the image a candidate is, P^S (Eq. 5-7).

    Attributes:
        neighbours: N of Eq. 5; fewer are taken where the image has fewer cells.
    """

    neighbours: int = 400

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1; got {self.neighbours}.")


@dataclass(frozen=True)
class ConfidencePrompt:
    """Keep the best few, P^C (Eq. 8).

    Attributes:
        top_k: K of Eq. 8.
        by: what makes a candidate one of the best: its score (paper), or its area. Not in the paper.
    """

    top_k: int = 5
    by: RankedBy = "score"

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ValueError(f"top_k must be at least 1; got {self.top_k}.")


@dataclass(frozen=True)
class HybridPrompts:
    """All that regularises the candidates; None switches a kind off.

    Attributes:
        language: what is asked of the proposer.
        property: rules on area and place.
        saliency: Eq. 5-7.
        confidence: Eq. 8.
    """

    language: LanguagePrompts = field(default_factory=LanguagePrompts)
    property: PropertyPrompts | None = field(default_factory=PropertyPrompts)
    saliency: SaliencyPrompt | None = field(default_factory=SaliencyPrompt)
    confidence: ConfidencePrompt | None = field(default_factory=ConfidencePrompt)


def naive_prompts(word: str = "anomaly") -> HybridPrompts:
    """Return SAA's: one naive word, no rules (paper Eq. 3)."""
    return HybridPrompts(LanguagePrompts(class_agnostic=(word,)), property=None, saliency=None, confidence=None)


def prompts_for(object_name: str = "", variant: Variant = "paper") -> HybridPrompts:
    """Return SAA+'s defaults for an object by its name; any name will do, known ones get an expert's words.

    Args:
        object_name: "magnetic tile", "capsule", ... in any spelling; "" for an unknown object.
        variant: "code" leaves out what the public code lacks (the location filter).
    """
    name = object_name.strip().replace("_", " ").lower()
    prompts = HybridPrompts(LanguagePrompts(name, class_specific=default_words(name)))
    return with_variant(prompts, variant)


def with_variant(prompts: HybridPrompts, variant: Variant) -> HybridPrompts:
    """Return the prompts without what a variant lacks; ValueError on an unknown variant."""
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}; got {variant!r}.")
    if variant == "code" and prompts.property is not None:
        return replace(prompts, property=replace(prompts.property, min_iou=None))
    return prompts

"""The facts of a synthetic image, from which all its words are made."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

# The vocabulary of defect kinds; a label map stores the place in this tuple.
DEFECT_KINDS: tuple[str, ...] = (
    "scratch",  # thin straight or gently bent line
    "crack",  # thin, jagged, branching line
    "hole",  # deep dark round opening with a rim
    "pit",  # small dark cavities (pores), one or a cluster
    "dent",  # soft shaded depression: bright on one side, dark on the other
    "bump",  # soft shaded bulge or blister
    "stain",  # darker or lighter patch, hard or soft edge, like a spill
    "discoloration",  # large weak change of colour or tone
    "contamination",  # foreign particles or blobs of other material
    "fiber",  # thin curled hair or thread lying on the surface
    "missing part",  # a part of the object or pattern is absent
    "chipped edge",  # a bite out of an object's or tile's edge
    "deformation",  # local warping of the pattern or outline
    "misprint",  # wrong, smeared or doubled print
    "weave fault",  # broken, thick or missing threads or pattern lines
    "corrosion",  # rust: rough reddish-brown patch
    "burn",  # dark brown-black scorched patch with a soft halo
    "blur",  # smeared, over-polished or out-of-texture patch
    "foreign patch",  # a patch of another texture, or of the same one shifted or rotated
)


@dataclass(frozen=True)
class DefectFacts:
    """What is known of one defect.

    Attributes:
        kind: one of DEFECT_KINDS.
        color: a plain word ("dark", "bright", "reddish", "brown", "gray", ...).
        shape: a plain word ("thin", "round", "irregular", "elongated", "branching", "scattered").
        area_px: pixels of its mask.
        box_xyxy: left, top, right, bottom in px, right and bottom exclusive.
        centroid_yx: mean row and column in px.
        place: regions.place_of the centroid.
        contrast: mean absolute difference to the clean image inside the mask, 0 to 1.
    """

    kind: str
    color: str
    shape: str
    area_px: int
    box_xyxy: tuple[int, int, int, int]
    centroid_yx: tuple[float, float]
    place: str
    contrast: float


@dataclass(frozen=True)
class SceneFacts:
    """What is known of one synthetic image.

    Attributes:
        surface: family name of the surface ("brushed metal", "woven fabric", ...).
        object: family name of the object that it is a photograph of ("washer", ...), or None for a plain surface.
        nuisances: the normal disturbances that were added ("shadow", "vignette", ...).
        defects: largest first; defect i (from 0) has the value i + 1 in the label map.
        size_hw: height and width in px.
    """

    surface: str
    object: str | None
    nuisances: tuple[str, ...]
    defects: tuple[DefectFacts, ...]
    size_hw: tuple[int, int]


@dataclass(frozen=True, eq=False)
class SyntheticBatch:
    """A batch of synthetic images.

    Attributes:
        images: uint8 (B, 3, H, W).
        labels: uint8 (B, H, W): 0 normal, i + 1 for defect i of the image's facts.
        facts: B scenes.
    """

    images: Tensor
    labels: Tensor
    facts: list[SceneFacts]

    @property
    def gt_mask(self) -> Tensor:
        """Bool (B, H, W): any defect."""
        return self.labels > 0

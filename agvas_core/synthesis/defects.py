"""Every kind of defect: DEFECTS[kind](images, allowed, rng) -> (images with one defect each, its soft mask)."""
# images (b, 3, H, W) in [0, 1]; allowed bool (b, H, W); soft mask (b, H, W), above 0.5 where the defect is

from __future__ import annotations

from collections.abc import Callable

from torch import Generator, Tensor

from agvas_core.synthesis.defects_form import bump, chipped_edge, deformation, dent, hole, missing_part, pit
from agvas_core.synthesis.defects_lines import crack, fiber, misprint, scratch, weave_fault
from agvas_core.synthesis.defects_material import (
    blur,
    burn,
    contamination,
    corrosion,
    discoloration,
    foreign_patch,
    stain,
)

DefectFn = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]

DEFECTS: dict[str, DefectFn] = {
    "scratch": scratch,
    "crack": crack,
    "hole": hole,
    "pit": pit,
    "dent": dent,
    "bump": bump,
    "stain": stain,
    "discoloration": discoloration,
    "contamination": contamination,
    "fiber": fiber,
    "missing part": missing_part,
    "chipped edge": chipped_edge,
    "deformation": deformation,
    "misprint": misprint,
    "weave fault": weave_fault,
    "corrosion": corrosion,
    "burn": burn,
    "blur": blur,
    "foreign patch": foreign_patch,
}

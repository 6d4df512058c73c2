"""Candidates, the object they lie on, and what became of each."""

# h, w: the working grid, the image scaled down to at most WORK_PX. Shares are of the whole image, 0 to 1.

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from agvas_core.saa.prompts import HybridPrompts, Variant
from agvas_core.structures import InspectionImage

WORK_PX = 1024  # longer side of the grid on which masks are kept
ANY_QUERY = "any flaw"  # the query of what was proposed whatever the words were

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One region that may be an anomaly.

    Attributes:
        box: left, top, right, bottom as shares of the image.
        area: share of the image; of the box where a detector gave one (paper code), of the mask otherwise.
        score: the proposer's confidence, 0 to 1.
        query: the text that was asked.
        phrase: the words of it that the region answers to.
        mask: bool (h, w), None until the region was refined.
        phrase_score: how sure the proposer is of the phrase, 0 to 1.
        asked: what the score was multiplied by because other words were asked for, 1 where none were.
    """

    box: Box
    area: float
    score: float
    query: str
    phrase: str
    mask: NDArray[np.bool_] | None = None
    phrase_score: float = 0.0
    asked: float = 1.0


@dataclass(frozen=True, eq=False)
class ObjectRegion:
    """What is inspected.

    Attributes:
        area: ObjectArea, share of the image of the largest object; 1 when none was found.
        mask: bool (h, w), all objects, or None when none was found.
    """

    area: float = 1.0
    mask: NDArray[np.bool_] | None = None

    @cached_property
    def depth(self) -> NDArray[np.float64] | None:
        """How far each cell lies inside the object, cells (h, w), 0 outside; None without an object."""
        if self.mask is None:
            return None
        return np.asarray(ndimage.distance_transform_edt(np.pad(self.mask, 1))[1:-1, 1:-1])


@dataclass(frozen=True, eq=False)
class Judgement:
    """What became of a candidate.

    Attributes:
        candidate: the region, refined if it came so far.
        rule: the rule that dropped it ("area", "top-K", ...), "" when it was kept.
        why: one clause for the user.
        saliency: mean saliency inside the mask (Eq. 6), None when it was not asked for.
        score: rescored (Eq. 7), the proposer's score before.
    """

    candidate: Candidate
    rule: str
    why: str
    score: float
    saliency: float | None = None

    @property
    def kept(self) -> bool:
        """Whether it is in the anomaly map."""
        return not self.rule


class Proposer(Protocol):
    """Finds candidates by words and gives them masks (paper Eq. 1 and 2)."""

    def half(self, prompts: HybridPrompts, variant: Variant) -> float:
        """Return the anomaly value that users should see as 0.5."""

    def propose(
        self, image: InspectionImage, prompts: HybridPrompts, stopped: Callable[[], bool]
    ) -> tuple[list[Candidate], ObjectRegion]:
        """Return candidates above the proposer's own floor, and the object."""

    def refine(self, image: InspectionImage, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates with masks on the working grid; those that are too many keep None."""


def work_hw(size_hw: tuple[int, int], limit: int = WORK_PX) -> tuple[int, int]:
    """Return height and width of the working grid of an image."""
    scale = min(1.0, limit / max(size_hw))
    height, width = (max(1, round(side * scale)) for side in size_hw)
    return height, width


def box_mask(box: Box, hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a box as bool (h, w): the cells whose centre it holds."""
    h, w = hw
    x0, y0, x1, y1 = box
    ys, xs = (np.arange(h) + 0.5) / h, (np.arange(w) + 0.5) / w
    return ((ys >= y0) & (ys < y1))[:, None] & ((xs >= x0) & (xs < x1))[None]


def mask_box(mask: NDArray[np.bool_]) -> Box:
    """Return the box of a mask with at least one pixel, as shares of the image."""
    h, w = mask.shape
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(cols[0] / w), float(rows[0] / h), float((cols[-1] + 1) / w), float((rows[-1] + 1) / h)

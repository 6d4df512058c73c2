"""SAA+: propose, filter, refine, rescore, rank (paper Fig. 2); every candidate keeps the reason of its fate."""

# h, w: the working grid

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agvas_core.saa.candidates import Candidate, Judgement, ObjectRegion, Proposer, work_hw
from agvas_core.saa.confidence import anomaly_map, top_k
from agvas_core.saa.filters import (
    is_excluded,
    is_left_out,
    names_object,
    off_object,
    wrong_area,
    wrong_place,
    wrong_reach,
    wrong_side_of_rim,
)
from agvas_core.saa.prompts import HybridPrompts, Variant
from agvas_core.saa.saliency import mean_saliency, saliency_factor
from agvas_core.structures import InspectionImage, Stage

TOP_K = "top-K"  # the rule of Eq. 8
IGNORED = "ignored words"
OBJECT_NAME, OUTLINE = "object name", "outline"  # what these drop is the part itself, or no pixel at all
SaliencyOf = Callable[[InspectionImage, int], NDArray[np.float32]]
"""From an image and N to s on the working grid, (h, w) float32."""


@dataclass(frozen=True, eq=False)
class Regularised:
    """The outcome.

    Attributes:
        anomaly_map: A of Eq. 9, float32 (h, w), not bounded by 1.
        judgements: kept candidates from the best on, then the dropped ones in the order of the rules.
        obj: what was inspected.
    """

    anomaly_map: NDArray[np.float32]
    judgements: tuple[Judgement, ...]
    obj: ObjectRegion

    @property
    def kept(self) -> tuple[Judgement, ...]:
        """The candidates in the map, best first."""
        return tuple(j for j in self.judgements if j.kept)

    @property
    def left_out(self) -> tuple[Judgement, ...]:
        """The candidates that are not in the map only because a rule does not want them."""
        return tuple(j for j in self.judgements if j.rule and j.rule not in (OBJECT_NAME, OUTLINE))


def run(
    image: InspectionImage,
    proposer: Proposer,
    saliency_of: SaliencyOf,
    prompts: HybridPrompts,
    variant: Variant = "paper",
    stopped: Callable[[], bool] = lambda: False,
) -> Generator[Stage, None, Regularised]:
    """Yield the stages and return the outcome; when stopped, that of the candidates judged so far."""
    hw = work_hw(image.size_hw)
    yield Stage("looking for candidates", 0.1)
    candidates, obj = proposer.propose(image, prompts, stopped)
    passed, dropped = judge_boxes(candidates, obj, prompts)
    if stopped():
        return Regularised(np.zeros(hw, np.float32), tuple(dropped), obj)
    yield Stage("outlining candidates", 0.6)
    passed, more = judge_masks(proposer.refine(image, passed), obj, prompts)
    saliency = None
    if prompts.saliency is not None and passed:
        yield Stage("comparing with the rest of the image", 0.8)
        saliency = saliency_of(image, prompts.saliency.neighbours)
    ranked = rank(passed, saliency, prompts, variant)
    kept = [j for j in ranked if j.kept]
    masks = [j.candidate.mask for j in kept if j.candidate.mask is not None]
    values = anomaly_map(masks, [j.score for j in kept], hw, variant)
    return Regularised(values, (*ranked, *more, *dropped), obj)


def judge_boxes(
    candidates: Sequence[Candidate], obj: ObjectRegion, prompts: HybridPrompts
) -> tuple[list[Candidate], list[Judgement]]:
    """Return those that pass the rules that need no mask, and the others with their reasons."""
    passed: list[Candidate] = []
    dropped: list[Judgement] = []
    for c in candidates:
        checks = {IGNORED: is_excluded(c, prompts.language)}
        if prompts.property is not None:
            checks |= {
                OBJECT_NAME: names_object(c, prompts.language),
                "area": wrong_area(c, obj, prompts.property),
            }
        _sort_in(c, checks, passed, dropped)
    return passed, dropped


def judge_masks(
    candidates: Sequence[Candidate], obj: ObjectRegion, prompts: HybridPrompts
) -> tuple[list[Candidate], list[Judgement]]:
    """Return those that pass the rules on their masks, and the others with their reasons."""
    passed: list[Candidate] = []
    dropped: list[Judgement] = []
    for c in candidates:
        if c.mask is None or not c.mask.any():
            why = "only the best-scored boxes are outlined" if c.mask is None else "no pixel was found in its box"
            dropped.append(Judgement(c, OUTLINE, why, c.score))
            continue
        checks: dict[str, str] = {}
        if prompts.property is not None:
            checks = {
                "location": off_object(c, obj, prompts.property),
                "length": wrong_reach(c, prompts.property),
                "place": wrong_place(c, prompts.property) or wrong_side_of_rim(c, obj, prompts.property),
                IGNORED: is_left_out(c, obj, prompts.property),
            }
        _sort_in(c, checks, passed, dropped)
    return passed, dropped


def rank(
    candidates: Sequence[Candidate],
    saliency: NDArray[np.float32] | None,
    prompts: HybridPrompts,
    variant: Variant = "paper",
) -> list[Judgement]:
    """Return all candidates by their scores, rescored by saliency (Eq. 7), those beyond the best K dropped (Eq. 8).

    The best are those of the highest scores, or the largest or smallest where the prompts say so.

    Candidates have masks with at least one pixel; saliency is (h, w), or None to leave the scores.
    """
    means = [None if saliency is None or c.mask is None else mean_saliency(saliency, c.mask) for c in candidates]
    scores = [
        c.score if mean is None else c.score * saliency_factor(mean, variant)
        for c, mean in zip(candidates, means, strict=True)
    ]
    k, by = (None, "score") if prompts.confidence is None else (prompts.confidence.top_k, prompts.confidence.by)
    sign = {"largest": 1, "smallest": -1}.get(by)
    chosen = set(top_k(scores if sign is None else [sign * c.area for c in candidates], k))
    best = "best" if sign is None else by
    ranked = []
    for place, i in enumerate(top_k(scores, None), start=1):
        kept = i in chosen
        why = f"rank {place}" if kept else f"rank {place}, only the {best} {k} are kept"
        ranked.append(Judgement(candidates[i], "" if kept else TOP_K, why, scores[i], means[i]))
    return ranked


def _sort_in(candidate: Candidate, checks: dict[str, str], passed: list[Candidate], dropped: list[Judgement]) -> None:
    """Put a candidate among those that passed, or drop it by the first rule with a reason."""
    for rule, why in checks.items():
        if why:
            dropped.append(Judgement(candidate, rule, why, candidate.score))
            return
    passed.append(candidate)

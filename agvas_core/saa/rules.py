"""The hybrid prompts as rules on top of any engine: regions of its mask are the candidates."""

# H, W: the image's own size; h, w: the working grid

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agvas_core.regions import emptied, keep_regions, region_labels
from agvas_core.saa.candidates import ANY_QUERY, Candidate, Judgement, ObjectRegion, mask_box, work_hw
from agvas_core.saa.foreground import find_object
from agvas_core.saa.pipeline import SaliencyOf, judge_boxes, judge_masks, rank
from agvas_core.saa.prompts import HybridPrompts
from agvas_core.structures import InspectionImage, Prediction, Region

MOST_JUDGED = 200  # regions, largest first; the others are dropped


def apply_rules(
    image: InspectionImage, prediction: Prediction, prompts: HybridPrompts, saliency_of: SaliencyOf | None = None
) -> tuple[Prediction, tuple[Judgement, ...], ObjectRegion]:
    """Return a mask without the regions that the rules drop, what became of each region, and the object.

    Regions keep their own scores; with saliency_of they are ranked by score x exp(saliency) (Eq. 7). Dropped regions
    get the probability 0, so that the mask stays without them under other sliders too; what lay around them below
    the threshold is left. A mask that loses all its regions gets the verdict "other": a part that shows something is
    not normal because the rules leave it out.

    Args:
        image: what the mask is of.
        prediction: of any engine.
        prompts: which rules; of the language only the words to ignore and the object's name apply.
        saliency_of: from an image and N to s on the working grid, or None.
    """
    hw = work_hw(image.size_hw)
    labels = region_labels(prediction.pred_mask)  # (H, W)
    small = _shrunk(labels, hw)
    numbers: dict[int, int] = {}  # id of a candidate -> number of its region
    candidates = []
    for region in prediction.regions[:MOST_JUDGED]:
        candidate = _candidate(region, small, image.size_hw)
        numbers[id(candidate.mask)] = region.index
        candidates.append(candidate)
    count = 1 if prompts.property is None else prompts.property.object_count
    obj = ObjectRegion() if prompts.property is None else find_object(image.rgb, hw, count)
    passed, dropped = judge_boxes(candidates, obj, prompts)
    passed, more = judge_masks(passed, obj, prompts)
    saliency = None
    if saliency_of is not None and prompts.saliency is not None and passed:
        saliency = saliency_of(image, prompts.saliency.neighbours)
    judgements = (*rank(passed, saliency, prompts), *more, *dropped)
    kept = {numbers[id(j.candidate.mask)] for j in judgements if j.kept}
    if len(kept) == len(prediction.regions):
        return prediction, judgements, obj
    return keep_regions(prediction, kept) if kept else emptied(prediction), judgements, obj


def _candidate(region: Region, labels: NDArray[np.int64], size_hw: tuple[int, int]) -> Candidate:
    """Return a region as a candidate; one that fell between the grid's cells is the cell of its centre."""
    (height, width), (h, w) = size_hw, labels.shape
    mask = labels == region.index
    if not mask.any():
        y, x = region.centroid_yx
        mask[min(h - 1, int(y * h / height)), min(w - 1, int(x * w / width))] = True
    area = region.area_px / (height * width)
    phrase = region.kind or "defect"
    return Candidate(mask_box(mask), area, region.score, ANY_QUERY, phrase, mask, region.kind_score)


def _shrunk(labels: NDArray[np.int64], hw: tuple[int, int]) -> NDArray[np.int64]:
    """Return labels (H, W) on the working grid, nearest."""
    (height, width), (h, w) = labels.shape, hw
    if (height, width) == (h, w):
        return labels
    rows, cols = (2 * np.arange(h) + 1) * height // (2 * h), (2 * np.arange(w) + 1) * width // (2 * w)
    return labels[rows[:, None], cols[None]]

"""What an expert's score is worth: image AUROC beside the masks' own, and what a veto by it does to the masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agvas_core.engines.anomaly_ov import AnomalyOVEngine, heat_map
from agvas_core.engines.second_opinion import disagreement, veto
from agvas_core.evaluation.metrics import MetricsMeter, SetMetrics, image_auroc
from agvas_core.structures import InspectionImage, Prediction, Request

FLOORS: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class ExpertResult:
    """The numbers of one set of images.

    Attributes:
        auroc_score: image AUROC of the expert's score.
        auroc_mask: of the masks' highest value.
        auroc_mean: of the mean of both.
        saliency: pixel metrics of the expert's heat map.
        by_floor: of the masks under a veto, for each of FLOORS; 0 is no veto.
        warned: share of all images where mask and score disagree.
        warned_rightly: share of these where the mask's verdict was wrong; NaN without one.
    """

    auroc_score: float
    auroc_mask: float
    auroc_mean: float
    saliency: SetMetrics
    by_floor: dict[float, SetMetrics]
    warned: float
    warned_rightly: float


def evaluate_expert(
    expert: AnomalyOVEngine,
    predict: Callable[[InspectionImage], Prediction],
    items: Iterable[tuple[InspectionImage, NDArray[np.bool_]]],
    progress: Callable[[], None] | None = None,
) -> ExpertResult:
    """Judge an expert beside an engine's masks.

    Args:
        expert: who scores.
        predict: the engine whose masks are judged with it.
        items: images and their gt_mask (H, W).
        progress: called after each image.
    """
    meters = {floor: MetricsMeter() for floor in FLOORS}
    saliency = MetricsMeter()
    scores, highest, labels, warned_rightly = [], [], [], []
    for image, gt_mask in items:
        prediction, look = predict(image), expert.look(image)
        label = bool(gt_mask.any())
        scores.append(look.score)
        highest.append(prediction.pred_score)
        labels.append(label)
        saliency.update(heat_map(look, image.image_id, Request("", image.image_id)), gt_mask)
        for floor, meter in meters.items():
            meter.update(veto(prediction, look.score, floor), gt_mask)
        if disagreement(prediction, look.score):
            warned_rightly.append((prediction.verdict == "anomaly") != label)
        if progress is not None:
            progress()
    return ExpertResult(
        auroc_score=image_auroc(scores, labels),
        auroc_mask=image_auroc(highest, labels),
        auroc_mean=image_auroc([(s + h) / 2 for s, h in zip(scores, highest, strict=True)], labels),
        saliency=saliency.compute(),
        by_floor={floor: meter.compute() for floor, meter in meters.items()},
        warned=len(warned_rightly) / max(1, len(labels)),
        warned_rightly=float(np.mean(warned_rightly)) if warned_rightly else float("nan"),
    )


def expert_table(name: str, result: ExpertResult) -> str:
    """Return a result as markdown, in per cent."""

    def percent(value: float) -> str:
        return "-" if np.isnan(value) else f"{100 * value:.1f}"

    lines = [
        f"{name}: image AUROC of the expert's score {percent(result.auroc_score)}, of the masks "
        f"{percent(result.auroc_mask)}, of their mean {percent(result.auroc_mean)}; saliency AP "
        f"{percent(result.saliency.ap)}, F1-max {percent(result.saliency.f1_max)}; warned about "
        f"{percent(result.warned)} of the images, {percent(result.warned_rightly)} of them rightly",
        "",
        "| veto below | AP | F1-max | IoU_ano | IoU_nor |",
        "|---:|---:|---:|---:|---:|",
    ]
    for floor, m in result.by_floor.items():
        cells = [percent(v) for v in (m.ap, m.f1_max, m.iou_ano, m.iou_nor)]
        lines.append(f"| {floor:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)

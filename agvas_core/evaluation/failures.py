"""Where a model fails most: of each category, the images with the largest false alarm and with the largest miss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from agvas_core.evaluation.items import LabelledImage, without_maps
from agvas_core.structures import InspectionImage, Prediction

Kind = Literal["false alarm", "miss"]


@dataclass(frozen=True, eq=False)
class Failure:
    """One image that went wrong.

    Attributes:
        kind: what went wrong.
        item: the image and its truth.
        prediction: what came of it.
        share: pixels wrongly marked, or missed, as a share of the image, 0 to 1.
    """

    kind: Kind
    item: LabelledImage
    prediction: Prediction
    share: float


@dataclass(eq=False)
class WorstFailures:
    """Keeps the worst of each category and kind while images pass by.

    Attributes:
        each: how many of each category and kind.
    """

    each: int = 1
    _kept: dict[tuple[str, Kind], list[Failure]] = field(default_factory=dict)

    def update(self, item: LabelledImage, prediction: Prediction) -> None:
        """Look at one more image."""
        wrong = {
            "false alarm": np.count_nonzero(prediction.pred_mask & ~item.gt_mask),
            "miss": np.count_nonzero(item.gt_mask & ~prediction.pred_mask),
        }
        for kind, pixels in wrong.items():
            if pixels:
                rows = self._kept.setdefault((item.category, kind), [])  # type: ignore[arg-type]
                rows.append(Failure(kind, item, prediction, pixels / item.gt_mask.size))  # type: ignore[arg-type]
                rows.sort(key=lambda failure: -failure.share)
                del rows[self.each :]

    def found(self) -> list[Failure]:
        """Return what is kept, category by category, false alarms first, the worst first."""
        return [failure for key in sorted(self._kept) for failure in self._kept[key]]


def find_failures(
    predict: Callable[[InspectionImage], Prediction], items: Iterable[LabelledImage], each: int = 1
) -> list[Failure]:
    """Return the worst false alarms and misses of each category, `each` of each kind."""
    worst = WorstFailures(each)
    for item in items:
        worst.update(item, without_maps(predict(item.image), keep_fused=True))  # only the fused map is shown
    return worst.found()

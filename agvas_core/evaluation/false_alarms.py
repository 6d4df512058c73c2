"""False alarms on normal images: marked pixels and regions per megapixel, and how many images stay empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from agvas_core.evaluation.items import without_maps
from agvas_core.processing import open_image
from agvas_core.structures import InspectionImage, Prediction


@dataclass(frozen=True)
class FalseAlarms:
    """The numbers of one group of normal images.

    Attributes:
        images: how many.
        megapixels: of all of them together.
        px_per_mp: marked pixels per million pixels.
        regions_per_mp: marked regions per million pixels.
        empty: share of the images with an empty mask, 0 to 1.
        median_score: median of the images' highest map values, 0 to 1.
    """

    images: int
    megapixels: float
    px_per_mp: float
    regions_per_mp: float
    empty: float
    median_score: float

    @classmethod
    def of(cls, predictions: Iterable[Prediction]) -> FalseAlarms:
        """Add up the predictions of a group; ValueError without one."""
        rows = [(p.pred_mask.size, np.count_nonzero(p.pred_mask), len(p.regions), p.pred_score) for p in predictions]
        if not rows:
            raise ValueError("There is no normal image to measure false alarms on.")
        pixels, marked, regions, scores = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
        megapixels = float(pixels.sum()) / 1e6
        return cls(
            images=len(rows),
            megapixels=megapixels,
            px_per_mp=float(marked.sum()) / megapixels,
            regions_per_mp=float(regions.sum()) / megapixels,
            empty=float(np.mean(marked == 0)),
            median_score=float(np.median(scores)),
        )


def measure_false_alarms(
    predict: Callable[[InspectionImage], Prediction], groups: Mapping[str, Iterable[InspectionImage]]
) -> dict[str, FalseAlarms]:
    """Return the numbers of each group that has an image; all images are taken to be normal."""
    out = {}
    for name, images in groups.items():
        rows = [without_maps(predict(image)) for image in images]
        if rows:
            out[name] = FalseAlarms.of(rows)
    return out


def crops(image: InspectionImage, side: int) -> Iterator[InspectionImage]:
    """Yield the whole squares of a side (px) that lie beside each other in an image, row by row."""
    height, width = image.size_hw
    for top in range(0, height - side + 1, side):
        for left in range(0, width - side + 1, side):
            part = np.ascontiguousarray(image.rgb[top : top + side, left : left + side])
            yield open_image(part, f"{image.name} {left},{top}")


def false_alarm_table(measured: Mapping[str, FalseAlarms]) -> str:
    """Return one row a group, markdown."""
    lines = [
        "| normal images | images | MP | empty, % | false px/MP | false regions/MP | median highest value |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, m in measured.items():
        lines.append(
            f"| {name} | {m.images} | {m.megapixels:.1f} | {100 * m.empty:.1f} | {m.px_per_mp:.0f} | "
            f"{m.regions_per_mp:.1f} | {m.median_score:.2f} |"
        )
    return "\n".join(lines)

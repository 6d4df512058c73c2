"""What each part of a trained model is worth: it is switched off, and the masks are measured again (paper Table 3)."""

# A anchor triples, D width of the LLM, C width of the decoder

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter

from torch import Tensor

from agvas_core.evaluation.items import LabelledImage
from agvas_core.evaluation.metrics import MetricsMeter, SetMetrics
from agvas_core.evaluation.protocol import CategoryResult
from agvas_core.evaluation.report import mean_metrics
from agvas_core.modeling.agvas import AGVAS
from agvas_core.regions import rethreshold
from agvas_core.structures import Prediction

WHOLE = "all parts"
# weights of [SEG] in the fusion (Eq. 8): 1 leaves [SEG] alone, 0 leaves [NOR][ANO] alone; no model run is needed
BRANCHES: Mapping[str, float] = {"without [SEG]": 0.0, "without [NOR][ANO]": 1.0}
WITHOUT_SPAM = "without SPAM"
WITHOUT_REFINER = "without Token Refiner"
LEARNED_ANCHORS = "fixed anchors instead of the language model's"
WITHOUT_OUTLINES = "outlines not drawn by the image"

# MVTec AD, trained without the part ("paper", Table 3): AP, F1-max, IoU_nor, IoU_ano
PAPER_PARTS: Mapping[str, tuple[float, float, float, float]] = {
    WHOLE: (51.0, 52.7, 87.7, 44.8),
    "without [SEG]": (49.1, 50.9, 85.6, 42.1),
    "without [NOR][ANO]": (47.2, 49.7, 52.1, 39.5),
    WITHOUT_SPAM: (46.5, 48.0, 70.6, 41.4),
}
# MVTec AD ("paper", Table 4)
PAPER_MODES: Mapping[str, tuple[float, float, float, float]] = {
    "direct": (51.0, 52.7, 87.7, 44.8),
    "describe": (49.3, 51.3, 58.8, 43.6),
    "describe_plus": (51.9, 53.0, 90.2, 45.1),
    "explain": (48.6, 51.4, 91.1, 43.4),
}

Predict = Callable[[LabelledImage], Prediction]


@contextmanager
def switched_off(model: AGVAS, part: str, learned: Tensor | None = None) -> Iterator[None]:
    """Take a part out of a trained model, and put it back at the end. What is kept of images must be made anew.

    Args:
        model: with all its parts.
        part: WHOLE changes nothing; WITHOUT_SPAM drops f_align and its tokens; WITHOUT_REFINER hands the LLM's states
            to the decoder as they are; WITHOUT_OUTLINES leaves the maps as the decoder makes them; LEARNED_ANCHORS puts
            `learned` in the place of what the LLM and the refiner say.
        learned: (3, C), h_nor, h_ano, h_seg.

    Raises:
        ValueError: when the part is none of these, is not there, or cannot be taken out of this model.
    """
    spam, refiner, config = model.spam, model.token_refiner, model.config
    if part == WITHOUT_SPAM:
        if spam is None:
            raise ValueError("This model has no SPAM.")
        model.spam = None
    elif part == WITHOUT_REFINER:
        if model.config.llm.width != model.config.decoder.width:
            raise ValueError("Without the Token Refiner, the LLM and the decoder must be of one width.")
        refiner.forward = lambda states: states  # type: ignore[method-assign, assignment]
    elif part == WITHOUT_OUTLINES:
        model.config = replace(config, serving_outline=0.0)
    elif part == LEARNED_ANCHORS:
        if learned is None:
            raise ValueError("There are no learned anchors beside this model.")
        refiner.forward = lambda states: learned.to(states).expand(len(states), -1, -1)  # type: ignore[method-assign, assignment]
    elif part != WHOLE:
        raise ValueError(f"There is no part {part!r} to switch off.")
    try:
        yield
    finally:
        model.spam, model.config = spam, config
        refiner.__dict__.pop("forward", None)


@dataclass(eq=False)
class _Row:
    """One row in the making: a meter for each category, and the seconds spent."""

    meters: dict[str, MetricsMeter] = field(default_factory=dict)
    seconds: float = 0.0
    images: int = 0

    def add(self, item: LabelledImage, prediction: Prediction, seconds: float) -> None:
        self.meters.setdefault(item.category, MetricsMeter()).update(prediction, item.gt_mask)
        self.seconds, self.images = self.seconds + seconds, self.images + 1

    def result(self) -> tuple[SetMetrics, float]:
        results = [CategoryResult(name, meter.compute(), 0.0) for name, meter in self.meters.items()]
        return mean_metrics(results), self.seconds / self.images


def measure_rows(
    predictors: Mapping[str, Predict], items: Iterable[LabelledImage], branches_of: str = ""
) -> dict[str, tuple[SetMetrics, float]]:
    """Return each row's numbers, the mean over the categories, and its seconds an image.

    Args:
        predictors: row -> what answers, all on the same images, in this order for each.
        items: labelled images.
        branches_of: a row whose maps give the rows of BRANCHES, too, with no further run of the model.
    """
    rows: dict[str, _Row] = {}
    for item in items:
        for name, predict in predictors.items():
            start = perf_counter()
            prediction = predict(item)
            seconds = perf_counter() - start
            rows.setdefault(name, _Row()).add(item, prediction, seconds)
            if name == branches_of:
                for branch, alpha in BRANCHES.items():
                    rows.setdefault(branch, _Row()).add(item, rethreshold(prediction, alpha=alpha), seconds)
    if not rows:
        raise ValueError("There is no image to measure on.")
    return {name: row.result() for name, row in rows.items()}


def beside_the_paper(
    measured: Mapping[str, tuple[SetMetrics, float]], paper: Mapping[str, tuple[float, float, float, float]], head: str
) -> str:
    """Return ours and the paper's numbers side by side, markdown, in per cent."""
    lines = [
        f"| {head} | AP | F1-max | F1 at 0.5 | IoU_nor | IoU_ano | s/image | paper: AP | F1-max | IoU_nor | IoU_ano |",
        "|---|" + "---:|" * 10,
    ]
    for name, (m, seconds) in measured.items():
        ours = [_percent(v) for v in (m.ap, m.f1_max, m.f1, m.iou_nor, m.iou_ano)]
        theirs = [f"{v:.1f}" for v in paper[name]] if name in paper else ["-"] * 4
        lines.append(f"| {name} | " + " | ".join([*ours, f"{seconds:.2f}", *theirs]) + " |")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "-" if value != value else f"{100 * value:.1f}"

"""Held-out synthesis: images that training never sees, made from their seeds; masks and words judged by their facts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from agvas_core.engines.ask import ask
from agvas_core.engines.base import Engine
from agvas_core.evaluation.language import JUDGED, LanguageScore, parse_reply, score_reply
from agvas_core.evaluation.metrics import MetricsMeter, SetMetrics
from agvas_core.processing import open_image
from agvas_core.regions import group_labels, place_of
from agvas_core.structures import InspectionImage, Mode, Prediction, Request
from agvas_core.synthesis.facts import SceneFacts, SyntheticBatch
from agvas_core.synthesis.generator import SceneGenerator

HELD_OUT_SEED = 2_000_000_000  # training's seeds stay far below it
CHUNK = 32

# What is asked for the words' score, image by image in turn: (family of JUDGED, mode, instruction).
QUESTIONS: tuple[tuple[str, Mode, str], ...] = (
    ("explain", "explain", "Please segment the anomalies in this image and explain."),
    ("describe", "describe", "Please describe the anomalies in this image and segment them."),
    ("where", "chat", "Where is the defect?"),
    ("count", "chat", "How many defects are there?"),
    ("what", "chat", "What kind of defect is it?"),
)


@dataclass(frozen=True, eq=False)
class HeldOutImage:
    """One held-out image, its mask (bool (H, W)) and its facts."""

    image: InspectionImage
    gt_mask: NDArray[np.bool_]
    scene: SceneFacts


@dataclass(frozen=True)
class HeldOutResult:
    """What an engine reached.

    Attributes:
        masks: pixel metrics in direct mode, over all images.
        words: shares of right replies by fact.
        agreement: the same of the replies' own masks, whether or not these are true: "normal" is said exactly when the
            mask is empty, the place of its largest finding and their number are named.
    """

    masks: SetMetrics
    words: LanguageScore
    agreement: LanguageScore


def held_out_batches(count: int, size: int = 256) -> Iterator[SyntheticBatch]:
    """Yield the first `count` held-out images, in batches; no real photograph is among them."""
    generator = SceneGenerator(size=size)
    for at in range(0, count, CHUNK):
        yield generator.batch(min(CHUNK, count - at), HELD_OUT_SEED + at)


def held_out_images(count: int, size: int = 256) -> Iterator[HeldOutImage]:
    """Yield the first `count` held-out images one by one."""
    for batch in held_out_batches(count, size):
        for i, scene in enumerate(batch.facts):
            rgb = np.ascontiguousarray(batch.images[i].permute(1, 2, 0).numpy())
            yield HeldOutImage(open_image(rgb), batch.gt_mask[i].numpy(), scene)


def evaluate_held_out(
    engine: Engine, images: int, words: int, progress: Callable[[int], None] | None = None, threshold: float = 0.5
) -> HeldOutResult:
    """Judge an engine on held-out synthesis.

    Args:
        engine: who answers.
        images: how many images are segmented (direct mode, the default instruction).
        words: about how many of them a question is asked too, the first ones.
        progress: called with the number of images done.
        threshold: of the masks.
    """
    meter = MetricsMeter()
    scores, agreements = [], []
    for n, item in enumerate(held_out_images(images)):
        reply = ask(engine, item.image, Request("", mode="direct", threshold=threshold))
        assert reply.prediction is not None, "direct mode always gives a mask"
        meter.update(reply.prediction, item.gt_mask)
        if n < words:
            family, mode, instruction = QUESTIONS[n % len(QUESTIONS)]
            answer = ask(engine, item.image, Request(instruction, mode=mode, threshold=threshold))
            scores.append(score_reply(answer.text, item.scene, JUDGED[family]))
            shown = answer.prediction or reply.prediction
            agreements.append(score_agreement(answer.text, shown, JUDGED[family]))
        if progress is not None:
            progress(n + 1)
    return HeldOutResult(meter.compute(), LanguageScore.of(scores), LanguageScore.of(agreements))


def score_agreement(reply: str, prediction: Prediction, judged: Collection[str]) -> dict[str, bool]:
    """Return which of normal, kind, place and count a reply has as its own mask shows them, of those that are judged.

    The kind is the one that the engine gives the largest finding; it is not judged where the engine gives none.
    """
    facts = parse_reply(reply)
    findings = group_labels(prediction.pred_mask)  # (H, W)
    if not findings.any():
        return {"normal": facts.says_normal}
    y, x = ndimage.center_of_mass(findings == 1)
    right = {
        "normal": not facts.says_normal,
        "place": place_of(y, x, *prediction.size_hw) in facts.places,
        "count": facts.count == int(findings.max()),
    }
    kind = next(region.kind for region in prediction.regions if region.finding == 1)
    if kind:
        right["kind"] = kind in facts.kinds
    return {name: value for name, value in right.items() if name in judged}

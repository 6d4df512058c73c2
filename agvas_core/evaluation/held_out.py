"""Held-out synthesis: images that training never sees, made from their seeds; masks and words judged by their facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agvas_core.engines.ask import ask
from agvas_core.engines.base import Engine
from agvas_core.evaluation.language import JUDGED, LanguageScore, parse_reply, score_reply
from agvas_core.evaluation.metrics import MetricsMeter, SetMetrics
from agvas_core.processing import open_image
from agvas_core.structures import InspectionImage, Mode, Request
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
        verdict_agrees: share of worded replies that say "no anomaly" exactly when their own mask is empty.
    """

    masks: SetMetrics
    words: LanguageScore
    verdict_agrees: float


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
    scores, agrees = [], []
    for n, item in enumerate(held_out_images(images)):
        reply = ask(engine, item.image, Request("", mode="direct", threshold=threshold))
        assert reply.prediction is not None, "direct mode always gives a mask"
        meter.update(reply.prediction, item.gt_mask)
        if n < words:
            family, mode, instruction = QUESTIONS[n % len(QUESTIONS)]
            answer = ask(engine, item.image, Request(instruction, mode=mode, threshold=threshold))
            scores.append(score_reply(answer.text, item.scene, JUDGED[family]))
            shown = answer.prediction or reply.prediction
            agrees.append(parse_reply(answer.text).says_normal == (shown.verdict == "normal"))
        if progress is not None:
            progress(n + 1)
    share = sum(agrees) / len(agrees) if agrees else float("nan")
    return HeldOutResult(meter.compute(), LanguageScore.of(scores), share)

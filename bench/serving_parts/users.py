"""Several conversations at once: the queue beside one reply at a time, on the same questions."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
from serving_parts.turns import forbid_the_end, photo_bytes, question

from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.queue import QueuedPredictor
from agvas_core.predictor import AnomalyPredictor
from agvas_core.processing import open_image
from agvas_core.structures import Conversation, MaskReady, Request

WORDS = 24  # of an explanation
PLAN = ("direct", "direct", "explain", "direct")  # the first on a new image, the others on the same one


def measure_users(
    engine: AGVASEngine, example: Path, image_px: int, counts: list[int], threshold: float, rounds: int = 1
) -> list[dict[str, float | str]]:
    """Return a row for each number of conversations and each way: turns a second, seconds until the mask."""
    alone, rows = engine.predictor, []
    number = 10_000  # of pictures, all new
    for count in counts:
        for way in ("one at a time", "queue"):
            engine.predictor = _predictor(alone, way, count)
            gate = nullcontext() if way == "queue" else threading.Lock()
            images = [
                [open_image(photo_bytes(example, image_px, number + r * count + n)) for n in range(count)]
                for r in range(rounds)
            ]
            number += rounds * count
            waits: dict[str, list[float]] = {"direct": [], "explain": []}
            begun = time.perf_counter()
            with ThreadPoolExecutor(count) as pool:
                talks = [
                    pool.submit(_talk, engine, [per_round[n] for per_round in images], gate, threshold, waits)
                    for n in range(count)
                ]
                for talk in talks:
                    talk.result()
            seconds = time.perf_counter() - begun
            if isinstance(engine.predictor, QueuedPredictor):
                engine.predictor.queue.close()
            rows.append(
                {
                    "conversations": count,
                    "way": way,
                    "turns_per_s": count * rounds * len(PLAN) / seconds,
                    "direct_p50_s": float(np.percentile(waits["direct"], 50)),
                    "direct_p95_s": float(np.percentile(waits["direct"], 95)),
                    "explain_mask_p95_s": float(np.percentile(waits["explain"], 95)),
                }
            )
    engine.predictor = alone
    return rows


def _predictor(alone: AnomalyPredictor, way: str, count: int) -> AnomalyPredictor:
    device = str(alone.device)
    made: AnomalyPredictor
    if way == "queue":
        made = QueuedPredictor(alone.model, alone.tokenizer, device=device, conversations=count)
    else:
        made = AnomalyPredictor(alone.model, alone.tokenizer, device=device, images_kept=count, prefixes_kept=2 * count)
    forbid_the_end(made)
    return made


def _talk(
    engine: AGVASEngine, images: list, gate: AbstractContextManager, threshold: float, waits: dict[str, list[float]]
) -> None:
    """One visitor: each image's turns one after the other; how long it takes until the mask is there."""
    for image in images:
        conversation = Conversation().with_image(image)
        for n, mode in enumerate(PLAN):
            words = question(n) if mode == "direct" else "Please segment the anomalies and explain."
            request = Request(words, image.image_id, mode=mode, threshold=threshold, max_new_tokens=WORDS)  # type: ignore[arg-type]
            asked = time.perf_counter()
            with gate:
                for event in engine.respond(conversation, request):
                    if isinstance(event, MaskReady):
                        waits[mode].append(time.perf_counter() - asked)

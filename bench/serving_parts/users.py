"""Several conversations at once: the queue beside one reply at a time, on the same questions."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from serving_parts.turns import forbid_the_end, photo_bytes, question

from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.queue import QueuedPredictor
from agvas_core.predictor import AnomalyPredictor
from agvas_core.processing import open_image
from agvas_core.structures import Conversation, InspectionImage, MaskReady, Mode, Request

WORDS = 24  # of an explanation
WAYS = ("one at a time", "queue")
PLAN: tuple[Mode, ...] = (
    "direct",
    "direct",
    "explain",
    "direct",
)  # the first on a new image, the others on the same one


def measure_users(
    engine: AGVASEngine, example: Path, image_px: int, counts: list[int], threshold: float, repeats: int = 1
) -> list[dict[str, float | str]]:
    """Return a row for each number of conversations and each way, the ways taking turns.

    busy_s_per_turn, of all processors, tells what other programs cannot change; one at a time is first come, first
    served.
    """
    alone, rows = engine.predictor, []
    number = 10_000  # of pictures, all new
    for count in counts:
        spent: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        waits: dict[str, dict[str, list[float]]] = {way: {"direct": [], "explain": []} for way in WAYS}
        for way in WAYS * repeats:
            number += count
            images = [open_image(photo_bytes(example, image_px, number + n)) for n in range(count)]
            engine.predictor = _predictor(alone, way, count)
            begun, busy = time.perf_counter(), time.process_time()
            with ThreadPoolExecutor(count) as pool, ThreadPoolExecutor(1) as one:
                gate = one if way == WAYS[0] else None
                talks = [pool.submit(_talk, engine, image, gate, threshold, waits[way]) for image in images]
                for talk in talks:
                    talk.result()
            spent[way].append((time.perf_counter() - begun, time.process_time() - busy))
            if isinstance(engine.predictor, QueuedPredictor):
                engine.predictor.queue.close()
        for way in WAYS:
            turns = count * len(PLAN)
            direct = waits[way]["direct"]
            rows.append(
                {
                    "conversations": count,
                    "way": way,
                    "turns_per_s": turns / median(seconds for seconds, _ in spent[way]),
                    "busy_s_per_turn": median(busy for _, busy in spent[way]) / turns,
                    "direct_p50_s": float(np.percentile(direct, 50)),
                    "direct_p95_s": float(np.percentile(direct, 95)),
                    "explain_mask_p95_s": float(np.percentile(waits[way]["explain"], 95)),
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
    engine: AGVASEngine,
    image: InspectionImage,
    gate: ThreadPoolExecutor | None,
    threshold: float,
    waits: dict[str, list[float]],
) -> None:
    """One visitor: turns one after the other; how long it takes until the mask is there."""
    conversation = Conversation().with_image(image)
    for n, mode in enumerate(PLAN):
        words = question(n) if mode == "direct" else "Please segment the anomalies and explain."
        request = Request(words, image.image_id, mode=mode, threshold=threshold, max_new_tokens=WORDS)
        asked = time.perf_counter()

        def turn(request: Request = request, asked: float = asked, mode: str = mode) -> None:
            for event in engine.respond(conversation, request):
                if isinstance(event, MaskReady):
                    waits[mode].append(time.perf_counter() - asked)

        turn() if gate is None else gate.submit(turn).result()

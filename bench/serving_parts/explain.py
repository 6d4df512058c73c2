"""An explaining turn on a new image: seconds until its mask, seconds of its words, and what a later question reads."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from serving_parts.turns import Bench, photo_bytes, question

from agvas_core.structures import MaskReady, TextDelta

WORDS = 64


def measure_explain(bench: Bench, example: Path, image_px: int, repeats: int) -> dict[str, float]:
    """Return seconds until the mask and for the words of an explaining turn, and how much a later question reads.

    Medians without the first turn, whose words are told apart: on CUDA it records what the others replay. The stages'
    clocks are off, so that what runs side by side does so here.
    """
    masks, words, read = [], [], []
    language = bench.model.language
    for i in range(repeats + 1):
        image = bench.open(photo_bytes(example, image_px, 5000 + i))
        times: dict[str, float] = {}

        def on_event(event: object, times: dict[str, float] = times) -> None:
            kind = "mask" if isinstance(event, MaskReady) else "words" if isinstance(event, TextDelta) else ""
            if kind:
                times[kind] = _now(bench)  # the last of its kind

        begun = _now(bench)
        reply = bench.ask(image, "Please segment the anomalies and explain.", "explain", WORDS, on_event=on_event)
        assert reply.done.tokens == WORDS
        lengths: list[int] = []
        bench.model.language = lambda x, *a, lengths=lengths, **k: lengths.append(x.shape[1]) or language(x, *a, **k)
        bench.ask(image, question(i))
        bench.model.language = language
        masks.append(times["mask"] - begun)
        words.append(times.get("words", _now(bench)) - times["mask"])
        read.append(lengths[0])
    chat = len(bench.predictor.direct_ids(question(0)))
    return {
        "mask_s": median(masks[1:]),
        "words_s": median(words[1:]),
        "first_words_s": words[0],
        "words": WORDS,
        "later_question_reads_tokens": median(read[1:]),
        "of_tokens": chat,
    }


def _now(bench: Bench) -> float:
    return bench.clock._now().seconds

"""An engine without a model: it marks what differs most from the median colour. For tests of the page."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy import ndimage

from agvas_core.regions import make_prediction, with_kinds
from agvas_core.structures import (
    Conversation,
    Done,
    EngineCard,
    Event,
    InspectionImage,
    MaskReady,
    Notice,
    Prediction,
    Request,
    Stage,
    TextDelta,
)

CARD = EngineCard(
    name="Fake engine",
    engine_id="fake",
    description="Marks what differs most from the image's median colour; made for tests.",
    licence="MIT",
    weights="none: a fixed rule",
    trained=True,
    modes=("auto", "direct", "describe", "describe_plus", "explain", "chat"),
    device="cpu",
    memory_mb=0.0,
)


def blob_maps(rgb: np.ndarray) -> np.ndarray:
    """Return a map (H, W) in [0, 1] of how far each pixel is from the median colour."""
    smooth = ndimage.uniform_filter(rgb.astype(np.float32), size=(5, 5, 1))
    distance = np.abs(smooth - np.median(smooth, axis=(0, 1))).max(axis=2)
    return np.clip(distance / 110.0, 0, 1).astype(np.float32)


class FakeEngine:
    """Answers like an engine, with small pauses so that streaming and stopping can be seen."""

    def __init__(self, *, pause_s: float | None = None, card: EngineCard = CARD) -> None:
        self.card = card
        self.pause_s = float(os.environ.get("FAKE_PAUSE_S", "0.03")) if pause_s is None else pause_s
        self.prepared: list[str] = []
        self.seen: list[tuple[Conversation, Request]] = []

    def prepare(self, image: InspectionImage) -> None:
        """Remember that the image was announced."""
        self.prepared.append(image.image_id)

    def respond(
        self, conversation: Conversation, request: Request, *, stop: threading.Event | None = None
    ) -> Iterator[Event]:
        """Stages, then words and mask in the order of the mode."""
        stop = stop or threading.Event()
        self.seen.append((conversation, request))
        begun = time.perf_counter()
        mode = "explain" if request.mode == "auto" else request.mode
        image = conversation.images.get(request.image_id or "")
        if "crash" in request.instruction:
            raise RuntimeError("the fake engine was told to crash")
        for n, name in enumerate(("Encoding image", "Reading the question", "Decoding the mask")):
            yield Stage(name, (n + 1) / 4)
            time.sleep(3 * self.pause_s)
        if image is None:
            yield TextDelta("I can say more once there is an image.")
            yield Done(mode, {"all": time.perf_counter() - begun})
            return
        prediction = self.predict(image, request)
        count = len(prediction.regions)
        words = f"I see {count} unusual area{'' if count == 1 else 's'}. " if count else "Nothing unusual is visible. "
        words += " ".join(f"Area {r.index} lies at the {r.place}." for r in prediction.regions[:6])
        if "table" in request.instruction:
            words += "\n\n| region | where | share | area | box (left, top, right, bottom) |\n|---|---|---|---|---|\n"
            words += "| 1 | center | 2.3 % | 6,006 px | 119, 230, 223, 310 |\n\n"
        if mode == "chat":
            words = "We can talk about this image. " + words
        words = words + " The rest of the surface looks even and clean." * (6 if "long" in request.instruction else 1)
        tokens = 0
        if mode in ("direct", "explain"):
            yield MaskReady(prediction)
        if mode != "direct":
            for word in words.split(" "):
                if stop.is_set():
                    yield Done(mode, {"words": time.perf_counter() - begun}, tokens, stopped=True)
                    return
                time.sleep(self.pause_s)
                tokens += 1
                yield TextDelta(word + " ")
        if mode in ("describe", "describe_plus"):
            yield MaskReady(prediction)
        if "anchors" in request.instruction:
            yield Notice("The reply came without anchors; they were added.")
        yield Done(mode, {"encode": 0.1, "words": time.perf_counter() - begun}, tokens, 100.0)

    def predict(self, image: InspectionImage, request: Request) -> Prediction:
        """Return the rule's prediction."""
        found = blob_maps(image.rgb)
        prediction = make_prediction(
            image_id=image.image_id,
            p_seg=found,
            p_nor=1 - found,
            p_ano=ndimage.uniform_filter(found, 9),
            threshold=request.threshold,
            alpha=request.alpha,
            min_area_px=request.min_area_px or 0,
            roi_xyxy=request.roi_xyxy,
        )
        return with_kinds(prediction, [("stain", 0.9), ("hole", 0.4)])


def second_engine(*, pause_s: float | None = None) -> FakeEngine:
    """Another engine, for comparing."""
    return FakeEngine(pause_s=pause_s, card=replace(CARD, name="Second fake", engine_id="second", markdown="# Second"))


def untrained_engine() -> FakeEngine:
    """An engine that says that its weights are random."""
    card = replace(
        CARD, name="Untrained fake", engine_id="untrained", weights="UNTRAINED (random weights)", trained=False
    )
    return FakeEngine(card=card)

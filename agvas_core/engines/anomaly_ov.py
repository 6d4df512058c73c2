"""Anomaly-OV as an engine: a score, where it looked, and words; its parts come as a seer, bundled or from the hub."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from agvas_core.checkpoint import card_text
from agvas_core.checkpoint_expert import load_expert
from agvas_core.engines.dialogue import mode_of, recent_exchanges, too_many_characters
from agvas_core.engines.judged import without_comparing
from agvas_core.engines.own_words import NO_IMAGE, UNTRAINED
from agvas_core.engines.shared_weights import shared_checkpoint
from agvas_core.memory import peak_memory_mb
from agvas_core.modeling.agvas import AGVAS
from agvas_core.modeling.anomaly_ov import AnomalyExpert, suspicion_word
from agvas_core.modeling.expert_eyes import expert_features
from agvas_core.processing import fit, restore
from agvas_core.prompts import ChatTurn
from agvas_core.regions import make_prediction
from agvas_core.structures import (
    MODES,
    Conversation,
    Done,
    EngineCard,
    Event,
    InspectionImage,
    MaskReady,
    Mode,
    Notice,
    Prediction,
    Request,
    Stage,
    TextDelta,
)

DETECTION_QUESTION = "Are there any defects for the object in the image? Please reply with 'Yes' or 'No'."
QUESTIONS: dict[Mode, str] = {
    "describe": "Describe the defects of the object in the image, and where they are.",
    "describe_plus": "Describe the defects of the object in the image, and where they are.",
    "explain": "Are there any defects for the object in the image? Explain what speaks for it and against it.",
    "chat": "What do you see in the image?",
}
SALIENCY_NOTE = (
    "The colours are Anomaly-OV's saliency: a coarse heat map of where it looked, scaled to its score. It is no mask: "
    "outlines and areas are rough."
)
WORDS_DISAGREE = "The words and the expert disagree: its score for the image is {score:.2f}."
NO_NAMES = "This small expert scores an image and shows where it looked; it cannot name defects. AG-VAS nano can."
LOOKS_KEPT = 4
HISTORY_EXCHANGES = 4
PLACES_NAMED = 3


@dataclass(frozen=True, eq=False)
class Look:
    """What was found in an image.

    Attributes:
        score: chance that it is anomalous, 0 to 1.
        saliency: float32 (H, W) in [0, 1] at the image's own size.
        image_tokens: (L, W), what the LLM reads of the image; None for a seer without an LLM.
        selected_tokens: (L', W), what it reads of the suspicious parts; None likewise.
    """

    score: float
    saliency: NDArray[np.float32]
    image_tokens: torch.Tensor | None = None
    selected_tokens: torch.Tensor | None = None


class Seer(Protocol):
    """Looks at images and speaks about what it saw."""

    device: torch.device

    def look(self, image: InspectionImage) -> Look:
        """Score an image and show where the suspicion lies."""

    def speak(
        self,
        look: Look,
        prediction: Prediction,
        history: Sequence[ChatTurn],
        question: str,
        max_new_tokens: int,
        stop: threading.Event,
    ) -> Iterator[str]:
        """Yield the answer in pieces of text, one a token ("" while a character is incomplete), until stop is set."""


def heat_map(look: Look, image_id: str, request: Request) -> Prediction:
    """Return the saliency as a Prediction: all three maps are made of it, its highest value is the image's score.

    Paper leaves open: how saliency and score are shown together. So scaled, the verdict at a threshold is the score's.
    """
    heat = look.saliency * np.float32(look.score / max(float(look.saliency.max()), 1e-12))  # (H, W)
    return make_prediction(
        image_id=image_id,
        p_seg=heat,
        p_nor=1 - heat,
        p_ano=heat,
        threshold=request.threshold,
        alpha=request.alpha,
        min_area_px=request.min_area_px or 0,
        roi_xyxy=request.roi_xyxy,
    )


class AnomalyOVEngine:
    """Answers with a seer; keeps the newest looks, and no conversation."""

    def __init__(self, seer: Seer, card: EngineCard) -> None:
        self.seer, self._card = seer, card
        self._looks: OrderedDict[str, Look] = OrderedDict()
        self._lock = threading.RLock()

    @property
    def card(self) -> EngineCard:
        """Who answers."""
        return self._card

    def prepare(self, image: InspectionImage) -> None:
        """Look at an image ahead of its first question."""
        self.look(image)

    def look(self, image: InspectionImage) -> Look:
        """Return what was found in an image; kept for the newest ones."""
        with self._lock:
            if image.image_id not in self._looks:
                self._looks[image.image_id] = self.seer.look(image)
                if len(self._looks) > LOOKS_KEPT:
                    self._looks.popitem(last=False)
            self._looks.move_to_end(image.image_id)
            return self._looks[image.image_id]

    def respond(
        self, conversation: Conversation, request: Request, *, stop: threading.Event | None = None
    ) -> Iterator[Event]:
        """Yield the events of one reply; see engines.base. Direct mode asks whether there is a defect, yes or no."""
        stop = stop or threading.Event()
        image = conversation.images.get(request.image_id or "")
        mode = mode_of(conversation, request)
        seconds: dict[str, float] = {}
        question = _question(mode, request)
        refused = NO_IMAGE if image is None else too_many_characters(question)
        if not self._card.trained:
            yield Notice(UNTRAINED)
        if image is None or refused:
            yield Notice(str(refused))
            yield Done(mode, seconds)
            return
        alone = without_comparing(conversation, request, self._card)
        if alone is not None:
            yield alone
        if isinstance(alone, TextDelta):
            yield Done(mode, seconds)
            return
        yield Stage("looking twice", 0.1)
        began = time.perf_counter()
        look = self.look(image)
        seconds["encode"] = time.perf_counter() - began
        prediction = heat_map(look, image.image_id, request)
        words_first = mode in ("describe", "describe_plus")
        if mode != "chat" and not words_first:
            yield MaskReady(prediction)
        tokens, said = 0, ""
        began = time.perf_counter()
        history = recent_exchanges(conversation.turns, image.image_id, HISTORY_EXCHANGES)
        if not stop.is_set():
            for piece in self.seer.speak(look, prediction, history, question, request.max_new_tokens, stop):
                tokens, said = tokens + 1, said + piece
                if piece:
                    yield TextDelta(piece)
        seconds["words"] = time.perf_counter() - began
        if words_first and not stop.is_set():
            yield MaskReady(prediction)
        if mode != "chat":
            yield Notice(SALIENCY_NOTE)
        if mode == "direct" and _says_no(said) != (prediction.verdict == "normal") and not stop.is_set():
            yield Notice(WORDS_DISAGREE.format(score=look.score))
        yield Done(mode, seconds, tokens, peak_memory_mb(self.seer.device), stop.is_set())


class BundledSeer:
    """The small expert on the bundled model's eyes. It has no LLM of its own: its words are made by rule."""

    def __init__(self, expert: AnomalyExpert, model: AGVAS, *, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.expert, self.model = expert.to(device).eval(), model.to(device).eval()

    @torch.inference_mode()
    def look(self, image: InspectionImage) -> Look:
        """Score an image and show where the suspicion lies."""
        config = self.expert.config
        rgb, letterbox = fit(image.rgb, config.pixel_px or self.model.config.semantic.image_px)
        pixels = torch.from_numpy(rgb).to(self.device).permute(2, 0, 1)[None].float() / 255  # (1, 3, C, C)
        output = self.expert(expert_features(self.model, config, pixels), [1])
        saliency = restore(output.saliency[0], letterbox).clip(0, 1)
        return Look(float(output.logits[0].sigmoid()), saliency)

    def speak(
        self,
        look: Look,
        prediction: Prediction,
        history: Sequence[ChatTurn],
        question: str,
        max_new_tokens: int,
        stop: threading.Event,
    ) -> Iterator[str]:
        """Yield the verdict, and where the suspicion lies, word by word; other questions get what it cannot do, too."""
        answer = rule_words(prediction)
        if question != DETECTION_QUESTION:
            answer = f"{answer} {NO_NAMES}"
        for n, word in enumerate(answer.split(" ")[:max_new_tokens]):
            if stop.is_set():
                return
            yield f" {word}" if n else word


def rule_words(prediction: Prediction) -> str:
    """Return whether a defect is likely, how suspicious the image or its region of interest is, and where most.

    Paper differs: its model answers DETECTION_QUESTION by "Yes" or "No". Who reads this has asked in words of his own
    ("is this part good?"), to which "Yes" would mean the opposite.
    """
    score = prediction.pred_score
    what = "image" if prediction.roi_xyxy is None else "region of interest"
    looks = f"{what} looks {suspicion_word(score)} suspicious (score {score:.2f})"
    if prediction.verdict == "normal":
        return f"No defect is likely. The {looks}."
    best_first = sorted(prediction.regions, key=lambda region: -region.score)
    places = list(dict.fromkeys(region.place for region in best_first))[:PLACES_NAMED]
    where = " and ".join(filter(None, [", ".join(places[:-1]), places[-1]]))
    return f"A defect is likely. The {looks}, most of all here: {where}."


def load_bundled(folder: Path, model_folder: Path, *, device: str = "cpu") -> AnomalyOVEngine:
    """Return the engine of a bundled expert on the shared model; errors as in load_checkpoint and load_expert."""
    model, _, _ = shared_checkpoint(model_folder, device)
    expert, training = load_expert(folder, model)
    seer = BundledSeer(expert, model, device=device)
    parts = (expert, model.lmm.model.vision_tower, model.pixel_encoder)
    card = EngineCard(
        name="Anomaly-OV nano",
        engine_id="anomaly-ov-nano",
        description="A small Anomaly-OV expert on AG-VAS nano's eyes: a defect, yes or no, and where it looked.",
        licence="Apache-2.0",
        weights=str(training.get("summary", "")) or "UNTRAINED (random weights)",
        trained=bool(training),
        modes=MODES,
        device=device,
        memory_mb=weights_mb(parts),
        markdown=card_text(folder),
        heat_map_only=True,
    )
    return AnomalyOVEngine(seer, card)


def weights_mb(modules: Sequence[torch.nn.Module]) -> float:
    """Return the memory of modules' weights, MB."""
    return round(sum(p.numel() * p.element_size() for m in modules for p in m.parameters()) / 1e6, 1)


def _question(mode: Mode, request: Request) -> str:
    if mode == "direct":
        return DETECTION_QUESTION
    question = request.instruction.strip() or QUESTIONS[mode]
    normal = request.normal_description.strip() if mode == "describe_plus" else ""
    return f"{normal} {question}" if normal else question


def _says_no(answer: str) -> bool:
    return answer.strip().lower().startswith("no")

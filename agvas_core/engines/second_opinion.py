"""A second opinion: Anomaly-OV's image score beside another engine's mask, a warning where they disagree.

By name: "agvas-nano:second-opinion" only warns; "agvas-nano:second-opinion=0.3" weakens masks below that score, too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from agvas_core.engines.anomaly_ov import AnomalyOVEngine, heat_map
from agvas_core.engines.base import Engine
from agvas_core.engines.dialogue import mode_of
from agvas_core.engines.names import SECOND_OPINION
from agvas_core.modeling.anomaly_ov import SUSPICION_BOUNDS, suspicion_word
from agvas_core.regions import rethreshold
from agvas_core.structures import (
    Conversation,
    EngineCard,
    Event,
    InspectionImage,
    MaskReady,
    Notice,
    Prediction,
    Request,
    TextDelta,
)

WITHDRAWN = "No anomaly found: what was marked is withdrawn, because the {what} looks only {word} suspicious."


def looked_at(prediction: Prediction) -> str:
    """Return what the expert's score is of."""
    return "whole image" if prediction.roi_xyxy is None else "region of interest"


def opinion(score: float, what: str = "whole image") -> str:
    """Return how suspicious something looks, as a sentence."""
    return f"A second look at the {what} finds it {suspicion_word(score)} suspicious (score {score:.2f})."


def disagreement(prediction: Prediction, score: float) -> str | None:
    """Return a sentence when mask and score disagree: a mask and a low score, or none and a high one; else None."""
    low, high = SUSPICION_BOUNDS
    told = opinion(score, looked_at(prediction))
    if prediction.verdict == "anomaly" and score < low:
        return f"Take this mask with care. {told}"
    if prediction.verdict == "normal" and score >= high:
        return f"Nothing is marked, but look again. {told}"
    return None


def veto(prediction: Prediction, score: float, floor: float) -> Prediction:
    """Return the prediction with its maps scaled by score / floor where the score is below the floor.

    A threshold that is moved afterwards works on the scaled maps, so that nothing taken away comes back unseen.
    """
    if score >= floor:
        return prediction
    factor = np.float32(score / floor)
    p_ano = prediction.p_ano * factor
    scaled = replace(
        prediction,
        p_seg=prediction.p_seg * factor,
        p_nor=1 - p_ano,
        p_ano=p_ano,
        anomaly_map=prediction.anomaly_map * factor,
    )
    return rethreshold(scaled)


class SecondOpinion:
    """An engine whose masks are compared with an expert's score; all else passes through as it is.

    The mean of both ranks images better than either on held-out images and photographs (LOG.md), so it is the
    predictions' image_score.

    veto_floor: scores below it take the mask back (see veto), in direct mode only: elsewhere the words have read the
        mask already. 0, the default, only warns.
    """

    def __init__(self, engine: Engine, expert: AnomalyOVEngine, *, veto_floor: float = 0.0) -> None:
        self.engine, self.expert, self.veto_floor = engine, expert, veto_floor

    @property
    def card(self) -> EngineCard:
        """The card of the engine that answers, and who looks a second time with what weights."""
        card, second = self.engine.card, self.expert.card
        floor = f"={self.veto_floor:g}" if self.veto_floor else ""
        does = "warns where its score for the whole image and the mask disagree"
        if floor:
            does += f", and in direct mode weakens the map, and with it the mask, below {self.veto_floor:g}"
        return replace(
            card,
            name=f"{card.name} + second opinion",
            engine_id=f"{card.engine_id}{SECOND_OPINION}{floor}",
            description=f"{card.description} {second.name} looks a second time: it {does}.",
            weights=f"{card.weights}; {second.name}: {second.weights}",
            weights_hash=f"{card.weights_hash}+{second.weights_hash or second.weights}" if card.weights_hash else "",
        )

    def prepare(self, image: InspectionImage) -> None:
        """Encode an image for both."""
        self.engine.prepare(image)
        self.expert.prepare(image)

    def respond(
        self, conversation: Conversation, request: Request, *, stop: threading.Event | None = None
    ) -> Iterator[Event]:
        """Yield the engine's events; after a mask, how suspicious the whole image looks, and a warning if need be."""
        image = conversation.images.get(request.image_id or "")
        mode, withdrawn = mode_of(conversation, request), False
        for event in self.engine.respond(conversation, request, stop=stop):
            if withdrawn and isinstance(event, TextDelta):
                continue  # words about a mask that is gone
            if image is None or not isinstance(event, MaskReady):
                yield event
                continue
            look = self.expert.look(image)
            score = look.score if request.roi_xyxy is None else heat_map(look, image.image_id, request).pred_score
            shown = veto(event.prediction, score, self.veto_floor) if mode == "direct" else event.prediction
            withdrawn = shown.verdict != event.prediction.verdict
            yield MaskReady(replace(shown, image_score=(shown.pred_score + score) / 2))
            if withdrawn:
                yield TextDelta(WITHDRAWN.format(what=looked_at(shown), word=suspicion_word(score)))
            else:
                yield Notice(disagreement(shown, score) or opinion(score, looked_at(shown)))

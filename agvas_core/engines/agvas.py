"""AG-VAS as an engine: one conversation turn in any mode, as a stream of events."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from agvas_core.asking import as_learned, asks_diagnosis, in_other_language, wants_whole_again
from agvas_core.checkpoint import card_text, checkpoint_hash
from agvas_core.engines.dialogue import excused, measured_by, mode_of, read_well, spelled_out
from agvas_core.engines.judged import judged_by
from agvas_core.engines.own_words import (
    ENGLISH_ONLY,
    NO_DECODER,
    NO_DIAGNOSIS,
    NO_IMAGE,
    UNTRAINED,
    about_itself,
    not_compared,
)
from agvas_core.engines.queue import CONVERSATIONS, QueuedPredictor
from agvas_core.engines.reply import Clock, QuestionTooLongError, Reply
from agvas_core.engines.shared_weights import shared_checkpoint
from agvas_core.memory import peak_memory_mb
from agvas_core.modeling.agvas import AGVAS
from agvas_core.predictor import AnomalyPredictor
from agvas_core.prompts import DEFAULT_INSTRUCTIONS
from agvas_core.structures import (
    MODES,
    Conversation,
    Done,
    EngineCard,
    Event,
    InspectionImage,
    Notice,
    Request,
    Stage,
    TextDelta,
)


class AGVASEngine:
    """Answers with the bundled model, or any other AG-VAS checkpoint.

    Attributes:
        hold_words: whether words that read a mask's kinds are held to it; see held_words.
    """

    hold_words = True

    def __init__(self, folder: Path, *, engine_id: str, name: str, device: str = "cpu") -> None:
        model, tokenizer, training = shared_checkpoint(folder, device)
        weights = str(training.get("summary", "")) if training else "UNTRAINED (random weights)"
        self._take(
            model,
            tokenizer,
            engine_id=engine_id,
            name=name,
            device=device,
            weights=weights,
            trained=bool(training),
            markdown=card_text(folder),
            weights_hash=checkpoint_hash(folder),
        )

    @classmethod
    def of(cls, model: AGVAS, tokenizer: PreTrainedTokenizerBase, **card: Any) -> AGVASEngine:
        """Return an engine of a model that is loaded already; card: as in _take."""
        engine = cls.__new__(cls)
        engine._take(model, tokenizer, **card)
        return engine

    def _take(
        self,
        model: AGVAS,
        tokenizer: PreTrainedTokenizerBase,
        *,
        engine_id: str,
        name: str,
        device: str,
        weights: str,
        trained: bool,
        licence: str = "Apache-2.0",
        markdown: str = "",
        weights_hash: str = "",
        speaks_alone: bool = False,
    ) -> None:
        """Keep a model; speaks_alone: its words come from a trained base, its mask decoder is random: no masks."""
        self.predictor: AnomalyPredictor = AnomalyPredictor(
            model, tokenizer, device=device, says_anchors=not speaks_alone
        )
        self.speaks_alone = speaks_alone
        self._card = EngineCard(
            name=name,
            engine_id=engine_id,
            description="AG-VAS: masks and words from one multimodal language model, by its anchors [NOR][ANO][SEG].",
            licence=licence,
            weights=weights,
            trained=trained,
            modes=MODES,
            device=device,
            memory_mb=round(sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6, 1),
            markdown=markdown,
            weights_hash=weights_hash,
        )

    @property
    def card(self) -> EngineCard:
        """Who answers."""
        return self._card

    def share(self, conversations: int = CONVERSATIONS) -> None:
        """Let replies run at once, their model's work in one queue; before the first reply, not in forked workers.

        conversations: for how many of them images and read chats are kept.
        """
        alone = self.predictor
        self.predictor = QueuedPredictor(
            alone.model,
            alone.tokenizer,
            device=str(alone.device),
            says_anchors=not self.speaks_alone,
            conversations=conversations,
        )

    def prepare(self, image: InspectionImage) -> None:
        """Encode an image ahead of its first question."""
        self.predictor.set_image(image)

    def respond(
        self, conversation: Conversation, request: Request, *, stop: threading.Event | None = None
    ) -> Iterator[Event]:
        """Yield the events of one reply; see engines.base."""
        stop = stop or threading.Event()
        clock = Clock()
        conversation, request, read_as = read_well(conversation, request)
        image = conversation.images.get(request.image_id or "")
        request, good, noted = judged_by(conversation, request)
        if self.speaks_alone:
            good, noted = (), not_compared(self._card) if noted else None
        if not self._card.trained:
            yield Notice(NO_DECODER if self.speaks_alone else UNTRAINED)
        told = None if request.instruction else noted
        if told is None:
            request, told = excused(conversation, request)
        if told is not None:
            yield TextDelta(told)
            yield Done("chat", clock.seconds)
            return
        request, scale, said = measured_by(conversation, request)
        if wants_whole_again(request.instruction):
            request = replace(request, instruction=DEFAULT_INSTRUCTIONS["direct"])
        asked = request.instruction
        request = spelled_out(conversation, request)
        mode = mode_of(conversation, request)
        asked = as_learned(asked) if mode == "chat" else asked
        if image is None:
            yield Notice(NO_IMAGE)
            yield Done(mode, clock.seconds)
            return
        no_diagnosis = NO_DIAGNOSIS if asks_diagnosis(request.instruction) else None
        for sentence in filter(None, (read_as, noted, said, no_diagnosis)):
            yield Notice(sentence)
        if self.predictor.model.config.decoder.measured_kinds and in_other_language(request.instruction):
            yield Notice(ENGLISH_ONLY)
        told = about_itself(request.instruction) if mode == "chat" and self._card.trained else None
        if told is not None:
            yield TextDelta(told)
            yield Done(mode, clock.seconds)
            return
        yield Stage("looking at the image in tiles" if request.close else "encoding the image", 0.1)
        encoded = self.predictor.set_image(image, close=request.close)
        clock.lap("encode")
        if good:
            yield Stage("looking at the good examples", 0.3)
            self.predictor.memory_bank(good)
            clock.lap("good examples")
        made_of = (self.predictor, conversation, request, image, encoded, mode, stop, clock, self._card)
        reply = Reply(*made_of, hold_words=self.hold_words, scale=scale, asked=asked, good=good)
        try:
            if not stop.is_set():
                yield from reply.words_alone() if self.speaks_alone else reply.events()
        except QuestionTooLongError as error:
            yield Notice(str(error))
        yield Done(mode, clock.seconds, reply.tokens, peak_memory_mb(self.predictor.device), stop.is_set())

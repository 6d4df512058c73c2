"""AG-VAS as an engine: one conversation turn in any mode, as a stream of events."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from agvas_core.anchors import ANCHOR_TEXT, ANCHOR_TOKENS
from agvas_core.checkpoint import card_text, checkpoint_hash
from agvas_core.encoded import EncodedImage, Prefix
from agvas_core.engines.dialogue import mode_of, recent_exchanges, shown_before, too_many_characters, whole_before
from agvas_core.engines.held_words import Finding, FreeWords, HeldWords
from agvas_core.engines.queue import CONVERSATIONS, QueuedPredictor
from agvas_core.engines.referring import singled_out
from agvas_core.engines.shared_weights import shared_checkpoint
from agvas_core.engines.text_stream import AnchorFilter, TokenText
from agvas_core.findings import Findings, measure
from agvas_core.modeling.agvas import AGVAS
from agvas_core.predictor import AnomalyPredictor
from agvas_core.prompts import (
    DIRECT_ANSWER,
    MEASURED_SLOT,
    ChatTurn,
    asks_about_defects,
    asks_how_sure,
    build_instruction,
    follows_up,
    singles_out,
)
from agvas_core.regions import group_labels, make_prediction, place_of, smallest_px, with_kinds
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
from agvas_core.tokenizer import encode_chat
from agvas_core.wording import at

NEARLY_SHARE = 0.6  # of the threshold: of defects that are missed half come so near, of normal images a fifth
NO_IMAGE = "Please upload an inspection image first: a photo of the part or surface, as PNG, JPEG, WebP, BMP or TIFF."
NO_ANCHORS = "The words ended without a mask, so the mask was asked for directly."
UNTRAINED = "UNTRAINED: this engine's weights are random, so neither its mask nor its words mean anything."
NO_DECODER = (
    "UNTRAINED: without an AG-VAS adapter the mask decoder of this engine is random, so no mask is shown. The words "
    "come from the base model alone, as its makers trained it."
)
KINDS_ASKED = 12  # regions whose kind of defect is read, largest first
MASK_VALUES = 2**24  # of region masks held at a time, so that a photo of 40 MP does not need gigabytes
HISTORY_EXCHANGES = 2  # earlier exchanges about the image that the small model reads; it was trained on short talks


class QuestionTooLongError(ValueError):
    """The question alone has more tokens than the model has positions for; the message is a sentence for the user."""


@dataclass(eq=False)
class _Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.last = now


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
        clock = _Clock()
        image = conversation.images.get(request.image_id or "")
        mode = mode_of(conversation, request)
        if not self._card.trained:
            yield Notice(NO_DECODER if self.speaks_alone else UNTRAINED)
        if image is None:
            yield Notice(NO_IMAGE)
            yield Done(mode, clock.seconds)
            return
        yield Stage("looking at the image in tiles" if request.close else "encoding the image", 0.1)
        encoded = self.predictor.set_image(image, close=request.close)
        clock.lap("encode")
        reply = _Reply(self.predictor, conversation, request, image, encoded, mode, stop, clock, self._card)
        reply.hold_words = self.hold_words
        try:
            if not stop.is_set():
                yield from reply.words_alone() if self.speaks_alone else reply.events()
        except QuestionTooLongError as error:
            yield Notice(str(error))
        yield Done(mode, clock.seconds, reply.tokens, peak_memory_mb(self.predictor.device), stop.is_set())


class _Reply:
    """One reply in the making."""

    def __init__(
        self,
        predictor: AnomalyPredictor,
        conversation: Conversation,
        request: Request,
        image: InspectionImage,
        encoded: EncodedImage,
        mode: Mode,
        stop: threading.Event,
        clock: _Clock,
        card: EngineCard,
    ) -> None:
        self.card = card
        self.predictor, self.request, self.image, self.encoded = predictor, request, image, encoded
        self.mode, self.stop, self.clock = mode, stop, clock
        self.question = build_instruction(mode, request.instruction, request.normal_description)
        self.history = recent_exchanges(conversation.turns, image.image_id, HISTORY_EXCHANGES)
        self.shown_before = shown_before(conversation.turns, image.image_id)
        self.whole_before = whole_before(conversation.turns, image.image_id)
        # a first question about what is wrong is answered with the mask that its answer speaks of
        self.shows_glance = (
            (mode, request.mode) == ("chat", "auto")
            and card.trained
            and asks_about_defects(request.instruction)
            and self.shown_before is None
        )
        self.tokens = 0
        self.hold_words = True

    def events(self) -> Iterator[Event]:
        """Yield what the mode calls for; QuestionTooLongError when the question alone is too much."""
        refused = too_many_characters(self.question)
        if refused:
            raise QuestionTooLongError(refused)
        if self.mode == "direct":
            yield from self._direct()
        elif self.mode == "explain":
            yield from self._explain()
        else:
            yield from self._words_first()

    def words_alone(self) -> Iterator[Event]:
        """Yield words in every mode, and never a mask; QuestionTooLongError when the question alone is too much."""
        refused = too_many_characters(self.question)
        if refused:
            raise QuestionTooLongError(refused)
        yield Stage("looking", 0.4)
        text, visible = TokenText(self.predictor.tokenizer), AnchorFilter()
        start = self._read([ChatTurn("user", self.question)], prompt=True)
        for token, _ in self.predictor.generate(start, self.encoded, self.request.max_new_tokens, self.stop):
            self.tokens += 1
            yield from _delta(visible.push(text.push(token)))
        yield from _delta(visible.push(text.finish()))
        self.clock.lap("words")

    def _direct(self) -> Iterator[Event]:
        """One forward pass over prompt and fixed answer: no token loop."""
        yield Stage("segmenting", 0.5)
        prefix = self._read([ChatTurn("user", self.question), ChatTurn("assistant", DIRECT_ANSWER)], anchors=True)
        prediction, said = self._meant(self._decode(prefix))
        self.clock.lap("mask")
        if prediction.verdict == "other":
            yield from _told(prediction, said)
            return
        yield from self._show(prediction, said)
        if self.card.trained:  # else the sentence would stand by a mask that means nothing
            yield TextDelta(_direct_words(prediction))

    def _explain(self) -> Iterator[Event]:
        """Anchors first, the mask at once; then words that have read what the mask measured."""
        yield Stage("segmenting", 0.5)
        question = ChatTurn("user", self.question)
        prefix = self._read([question, ChatTurn("assistant", ANCHOR_TEXT)], open_end=True, anchors=True)
        prediction, said = self._meant(self._decode(prefix))
        self.clock.lap("mask")
        if prediction.verdict == "other":
            yield from _told(prediction, said)
            return
        yield from self._show(prediction, said)
        findings = measure(prediction)
        kinds = self._kinds_to_read(findings)
        line = findings.line(kinds)
        start = self._read([question, ChatTurn("assistant", ANCHOR_TEXT, measured=line)], findings.masks, open_end=True)
        yield from self._speak(start, self._held(findings, kinds), shown=True)

    def _words_first(self) -> Iterator[Event]:
        """Describe modes and chat: words that have read what a glance measured, and a mask when anchors come."""
        yield Stage("looking", 0.4)
        sure = self.mode == "chat" and asks_how_sure(self.request.instruction)
        # "why?" is asked of the mask that is seen, which may be a part
        asks_again = self.mode == "chat" and (sure or follows_up(self.request.instruction))
        glance = self.shown_before if asks_again else None
        if glance is None or glance.verdict == "other":  # of what was left out, nothing can be told
            seen = self.whole_before if self.mode == "chat" else None  # what the reader has before him
            glance = self._adjust(seen or self.predictor.glance(self.image, close=self.request.close))
        sure = sure and self.card.trained
        if self.shows_glance or sure:
            glance = self._named(glance)
        if self.shows_glance:
            yield from self._show(glance, None)
        if sure:
            yield TextDelta(_how_sure(glance))
            return
        if self.mode != "chat" and singles_out(self.request.instruction):
            glance, said = self._meant(self._named(glance))  # the words are to speak of what the mask will show
            if glance.verdict == "other":
                yield from _told(glance, said)
                return
        findings = measure(glance)
        kinds = self._kinds_to_read(findings)
        line = findings.line(kinds)
        self.clock.lap("glance")
        assert MEASURED_SLOT[self.mode] == "user", self.mode
        start = self._read([ChatTurn("user", self.question, measured=line)], findings.masks, prompt=True)
        yield from self._speak(start, self._held(findings, kinds), shown=self.mode == "chat")

    def _held(self, findings: Findings, kinds: list[str] | None) -> HeldWords | FreeWords:
        """Return what the words pass through: where they were made to read the mask's kinds, they are held to it."""
        if kinds is None or not self.card.trained or not self.hold_words:
            return FreeWords()
        of = [*kinds, *[""] * len(findings.spots)]
        shown = [Finding(kind, place, area) for kind, (place, area) in zip(of, findings.spots, strict=False)]
        return HeldWords(self.request.instruction, shown, chat=self.mode == "chat")

    def _speak(self, start: Prefix, words: HeldWords | FreeWords, *, shown: bool) -> Iterator[Event]:
        """Stream words; decode a mask when the model writes anchors, or ask for one when it should have and did not."""
        predictor = self.predictor
        states: list[torch.Tensor] = []  # of the anchor triple that is being written
        text, visible = TokenText(predictor.tokenizer), AnchorFilter()
        anchor_ids = predictor.ids.anchors
        for token, state in predictor.generate(start, self.encoded, self.request.max_new_tokens, self.stop):
            self.tokens += 1
            if token in anchor_ids:
                states = [state] if token == anchor_ids[0] else [*states, state]
                if len(states) == len(ANCHOR_TOKENS):
                    self.clock.lap("words")
                    prediction = predictor.decode_states(torch.stack(states)[None], self.encoded, **self._options())
                    prediction, said = self._meant(self._named(prediction))
                    self.clock.lap("mask")
                    yield from _delta(words.part())
                    yield from self._show(prediction, said)
                    shown = True
                    yield from _delta(visible.anchors())
                continue
            yield from _delta(words.push(visible.push(text.push(token))))
        yield from _delta(words.push(visible.push(text.finish())) + words.finish())
        self.clock.lap("words")
        if not shown and not self.stop.is_set():
            prefix = self._read([ChatTurn("user", self.question), ChatTurn("assistant", DIRECT_ANSWER)], anchors=True)
            yield from self._show(*self._meant(self._decode(prefix)))
            self.clock.lap("mask")
            yield Notice(NO_ANCHORS)

    def _meant(self, prediction: Prediction) -> tuple[Prediction, str | None]:
        """Return the mask without what the words leave out, and a sentence where the anchors did not do that."""
        if not self.card.trained:
            return prediction, None

        def everything() -> Prediction:
            return self._adjust(self.predictor.glance(self.image, close=self.request.close))

        return singled_out(self.request.instruction, prediction, everything, self.card.engine_id)

    def _read(
        self,
        turns: list[ChatTurn],
        masks: torch.Tensor | None = None,
        *,
        prompt: bool = False,
        open_end: bool = False,
        anchors: bool = False,
    ) -> Prefix:
        """Read as much of the history as the model has positions for, and turns.

        open_end leaves the assistant's turn unfinished, prompt begins one.
        With `anchors`, the states of the last anchor triple are among the newest. Nothing is ever cut in silence.
        """
        predictor, history = self.predictor, self.history
        room = predictor.model.config.llm.max_positions - self.request.max_new_tokens
        while True:
            ids = encode_chat(predictor.tokenizer, [*history, *turns], add_generation_prompt=prompt).input_ids
            if open_end:  # the turn's end is <|im_end|> and what follows it
                ids = ids[: len(ids) - 1 - ids[::-1].index(predictor.end_id)]
            ids = predictor.expand(ids, self.encoded)
            if len(ids) <= room:
                return predictor.read(ids, self.encoded, masks, anchors=anchors)
            if not history:
                raise QuestionTooLongError(
                    f"Your question is too long for this model: with the picture it makes {len(ids):,} tokens, and "
                    f"there is room for {room:,}. Your words are kept: shorten them with Edit, or ask in several "
                    "questions."
                )
            history = history[2:]  # the oldest exchange

    def _show(self, prediction: Prediction, said: str | None) -> Iterator[Event]:
        """Yield a mask, and what is to be said of it: of an empty one, what nearly was in it."""
        yield MaskReady(prediction)
        said = said or (_nearly(prediction) if self.card.trained else None)
        if said:
            yield Notice(said)

    def _options(self) -> dict[str, object]:
        r = self.request
        smallest = smallest_px(r.min_area_px, self.image.size_hw)  # Paper differs: specks are left out
        return {"threshold": r.threshold, "alpha": r.alpha, "min_area_px": smallest, "roi_xyxy": r.roi_xyxy}

    def _decode(self, prefix: Prefix) -> Prediction:
        return self._named(self.predictor.decode(prefix, self.encoded, **self._options()))

    def _named(self, prediction: Prediction) -> Prediction:
        """Return the prediction with the kinds of defect of its largest regions; the encoder does not run again.

        Parts of one finding are of one kind, the one that the words read.
        """
        regions = prediction.regions[:KINDS_ASKED]
        if not regions or not self.predictor.model.config.decoder.region_kinds:
            return prediction
        findings = group_labels(prediction.pred_mask)  # (H, W)
        asked = sorted({region.finding for region in regions})
        step = max(1, MASK_VALUES // findings.size)
        kinds: list[tuple[str, float]] = []
        for start in range(0, len(asked), step):
            numbers = np.array(asked[start : start + step])
            masks = torch.from_numpy(findings[None] == numbers[:, None, None])  # (R, H, W)
            kinds += self.predictor.region_kinds(self.encoded, masks)
        if not kinds:
            return prediction
        kind_of = dict(zip(asked, kinds, strict=True))
        return with_kinds(prediction, [kind_of[region.finding] for region in regions])

    def _kinds_to_read(self, findings: Findings) -> list[str] | None:
        """Return the kinds of the listed findings, where the words are made to read them."""
        if not self.predictor.model.config.decoder.measured_kinds:
            return None
        return [kind for kind, _ in self.predictor.region_kinds(self.encoded, findings.masks)]

    def _adjust(self, glance: Prediction) -> Prediction:
        """Return the glance under the request's threshold and region of interest."""
        maps = {"p_seg": glance.p_seg, "p_nor": glance.p_nor, "p_ano": glance.p_ano}
        return make_prediction(image_id=glance.image_id, **maps, **self._options())  # type: ignore[arg-type]


def _told(prediction: Prediction, said: str | None) -> Iterator[Event]:
    """Yield an emptied mask; the sentence about it is all the words: the model's would say that nothing was found."""
    assert said is not None
    yield MaskReady(prediction)
    yield TextDelta(said)


def _nearly(prediction: Prediction) -> str | None:
    """Return what an empty mask nearly shows, and where; None when nothing comes near its threshold."""
    score, threshold = prediction.pred_score, prediction.threshold
    if prediction.verdict != "normal" or score < NEARLY_SHARE * threshold:
        return None
    height, width = prediction.size_hw
    left, top, right, bottom = prediction.roi_xyxy or (0, 0, width, height)
    inside = prediction.anomaly_map[top:bottom, left:right]
    y, x = np.unravel_index(int(inside.argmax()), inside.shape)
    where = at(place_of(top + float(y), left + float(x), height, width))
    if score > threshold:
        return f"What is above the threshold {where} is smaller than {prediction.min_area_px} px, so it is not marked."
    return (
        f"Nothing reaches the threshold {threshold:.2f}, but a sign {where} comes near it with {score:.2f}: "
        "please look there, or lower the threshold."
    )


def _direct_words(prediction: Prediction) -> str:
    if prediction.verdict == "normal":
        return "No anomaly found."
    count = len(prediction.regions)
    return f"Sure, it is marked: {count} {'region' if count == 1 else 'regions'}."


def _how_sure(prediction: Prediction) -> str:
    """Return what the map itself says of how sure a reply is: the language model has never read its values."""
    text = f"The strongest sign in this image scores {prediction.pred_score:.2f} of 1"
    if prediction.verdict == "normal":
        above = prediction.pred_score > prediction.threshold
        why = "what is above the threshold is too small" if above else f"the threshold is {prediction.threshold:.2f}"
        text += f", and nothing is marked: {why}."
    else:
        text += f"; what is above the threshold {prediction.threshold:.2f} is marked."
        largest = prediction.regions[0]
        if largest.kind:
            text += f" The likeliest kind of the largest region is {largest.kind} ({100 * largest.kind_score:.0f} %)."
    return f"{text} I learned from synthetic defects, so please check it."


def _delta(text: str) -> Iterator[Event]:
    if text:
        yield TextDelta(text)


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory of the GPU, or of the process on a CPU, in MB; 0 where the system keeps none."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)

"""One reply of AG-VAS in the making: what each mode reads, decodes and says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from agvas_core.anchors import ANCHOR_TEXT, ANCHOR_TOKENS
from agvas_core.asking import (
    asks_about_defects,
    asks_how_sure,
    asks_of_others,
    build_instruction,
    follows_up,
    singles_out,
)
from agvas_core.encoded import EncodedImage, Prefix
from agvas_core.engines.dialogue import recent_exchanges, shown_before, too_many_characters, whole_before
from agvas_core.engines.held_words import FreeWords, HeldWords
from agvas_core.engines.masks import Masks
from agvas_core.engines.measured_answers import measured_answer
from agvas_core.engines.own_words import NO_ANCHORS, compared, direct_words, how_sure, nearly_marked
from agvas_core.engines.pointing import Finding, findings_of, meant, numbers_in, parts
from agvas_core.engines.referring import singled_out
from agvas_core.engines.ruler import NO_SCALE, Ruler, in_px, names_limit
from agvas_core.engines.text_stream import AnchorFilter, TokenText
from agvas_core.findings import Findings, measure
from agvas_core.predictor import AnomalyPredictor
from agvas_core.prompts import (
    DIRECT_ANSWER,
    MEASURED_SLOT,
    ChatTurn,
)
from agvas_core.regions import keep_regions
from agvas_core.saa.foreground import find_object
from agvas_core.scale import Scale
from agvas_core.structures import (
    Conversation,
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

OBJECT_GRID = (64, 64)  # on which an object is looked for, to know whether the words may call it one
HISTORY_EXCHANGES = 2  # earlier exchanges about the image that the small model reads; it was trained on short talks


class QuestionTooLongError(ValueError):
    """The question alone has more tokens than the model has positions for; the message is a sentence for the user."""


@dataclass(eq=False)
class Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        """Count the time since the last lap as this stage's."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.last = now


class Reply:
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
        clock: Clock,
        card: EngineCard,
        *,
        hold_words: bool = True,
        scale: Scale | None = None,
        asked: str | None = None,
        good: Sequence[InspectionImage] = (),
    ) -> None:
        """Begin a reply.

        hold_words: whether words that read a mask's kinds are held to it.
        scale: the image's, where it was said.
        good: images of good parts, with which this one is compared.
        asked: the question as the model reads it, where that is not the request's: a place that stands for "it" would
            have it tell of the place.
        """
        self.card, self.hold_words, self.scale = card, hold_words, scale
        self.predictor, self.request, self.image, self.encoded = predictor, request, image, encoded
        self.mode, self.stop, self.clock = mode, stop, clock
        words = request.instruction if asked is None else asked
        self.question = build_instruction(mode, words, request.normal_description)
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
        self.masks = Masks(predictor, image, encoded, request, good)
        self.tokens = 0

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
        prediction, said = self._meant(self.masks.decode(prefix))
        self.clock.lap("mask")
        if prediction.verdict == "other":
            yield from _told(prediction, said)
            return
        yield from self._show(prediction, said)
        if self.card.trained:  # else the sentence would stand by a mask that means nothing
            yield TextDelta(direct_words(prediction))

    def _explain(self) -> Iterator[Event]:
        """Anchors first, the mask at once; then words that have read what the mask measured."""
        yield Stage("segmenting", 0.5)
        question = ChatTurn("user", self.question)
        prefix = self._read([question, ChatTurn("assistant", ANCHOR_TEXT)], open_end=True, anchors=True)
        prediction, said = self._meant(self.masks.decode(prefix))
        self.clock.lap("mask")
        if prediction.verdict == "other":
            yield from _told(prediction, said)
            return
        yield from self._show(prediction, said)
        findings, kinds, held = self._read_mask(prediction)
        line = findings.line(kinds)
        start = self._read([question, ChatTurn("assistant", ANCHOR_TEXT, measured=line)], findings.masks, open_end=True)
        yield from self._speak(start, held, shown=True)

    def _words_first(self) -> Iterator[Event]:
        """Describe modes and chat: words that have read what a glance measured, and a mask when anchors come."""
        yield Stage("looking", 0.4)
        sure = self.mode == "chat" and asks_how_sure(self.request.instruction)
        # "why?" and "how big is region 1?" are asked of the mask that is seen, which may be a part
        wanted, _ = parts(self.request.instruction)
        of_seen = follows_up(self.request.instruction) or numbers_in(wanted)
        asks_again = self.mode == "chat" and (sure or of_seen)
        glance = self.shown_before if asks_again else None
        if glance is None or glance.verdict == "other":  # of what was left out, nothing can be told
            seen = self.whole_before if self.mode == "chat" else None  # what the reader has before him
            glance = self.masks.adjust(seen or self.masks.glance())
        sure = sure and self.card.trained
        if self.shows_glance or sure:
            glance = self.masks.named(glance)
        if self.shows_glance:
            yield from self._show(glance, None)
        if sure:
            asked = meant(wanted, findings_of(glance))
            yield TextDelta(how_sure(glance, asked or ()))
            return
        if self.mode != "chat" and singles_out(self.request.instruction):
            glance, said = self._meant(self.masks.named(glance))  # the words are to speak of what the mask will show
            if glance.verdict == "other":
                yield from _told(glance, said)
                return
        findings, kinds, held = self._read_mask(glance)
        self.clock.lap("glance")
        if self.mode == "chat" and isinstance(held, HeldWords):
            said = measured_answer(self.request.instruction, held.findings, Ruler(glance, self.scale))
            if said is not None:
                yield TextDelta(said)
                return
            asked = self._asked_about(wanted, held.findings)
            if asked is not None:
                findings, kinds, held = self._read_mask(keep_regions(glance, asked), alone=False)
        line = findings.line(kinds)
        assert MEASURED_SLOT[self.mode] == "user", self.mode
        start = self._read([ChatTurn("user", self.question, measured=line)], findings.masks, prompt=True)
        yield from self._speak(start, held, shown=self.mode == "chat")

    def _read_mask(
        self, prediction: Prediction, *, alone: bool = True
    ) -> tuple[Findings, list[str] | None, HeldWords | FreeWords]:
        """Return what words are to read of a mask, and what they pass through; see _held."""
        findings = measure(prediction)
        kinds = self.masks.kinds_to_read(findings)
        return findings, kinds, self._held(prediction, kinds, alone=alone)

    def _asked_about(self, wanted: str, findings: Sequence[Finding]) -> set[int] | None:
        """Return the regions that a question is about, None for all: else the words tell of the largest one."""
        named = meant(wanted, findings)
        if not named or asks_of_others(self.request.instruction) or all(f.numbers & named for f in findings):
            return None
        return named

    def _held(self, prediction: Prediction, kinds: list[str] | None, *, alone: bool = True) -> HeldWords | FreeWords:
        """Return what the words pass through: where they were made to read the mask's kinds, they are held to it.

        kinds: of the mask's largest findings, as the words read them. alone: as in agrees.
        """
        if kinds is None or not self.card.trained or not self.hold_words:
            return FreeWords()
        shown = findings_of(prediction)
        unread = [""] * (len(shown) - len(kinds))
        named = [replace(finding, kind=kind) for finding, kind in zip(shown, [*kinds, *unread], strict=True)]
        called = "surface" if find_object(self.image.rgb, OBJECT_GRID).mask is None else "part"
        return HeldWords(self.request.instruction, named, chat=self.mode == "chat", called=called, alone=alone)

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
                    prediction, said = self._meant(self.masks.decode_states(torch.stack(states)[None]))
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
            yield from self._show(*self._meant(self.masks.decode(prefix)))
            self.clock.lap("mask")
            yield Notice(NO_ANCHORS)

    def _meant(self, prediction: Prediction) -> tuple[Prediction, str | None]:
        """Return the mask without what the words leave out, and a sentence where the anchors did not do that."""
        if not self.card.trained:
            return prediction, None
        words = self.request.instruction
        if self.scale is not None:
            words = in_px(words, self.scale)
        elif names_limit(words) and prediction.regions:
            return prediction, NO_SCALE
        return singled_out(words, prediction, self.masks.everything, self.card.engine_id)

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
        said = said or (nearly_marked(prediction) if self.card.trained else None)
        if said:
            yield Notice(said)
        if self.masks.good:
            yield Notice(compared(self.masks.good, self.image))
        if self.scale is not None and self.mode != "chat" and prediction.regions and self.card.trained:
            yield Notice(Ruler(prediction, self.scale).told_all(findings_of(prediction)))


def _told(prediction: Prediction, said: str | None) -> Iterator[Event]:
    """Yield an emptied mask; the sentence about it is all the words: the model's would say that nothing was found."""
    assert said is not None
    yield MaskReady(prediction)
    yield TextDelta(said)


def _delta(text: str) -> Iterator[Event]:
    if text:
        yield TextDelta(text)

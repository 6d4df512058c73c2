"""Masks by one engine, words by a large model that sees the photo, a crop of each region and what was measured."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from PIL import Image

from agvas_core.asking import singles_out
from agvas_core.drawing import region_crop, shrink
from agvas_core.engines.base import Engine
from agvas_core.engines.dialogue import mode_of, recent_exchanges, shown_before, too_many_characters
from agvas_core.engines.judged import only_judges
from agvas_core.engines.speaker import Message, Speaker
from agvas_core.good_parts import good_images
from agvas_core.memory import peak_memory_mb
from agvas_core.prompts import DEFAULT_INSTRUCTIONS, format_percent
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

PHOTO_PX = 768  # longer side of the photo as the speaker gets it: a larger one makes several thousand tokens
CROPS = 3  # regions shown as pictures, largest first
LISTED = 8  # regions put into words
EXCHANGES = 4  # earlier exchanges about the image that the speaker reads

TASKS: dict[Mode, str] = {
    "explain": "Explain what was marked: what each region looks like, what it may be and what may have caused it.",
    "describe": "Describe what is unusual in the photo and where, or say that nothing is.",
    "describe_plus": "Describe what differs from how it normally looks and where, or say that nothing does.",
    "chat": "Answer the question.",
}
_DENIES = re.compile(
    r"\b(?:no|not any|without(?: any)?|free (?:of|from))\b[^.!?]{0,40}\b(?:anomal|defect|damage|flaw|fault|abnormal)"
    r"|\b(?:looks?|appears?|is|seems?)(?: to be| completely| entirely| perfectly| quite)* "
    r"(?:normal|fine|intact|flawless|undamaged)\b|没有[^。！？]{0,8}(?:异常|缺陷)|未发现[^。！？]{0,8}(?:异常|缺陷)|(?<!不)正常",
    re.I,
)
_FINDS = re.compile(
    r"\b(?:there (?:is|are)|i (?:can )?see|shows?|has|have|contains?|visible)\b[^.!?]*"
    r"\b(?:anomal|defect|damage|flaw|scratch|crack|hole|dent|stain|chip|corros|rust|burn|contaminat)"
    r"|(?:有|存在|发现)[^。！？]{0,12}(?:异常|缺陷|划痕|裂纹|污渍|凹坑)",
    re.I,
)
_DOUBTS = re.compile(r"\b(?:no|not|without|free|would|could|might|may|if|never|neither)\b|n['’]t\b|没|未|不|无", re.I)


class ExplainedEngine:
    """An engine whose words come from somebody else; the verdict stays the measured one."""

    def __init__(self, eyes: Engine, speaker: Speaker) -> None:
        self.eyes, self.speaker = eyes, speaker
        seen = eyes.card
        self._card = EngineCard(
            name=f"{seen.name} sees, {speaker.name} speaks",
            engine_id=f"{seen.engine_id}+{speaker.source}",
            description=f"Masks and verdicts by {seen.name}. Words by {speaker.name}, which sees the photo, a crop of "
            "each marked region and what was measured.",
            licence=f"masks: {seen.licence}; words: as {speaker.source} says",
            weights=f"masks: {seen.weights}; words: {speaker.source}, as its makers trained it",
            trained=seen.trained,
            modes=MODES,
            device=seen.device,
            memory_mb=round(seen.memory_mb + speaker.memory_mb, 1),
            markdown=seen.markdown,
            weights_hash=f"{seen.weights_hash}+{speaker.weights_hash}" if seen.weights_hash else "",
            heat_map_only=seen.heat_map_only,
        )

    @property
    def card(self) -> EngineCard:
        """Who sees and who speaks."""
        return self._card

    def prepare(self, image: InspectionImage) -> None:
        """Encode an image ahead of its first question."""
        self.eyes.prepare(image)

    def respond(
        self, conversation: Conversation, request: Request, *, stop: threading.Event | None = None
    ) -> Iterator[Event]:
        """Yield the events of one reply; see engines.base."""
        stop = stop or threading.Event()
        mode = mode_of(conversation, request)
        image = conversation.images.get(request.image_id or "")
        refused = too_many_characters(request.instruction)
        if image is None or mode == "direct" or only_judges(conversation, request):
            yield from self._eyes_alone(conversation, replace(request, mode=mode), stop)
        elif refused:
            yield Notice(refused)
            yield Done(mode, {})
        else:
            yield from _Reply(self, conversation, request, image, mode, stop).events()

    def _eyes_alone(self, conversation: Conversation, request: Request, stop: threading.Event) -> Iterator[Event]:
        """The direct mode has no words to speak of, and without an image there is nothing to see."""
        shown = False
        for event in self.eyes.respond(conversation, request, stop=stop):
            shown = shown or isinstance(event, MaskReady)
            if isinstance(event, Done) and shown:
                yield Notice(f"Mask and sentence by {self.eyes.card.name}; {self.speaker.name} was not asked.")
            yield event


class _Reply:
    """One reply in the making."""

    def __init__(
        self,
        engine: ExplainedEngine,
        conversation: Conversation,
        request: Request,
        image: InspectionImage,
        mode: Mode,
        stop: threading.Event,
    ) -> None:
        self.eyes, self.speaker = engine.eyes, engine.speaker
        self.conversation, self.request, self.image, self.mode, self.stop = conversation, request, image, mode, stop
        self.seconds: dict[str, float] = {}
        self.prediction: Prediction | None = None
        self.tokens, self.text, self.peak_mb = 0, "", 0.0

    def events(self) -> Iterator[Event]:
        """The mask first, shown before or after the words as the mode wants; then who did what."""
        if self.mode == "chat":
            self.prediction = shown_before(self.conversation.turns, self.image.image_id)
        if self.prediction is None:
            yield from self._look()
        mask: list[Event] = [] if self.prediction is None or self.mode == "chat" else [MaskReady(self.prediction)]
        if self.mode == "explain":
            yield from mask
        if not self.stop.is_set():
            yield from self._speak()
        if self.mode != "explain":
            yield from mask
        if self.tokens:
            yield from self._notices()
        peak = max(self.peak_mb, peak_memory_mb(self.speaker.device))
        yield Done(self.mode, self.seconds, self.tokens, peak, self.stop.is_set())

    def _look(self) -> Iterator[Event]:
        """Let the eyes segment; what they notice is passed on, what they say is not."""
        words, good = self.request.instruction, good_images(self.conversation, self.request)
        asked = replace(
            self.request,
            mode="direct" if "direct" in self.eyes.card.modes else "auto",
            good_ids=tuple(example.image_id for example in good),
            instruction=words if self.mode != "chat" and singles_out(words) else DEFAULT_INSTRUCTIONS["direct"],
        )
        for event in self.eyes.respond(Conversation().with_image(*good, self.image), asked, stop=self.stop):
            if isinstance(event, MaskReady):
                self.prediction = event.prediction
            elif isinstance(event, Done):
                self.seconds |= event.seconds
                self.peak_mb = event.peak_memory_mb
            elif isinstance(event, (Stage, Notice)):
                yield event
            elif isinstance(event, TextDelta) and self.prediction is not None and self.prediction.verdict == "other":
                yield Notice(event.text)  # what is there instead of what was asked for

    def _speak(self) -> Iterator[Event]:
        yield Stage("reading photo, crops and measures", 0.6)
        begun = time.perf_counter()
        inputs = self._inputs()
        if inputs is None:
            yield Notice(
                f"The question is too long for {self.speaker.name}, which reads {self.speaker.max_positions:,} tokens. "
                "Your words are kept: shorten them with Edit."
            )
            return
        bound = self.request.max_new_tokens
        for tokens, text in self.speaker.speak(inputs, bound, self.stop):
            self.tokens += tokens
            self.text += text
            if text:
                yield TextDelta(text)
        self.seconds["words"] = time.perf_counter() - begun
        if self.tokens >= bound:
            yield Notice(f"The words end here because {bound} tokens are the limit.")

    def _inputs(self) -> Any | None:
        """Return what the speaker reads, with the history and crops that it has positions for; None if too much."""
        history = recent_exchanges(self.conversation.turns, self.image.image_id, EXCHANGES)
        room = (self.speaker.max_positions or 10**9) - self.request.max_new_tokens
        crops = self._crops()
        while True:
            inputs = self.speaker.read(self._messages([(t.role, t.text) for t in history], crops))
            if inputs["input_ids"].shape[1] <= room:
                return inputs
            if not (history or crops):
                return None
            history, crops = (history[2:], crops) if history else ([], crops[:-1])

    def _crops(self) -> list[Image.Image]:
        p = self.prediction
        if p is None or not self.eyes.card.trained:
            return []
        return [region_crop(self.image.rgb, p, region) for region in p.regions[:CROPS]]

    def _messages(self, history: list[Any], crops: list[Image.Image]) -> list[Message]:
        """The pictures stand in the first message, the measured facts in the last, beside the question."""
        harmless = self.speaker.harmless
        said = [(role, harmless(text)) for role, text in history]
        said.append(("user", self._question(len(crops))))
        talk = [Message(role, text) for role, text in said]
        talk[0] = Message("user", f"{_legend(len(crops))}\n{talk[0].text}", (shrink(self.image.rgb, PHOTO_PX), *crops))
        return talk

    def _question(self, crops: int) -> str:
        harmless = self.speaker.harmless
        lines = [_facts(self.prediction, self.eyes.card, crops)]
        normal = harmless(self.request.normal_description) if self.mode == "describe_plus" else ""
        lines += [f"How it normally looks: {normal}"] if normal else []
        lines.append(f"{TASKS[self.mode]} Use at most five short sentences, in the language of the question.")
        words = harmless(self.request.instruction) or DEFAULT_INSTRUCTIONS[self.mode]
        return "\n".join([*lines, f"Question: {words}"])

    def _notices(self) -> Iterator[Event]:
        if self.prediction is not None and self.eyes.card.trained and contradicts(self.text, self.prediction):
            yield Notice(
                f"Words and mask disagree: {measured_verdict(self.prediction)} The verdict is the measured one; the "
                f"words are the impression of {self.speaker.name}."
            )
        yield Notice(f"Seen and measured by {self.eyes.card.name}, put into words by {self.speaker.name}.")


def measured_verdict(prediction: Prediction) -> str:
    """Return what was measured, in one sentence."""
    if prediction.verdict == "normal":
        return f"no anomaly was found (highest score {prediction.pred_score:.2f})."
    if prediction.verdict == "other":
        return "nothing is marked, for what was found is not what the question asks for."
    count, share = len(prediction.regions), format_percent(100 * float(prediction.pred_mask.mean()))
    regions = "1 region is" if count == 1 else f"{count} regions are"
    return f"{regions} marked, {share} % of the photo in all (highest score {prediction.pred_score:.2f})."


def contradicts(text: str, prediction: Prediction) -> bool:
    """Return whether words plainly deny what the mask shows, or find what it does not show."""
    sentences = [s for s in re.split(r"[.!?。！？\n]+", text) if s.strip()]
    finds = any(_FINDS.search(s) and not _DOUBTS.search(s) for s in sentences)
    if prediction.verdict == "anomaly":
        return any(_DENIES.search(s) for s in sentences) and not finds
    return finds and prediction.verdict == "normal"


def _legend(crops: int) -> str:
    if not crops:
        return "The picture is the photo of a part or a surface that is inspected."
    which = "The second picture is an enlarged crop of it, in which a region" if crops == 1 else (
        f"The other {crops} pictures are enlarged crops of it; in each, one region"
    )  # fmt: skip
    return f"The first picture is the photo of a part or a surface that is inspected. {which} is outlined in orange."


def _facts(prediction: Prediction | None, card: EngineCard, crops: int) -> str:
    """Return what the eyes measured, for the speaker: verdict, count, and each region's place and size."""
    if prediction is None or not card.trained:
        return "No measured facts are at hand; say only what you see yourself."
    lines = [
        f"What {card.name} measured on the photo. These are facts: do not contradict them, and if you see something "
        "that they do not hold, say openly that it was not marked.",
        f"- Verdict: {prediction.verdict}: {measured_verdict(prediction)}",
    ]
    for region in prediction.regions[:LISTED]:
        left, top, right, bottom = region.box_xyxy
        seen = f" (picture {region.index + 1})" if region.index <= crops else ""
        kind = f", {'probably' if region.kind_score >= 0.5 else 'perhaps'} a {region.kind}" if region.kind else ""
        lines.append(
            f"- Region {region.index}{seen}: {region.place}, {format_percent(region.area_percent)} % of the photo, "
            f"{right - left} x {bottom - top} px, score {region.score:.2f}{kind}."
        )
    more = len(prediction.regions) - LISTED
    return "\n".join([*lines, *([f"- and {more} smaller regions."] if more > 0 else [])])

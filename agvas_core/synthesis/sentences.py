"""Sentences from facts: noun phrases, true answers about a scene, and the five fields of Anomaly-Instruct."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agvas_core.anchors import ANCHOR_TEXT
from agvas_core.kinds import kind_words
from agvas_core.prompts import MAX_MEASURED_REGIONS, format_percent
from agvas_core.synthesis.facts import DefectFacts, SceneFacts
from agvas_core.synthesis.phrases import BARE_SURFACE, SURFACE_LOOKS, expand
from agvas_core.wording import DEFAULT_LOOK, NUMBERS, OBJECT_LOOK, a, at, counted, join, more, size_word

# --- phrases ---------------------------------------------------------------------------------------------------------


def area_percent(defect: DefectFacts, scene: SceneFacts) -> float:
    """Return the defect's share of the image, 0 to 100."""
    return 100.0 * defect.area_px / max(1, scene.size_hw[0] * scene.size_hw[1])


def with_articles(text: str) -> str:
    """Return the text with "an" before vowels."""
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def subject(scene: SceneFacts) -> str:
    """Return what the image shows, with "the": its object, or its surface."""
    if scene.object:
        return f"the {scene.object}"
    name = re.sub(r"tiles$", "tile", scene.surface)
    return f"the {name}" if BARE_SURFACE.search(name) else f"the {name} surface"


def looks(scene: SceneFacts) -> str:
    """Return what a normal one has, a noun phrase."""
    if scene.object:
        return OBJECT_LOOK
    return next((text for pattern, text in SURFACE_LOOKS if re.search(pattern, scene.surface)), DEFAULT_LOOK)


def color_of(defect: DefectFacts) -> str:
    """Return the color as an adjective."""
    return "multicolored" if defect.color == "mixed" else defect.color


def look_of(defect: DefectFacts, scene: SceneFacts) -> str:
    """Return "a small dark scratch"."""
    words = kind_words(defect.kind)
    size = size_word(area_percent(defect, scene))
    parts = ["medium-sized" if size == "medium" else size, color_of(defect) if words.colored else "", words.one]
    return a(" ".join(part for part in parts if part))


def listed(scene: SceneFacts, indices: Sequence[int]) -> str:
    """Return "a small dark scratch at the top and a hole in the center": only the first with size and color."""
    parts = []
    for n, i in enumerate(indices[:MAX_MEASURED_REGIONS]):
        defect = scene.defects[i]
        parts.append(f"{look_of(defect, scene) if n == 0 else a(kind_words(defect.kind).one)} {at(defect.place)}")
    return join(parts + more(len(indices)))


# --- the five fields (paper Sec. 3.3) --------------------------------------------------------------------------------


@dataclass(frozen=True)
class FiveFields:
    """One sentence each: what is normal, what is seen, what it is, all of it with the anchors, why it is abnormal."""

    expectation: str
    observation: str
    diagnosis: str
    summary: str
    explanation: str

    def report(self) -> str:
        """Return the report for a chat: the fields with their names, without anchors."""
        summary = re.sub(r", as [^,]*" + re.escape(ANCHOR_TEXT), "", self.summary)
        return (
            f"Expectation: {self.expectation} Observation: {self.observation} Diagnosis: {self.diagnosis} "
            f"Summary: {summary} Explanation: {self.explanation}"
        )


def expectation(scene: SceneFacts, rng: random.Random) -> str:
    """Return one sentence about what normal looks like."""
    name = subject(scene).removeprefix("the ")
    return expand(
        "(A normal {name} has {looks}.|{Name} should have {looks}.)",
        rng,
        name=name,
        Name=a(name).capitalize(),
        looks=looks(scene),
    )


def normal_sentence(scene: SceneFacts, rng: random.Random) -> str:
    """Return a user's sentence about normal appearance, as put before the instruction in describe_plus."""
    name = subject(scene).removeprefix("the ")
    pattern = (
        "(A normal {name} has {looks}.|A good {name} should show {looks}.|Normally it has {looks}."
        "|It should have {looks}."
        "|The normal {name} shows {looks}.|Without defects, the {name} has {looks}.)"
    )
    return expand(pattern, rng, name=name, looks=looks(scene))


def summary(scene: SceneFacts, rng: random.Random) -> str:
    """Return the describe-then-segment answer: all defects in words, then the anchors."""
    where = subject(scene)
    if not scene.defects:
        pattern = (
            "(No anomaly is visible on {where}|{Where} looks normal), as (indicated|shown) by the empty mask {anchors}."
        )
        return expand(pattern, rng, where=where, Where=where.capitalize(), anchors=ANCHOR_TEXT)
    verb = "anomaly is" if len(scene.defects) == 1 else "anomalies are"
    text = listed(scene, range(len(scene.defects)))
    return f"The {verb} {text} of {where}, as indicated by {ANCHOR_TEXT}."


def reason(scene: SceneFacts, i: int, rng: random.Random) -> str:
    """Return one sentence: why defect i is not normal."""
    words = kind_words(scene.defects[i].kind)
    pattern = "(The {one} is not normal because it {why}.|This is not normal: the {one} {why}.)"
    return expand(pattern, rng, one=words.one, why=words.why)


def fields(scene: SceneFacts, rng: random.Random) -> FiveFields:
    """Return the five fields of Anomaly-Instruct for a scene."""
    if not scene.defects:
        return FiveFields(
            expectation(scene, rng),
            f"{subject(scene).capitalize()} looks as it should.",
            "Normal.",
            summary(scene, rng),
            "Nothing breaks the normal look.",
        )
    n = len(scene.defects)
    return FiveFields(
        expectation(scene, rng),
        f"I see {listed(scene, range(min(3, n)))}{'' if n <= 3 else ' and more'}.",
        f"{counted([d.kind for d in scene.defects]).capitalize()}.",
        summary(scene, rng)
        if n <= 2
        else f"There are {NUMBERS[n]} anomalies on {subject(scene)}, as indicated by {ANCHOR_TEXT}.",
        reason(scene, 0, rng),
    )


# --- answers to questions --------------------------------------------------------------------------------------------


def normal_answer(scene: SceneFacts, rng: random.Random) -> str:
    """Return the answer to any question about the defects of a scene that has none."""
    pattern = "(I see no defect. {Where} looks normal.|No defect is visible. {Where} looks as it should.)"
    return expand(pattern, rng, Where=subject(scene).capitalize())


def _any(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    n = len(scene.defects)
    if n == 1:
        return expand("(Yes, there is|There is a defect:) {text}.", rng, text=listed(scene, [0]))
    return expand(
        "(Yes, there are|I see) {n} defects: {kinds}.",
        rng,
        n=NUMBERS[n],
        kinds=counted([d.kind for d in scene.defects]),
    )


def _ok(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    text = listed(scene, [0]) if len(scene.defects) == 1 else counted([d.kind for d in scene.defects])
    return expand("(No, it is not normal: I see|Not quite: I see) {text}.", rng, text=text)


def _verdict(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    text = listed(scene, range(len(scene.defects)))
    return expand("(No, it is not good|It is not good|I would reject it): I see {text}.", rng, text=text)


def _what(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    if len(scene.defects) == 1:
        return expand(
            "(It is|I see) {look} {at}.", rng, look=look_of(scene.defects[0], scene), at=at(scene.defects[0].place)
        )
    return expand(
        "I see {kinds}. The largest is {look}.",
        rng,
        kinds=counted([d.kind for d in scene.defects]),
        look=look_of(scene.defects[0], scene),
    )


def _where(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    if len(scene.defects) == 1:
        d = scene.defects[0]
        names = {"one": kind_words(d.kind).one, "at": at(d.place), "where": subject(scene), "look": look_of(d, scene)}
        return expand("(The {one} is {at} of {where}.|It is {at}: {look}.)", rng, **names)
    spots = [f"{a(kind_words(d.kind).one)} {at(d.place)}" for d in scene.defects[:MAX_MEASURED_REGIONS]]
    return expand("(I see|There is) {spots}.", rng, spots=join(spots + more(len(scene.defects))))


def _count(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    n = len(scene.defects)
    verb, noun = ("is", "defect") if n == 1 else ("are", "defects")
    return expand(
        "(There {verb}|I count|I found) {n} {noun}: {kinds}.",
        rng,
        verb=verb,
        n=NUMBERS[n],
        noun=noun,
        kinds=counted([d.kind for d in scene.defects]),
    )


def _measures(d: DefectFacts, scene: SceneFacts) -> dict[str, str]:
    """Return what phrases call one, at and shown: the defect's kind, its place, and its share of the image."""
    return {"one": kind_words(d.kind).one, "at": at(d.place), "shown": format_percent(area_percent(d, scene))}


def _count_size(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    d, n = scene.defects[0], len(scene.defects)
    names = _measures(d, scene)
    if n == 1:
        return expand("There is one defect: the {one} {at} covers about {shown} % of the image.", rng, **names)
    text = "(There are|I count) {n} defects. The largest, the {one} {at}, covers about {shown} % of the image."
    return expand(text, rng, n=NUMBERS[n], **names)


def _scale(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    d = scene.defects[focus]
    unknown = "(I cannot say it in|The image has no scale for) millimeters."
    return expand(f"The {{one}} {{at}} covers about {{shown}} % of the image. {unknown}", rng, **_measures(d, scene))


def _size(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    d = scene.defects[focus]
    percent = area_percent(d, scene)
    pattern = "(The {one} {at} covers|The {one} {at} is {size}: it covers) about {shown} % of the image."
    return expand(
        pattern,
        rng,
        one=kind_words(d.kind).one,
        at=at(d.place),
        shown=format_percent(percent),
        size=size_word(percent).replace("medium", "medium-sized"),
    )


def _color(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    d = scene.defects[focus]
    return expand(
        "The {one} {at} (is|looks) {color} and {shape}.",
        rng,
        one=kind_words(d.kind).one,
        at=at(d.place),
        color=color_of(d),
        shape=d.shape,
    )


def _cause(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    words = kind_words(scene.defects[focus].kind)
    pattern = (
        "(Such a {one} may be caused by|The {one} may come from) {first} or {second}."
        " (I cannot be sure from one image.|)"
    )
    return expand(pattern, rng, one=words.one, first=words.causes[0], second=words.causes[1])


def _severe(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    d = scene.defects[focus]
    words, size = kind_words(d.kind), size_word(area_percent(d, scene))
    if words.grave or size == "large":
        because = f"the {words.one} is large" if size == "large" else f"{a(words.one)} can affect the part"
        return expand(
            "(It looks serious|This looks serious) because {because}. Please (let a person check it|have it checked).",
            rng,
            because=because,
        )
    level = "minor" if size == "small" else "moderate"
    size = size.replace("medium", "of medium size")
    return expand(
        "It looks {level} because the {one} is {size}. Please (let a person check it|have it checked).",
        rng,
        level=level,
        one=words.one,
        size=size,
    )


def _why(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    text = reason(scene, focus, rng)
    return text if rng.random() < 0.5 else f"{text} {expectation(scene, rng)}"


def _other(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    rest = [i for i in range(len(scene.defects)) if i != focus]
    if not rest:
        return expand(
            "(There is no other defect.|I see no other defect, only the {one}.)",
            rng,
            one=kind_words(scene.defects[focus].kind).one,
        )
    return expand("(There is also|I also see) {text}.", rng, text=listed(scene, rest))


def _largest(scene: SceneFacts, focus: int, rng: random.Random) -> str:
    d = scene.defects[0]
    return expand(
        "The largest (one|defect) is the {one} {at}, about {shown} % of the image.", rng, **_measures(d, scene)
    )


ABOUT_DEFECTS: dict[str, Callable[[SceneFacts, int, random.Random], str]] = {
    "any": _any, "ok": _ok, "verdict": _verdict, "what": _what, "where": _where, "count": _count,
    "count_size": _count_size, "size": _size, "scale": _scale, "color": _color, "cause": _cause,
    "severe": _severe, "why": _why, "other": _other, "largest": _largest,
}  # fmt: skip


def about_surface(scene: SceneFacts, rng: random.Random) -> str:
    """Return what the image shows as a whole."""
    where = subject(scene)
    state = f"with {counted([d.kind for d in scene.defects])}" if scene.defects else "and it looks normal"
    if scene.object:
        return f"The image shows {a(scene.object)} {state}."
    return expand("(The image shows|This is) {name} {state}.", rng, name=a(where.removeprefix("the ")), state=state)


def after_mask(scene: SceneFacts, target: Sequence[int], rng: random.Random) -> str:
    """Return the explanation that follows the anchors."""
    if not target:
        pattern = "(No anomaly was found.|I found no anomaly.) {Where} looks normal, with {looks}."
        return expand(pattern, rng, Where=subject(scene).capitalize(), looks=looks(scene))
    if len(target) == 1:
        text = expand("(The marked area is|I marked) {text}.", rng, text=listed(scene, target))
    else:
        text = expand("(The marked areas are|I marked) {text}.", rng, text=listed(scene, target))
    return f"{text} {reason(scene, target[0], rng)}"


_REFUSALS = (
    "I can only inspect images for defects. Please ask me about this image.",
    "I cannot help with that. I can find and explain defects in this image.",
    "That is outside my task. I inspect surfaces and parts for defects.",
)
_SELF = (
    "I am a small model for visual inspection. I can find, mark and explain defects in an image.",
    "I can mark defects, describe them and answer questions. I was trained on synthetic defects, so "
    "please check my answers.",
)
_THANKS = ("You are welcome.", "You are welcome. Ask me about another image at any time.")
_HELLO = ("Hello. Ask me about defects in this image.", "Hello. I can look for defects in this image.")
_ADVICE = (
    "I can only find and explain defects. Please ask a person who knows this part.",
    "I cannot plan a repair. Please ask a person who knows this part.",
)
_DOUBT = (
    "I may be wrong. I was trained on synthetic defects, so please check the image yourself.",
    "I can make mistakes. Please check the marked area, or change the threshold.",
)
SMALL_TALK = {
    "advice": _ADVICE,
    "doubt": _DOUBT,
    "thanks": _THANKS,
    "hello": _HELLO,
    "self": _SELF,
    "offtopic": _REFUSALS,
}

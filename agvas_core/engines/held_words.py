"""Words held to their mask: a sentence that contradicts what is marked is not said; one from what was measured is.

Paper differs: there the language model alone speaks. The bundled one has read what the mask measured and still counts
five of a kind where there are four, or names a place where nothing is; a reader would not know which of the two to
believe. So each sentence is read before it is shown.
"""

# R findings

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from agvas_core.asking import HOW_MANY, wants_findings
from agvas_core.claims import (
    Mention,
    denied_kinds,
    list_at,
    mentions,
    parse_reply,
    places_in,
    said_count,
    with_count,
)
from agvas_core.engines.pointing import Finding
from agvas_core.engines.subject import CANNOT_NAME, asks_name, of_a_surface
from agvas_core.kinds import kind_words, kinds_in
from agvas_core.prompts import MAX_MEASURED_REGIONS, format_percent
from agvas_core.wording import a, at, counted, join, more, number, placed, size_word

_END = re.compile(r"[.!?]+(?:\s+|$)")
_LABEL = re.compile(r"(?:Expectation|Observation|Diagnosis|Summary|Explanation): ")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")
_IS_SIZE = re.compile(r"\bis (small|of medium size|medium-sized|large)\b")
_SHOWS = re.compile(r"^(?:yes|there (?:is|are)|i (?:see|found|marked|count)|(?:it|this) is|the (?:marked|image))\b")
_IS_NO_DEFECT = re.compile(r"the (?P<what>[a-z ]+) comes from [a-z ]+ and is normal")  # of a shadow
# what is asked first: to "would you reject it?" a "no, it is not good" says the opposite of what it means
_ASKS_BAD = re.compile(
    r"(?:(?!\b(?:good|ok|okay|fine|normal|pass\w*|accept\w*|ship\w*|clean|perfect)\b).)*?"
    r"\b(?:reject\w*|scrap\w*|fail\w*|bad|defect\w*|damaged?|broken|wrong|faulty|ng)\b"
)
_DOUBTS = re.compile(r"^(?:I can make mistakes|Please check the marked)")  # to "that is wrong"
_NO = re.compile(r"^No, it (?=is not\b)")
_HOW_LARGE = re.compile(r"\bhow (?:big|large|wide|long)\b|\bsize\b|\barea\b|\bper ?cent|%|\bcovers?\b")


class FreeWords:
    """What HeldWords is for a model whose words are not read: all goes through as it comes."""

    def push(self, text: str) -> str:
        """Return the text."""
        return text

    def part(self) -> str:
        """Return nothing: all was said."""
        return ""

    def finish(self) -> str:
        """Return nothing: all was said."""
        return ""


class HeldWords:
    """Takes a reply as it grows and gives back whole sentences, all of which agree with the mask.

    Attributes:
        changed: how many sentences were replaced or left out.
    """

    def __init__(
        self, question: str, findings: Sequence[Finding], *, chat: bool = True, called: str = "", alone: bool = True
    ) -> None:
        """question: the user's own words; findings: what the mask shows, largest first; chat, alone: as in agrees.

        called: "part" or "surface", what words that cannot name the thing in the picture are to call it; "" where
        they can.
        """
        self.question, self.findings, self.chat, self.called = question, findings, chat, called
        self.alone = alone
        self.changed = 0
        self._begun = self._gap = ""
        self._said = False

    def push(self, text: str) -> str:
        """Take more of the reply; return what can be said now."""
        self._begun += text
        out = ""
        while (end := _END.search(self._begun)) and end.end() < len(self._begun):
            out += self._held(self._begun[: end.end()])
            self._begun = self._begun[end.end() :]
        return out

    def part(self) -> str:
        """Return what was begun, as far as it is, held to the mask: anchors follow it."""
        begun, self._begun = self._begun, ""
        if begun.strip() and not self._agrees(begun):
            seen = _listed(self.findings) if self.findings else "no anomaly"
            mask = "the mask" if begun.rstrip().endswith("mask") else ""  # else the anchors' place says it
            self.changed, begun = self.changed + 1, f"I see {seen}, as indicated by {mask}"
        if begun.rstrip().endswith("mask"):  # nothing stands for the anchors then: "the empty mask ."
            begun = begun.rstrip()
        return self._after_gap(begun)

    def finish(self) -> str:
        """Return the last sentence."""
        rest, self._begun = self._begun, ""
        last = self._held(rest)
        if self.called and self.chat and asks_name(self.question):
            last += f" {CANNOT_NAME}" if self._said else CANNOT_NAME
        return last

    def _agrees(self, sentence: str) -> bool:
        return agrees(sentence, self.findings, self.question, chat=self.chat, alone=self.alone)

    def _held(self, sentence: str) -> str:
        """Return a sentence that agrees, one in its place, or nothing where enough was said."""
        said, space = sentence.rstrip(), sentence[len(sentence.rstrip()) :]
        if said and not self._agrees(said):
            self.changed += 1
            said = self._put_right(said)
        if self.chat and _DOUBTS.match(said) and wants_findings(self.question):
            self.changed += 1
            said = "" if self._said else answer(self.question, self.findings)
        if _ASKS_BAD.match(self.question.casefold()):
            said = _NO.sub("It ", said)
        out = self._after_gap(said)
        self._gap = space if self._said else ""
        return out

    def _put_right(self, sentence: str) -> str:
        if label := _LABEL.match(sentence):
            return label[0] + _field(label[0], self.findings)
        whole = not (self.chat and kinds_in(self.question))  # "any stains?" is not answered with all there is
        for mended in _mended(sentence, self.findings, lists=whole):
            if self._agrees(mended):
                return mended
        return "" if self._said else answer(self.question, self.findings)

    def _after_gap(self, said: str) -> str:
        """Return words behind the blank that parts them from what was said before; none at an end."""
        if not said.strip():
            return ""
        gap, self._gap, self._said = self._gap, "", True
        return gap + (of_a_surface(said, self.question) if self.called == "surface" else said)


def agrees(
    sentence: str, findings: Sequence[Finding], question: str = "", *, chat: bool = True, alone: bool = True
) -> bool:
    """Return whether a sentence claims nothing that the findings do not show.

    What it leaves out is no contradiction. A definition ("a pit leaves a small cavity ...") claims nothing when the
    question names the kind. chat: no mask is being asked for, so a place that the question names is where to look, and
    not what to mark ("the left one"). alone: the findings are all that there are, and not those that were asked about.
    """
    claims, spoken = parse_reply(sentence), mentions(sentence)
    asked_places, asked_kinds = places_in(question), kinds_in(question)
    if claims.says_normal:
        if harmless := _IS_NO_DEFECT.match(sentence.strip().lower()):  # to "or is it a shadow?" it takes the mask back
            return not (findings and re.search(rf"\b(?:it|or) .*\ban? {harmless['what']}\b", question.lower()))
        if claims.places:
            asked = chat or claims.places <= asked_places
            return asked and not any(f.place in claims.places for f in findings)
        return not findings
    denied = denied_kinds(sentence)
    if denied & {f.kind for f in findings} or (question and denied - asked_kinds):  # of what nobody asked for
        return False
    if re.search(r"\bno other (?:defect|anomaly)", sentence.lower()) and (len(findings) > 1 or not alone):
        return False
    if said_count(sentence) is not None and not alone:
        return False
    if chat and len(asked_places) == 1 and not asked_kinds and claims.places:
        corner = set(next(iter(asked_places)).split())
        if not all(corner <= set(place.split()) for place in claims.places):
            return False  # asked for one corner, it tells of others
    shows = _SHOWS.match(sentence.strip().lower()) or claims.places or said_count(sentence) is not None
    if not shows and claims.kinds <= asked_kinds:
        return True
    if claims.places - {m.place for m in spoken} - {f.place for f in findings}:
        return False
    return (
        all(_is_there(m, findings) for m in spoken)
        and _numbers_agree(sentence, spoken, findings)
        and _sizes_agree(sentence, spoken, findings)
    )


def _is_there(mention: Mention, findings: Sequence[Finding]) -> bool:
    same = _meant(mention, findings)
    return bool(same) and (mention.size is None or mention.size in {size_word(f.percent) for f in same})


def _meant(mention: Mention, findings: Sequence[Finding]) -> list[Finding]:
    return [f for f in findings if f.kind == mention.kind and mention.place in (None, f.place)]


def _numbers_agree(sentence: str, spoken: Sequence[Mention], findings: Sequence[Finding]) -> bool:
    total = said_count(sentence)
    if total is not None and total != len(findings):
        return False
    unplaced = [m.kind for m in spoken if m.place is None and m.number]
    if len(set(unplaced)) < len(unplaced):  # "two pits and a pit"
        return False
    said = Counter[tuple[str, str | None]]()
    for mention in spoken:
        said[mention.kind, mention.place] += mention.number or 0
    there = Counter(f.kind for f in findings)
    counts = total is not None or any((m.number or 0) > 1 for m in spoken)
    for (kind, place), times in said.items():
        if times > sum(f.kind == kind and place in (None, f.place) for f in findings):
            return False
        if counts and place is None and times and times != there[kind]:
            return False
    listed = sum(times for (_, place), times in said.items() if place is None)
    return total is None or not listed or listed == sum(bool(f.kind) for f in findings)


def _sizes_agree(sentence: str, spoken: Sequence[Mention], findings: Sequence[Finding]) -> bool:
    meant = [f for m in spoken for f in _meant(m, findings)] or list(findings)
    shares = {format_percent(f.percent) for f in meant}
    if any(share not in shares for share in _PERCENT.findall(sentence)):
        return False
    size = _IS_SIZE.search(sentence.lower())
    return size is None or re.sub(r"^of | size$|-sized$", "", size[1]) in {size_word(f.percent) for f in meant}


def _mended(sentence: str, findings: Sequence[Finding], *, lists: bool) -> Iterator[str]:
    """Yield a sentence with the share that was measured; with lists also with the findings where it lists others."""
    if not findings:
        return
    meant = [f for m in mentions(sentence) for f in _meant(m, findings)] or list(findings)
    yield _PERCENT.sub(f"{format_percent(meant[0].percent)} %", sentence)  # digits are copied badly
    start = list_at(sentence) if lists else None
    if start is None:
        return
    also = re.search(r"\balso\b", sentence[:start])
    told, count = findings[1:] if also else findings, said_count(sentence)
    alike = count is None or (count == 1) == (len(findings) == 1)  # not "one defects"
    if told and alike:
        listed = _listed(told) if places_in(sentence) else _counted(told)
        yield with_count(sentence[:start], number(len(findings))) + listed + "."


def answer(question: str, findings: Sequence[Finding]) -> str:
    """Return a sentence that answers a question from the findings alone."""
    if not findings:
        return "I see no defect."
    asked, places, kinds = question.casefold(), sorted(places_in(question)), kinds_in(question)
    if len(places) == 1 and not kinds:
        there = [a(f.noun) for f in findings if f.place == places[0]]
        where = at(places[0])
        return f"{where.capitalize()} I see {join(there)}." if there else f"I see nothing unusual {where}."
    if HOW_MANY.search(asked):
        verb, noun = ("is", "defect") if len(findings) == 1 else ("are", "defects")
        return f"There {verb} {number(len(findings))} {noun}: {_counted(findings)}."
    if kinds:
        spots = [(f.kind, f.place) for f in findings if f.kind in kinds]
        if spots:
            return f"There {'are' if spots.count(spots[0]) > 1 else 'is'} {join(placed(spots))}."
        none = " or ".join(kind_words(kind).one for kind in sorted(kinds))
        return f"I see no {none}, but there is {_listed(findings[:1])}."
    if _HOW_LARGE.search(asked):
        first = findings[0]
        return f"The {first.noun} {at(first.place)} covers about {format_percent(first.percent)} % of the image."
    return f"I see {_listed(findings)}."


def _field(label: str, findings: Sequence[Finding]) -> str:
    """Return what stands in a field of a report."""
    if not findings:
        return "No anomaly is visible."
    if label.startswith("Diagnosis"):
        return f"{_counted(findings).capitalize()}."
    if label.startswith("Explanation"):
        words = kind_words(findings[0].kind)
        return f"This is not normal: the {words.one} {words.why}."
    return f"I see {_listed(findings)}."


def _listed(findings: Sequence[Finding]) -> str:
    """Return "a small scratch at the top and a hole in the center", of many those that were read."""
    parts = placed([(f.kind, f.place) for f in findings[:MAX_MEASURED_REGIONS]])
    return join([*parts, *more(len(findings))])


def _counted(findings: Sequence[Finding]) -> str:
    return counted([f.kind or "defect" for f in findings])

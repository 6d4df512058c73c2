"""Words that point back: "it", "that one", "the other one", "both" are the findings that the talk was about before.

The bundled language model tells of the largest finding whatever "it" is, so what such words mean is put in their place:
"how big is the other one?" is read as "how big is the hole on the left?".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from agvas_core.claims import mentions
from agvas_core.counting import ORDINALS
from agvas_core.engines.pointing import Finding, findings_of, meant, parts
from agvas_core.kinds import ENGLISH, asked_pattern, kind_words, kinds_in
from agvas_core.structures import Prediction, Turn
from agvas_core.wording import at, join

_NOUN = r"(?:ones?|defects?|findings?|regions?|two|three|four)\b"
_END = r"(?=\s*(?:please\s*)?(?:[?.,!;]|$))"
_OTHERS = re.compile(
    rf"\b(?:the|its) (?:other|remaining) {_NOUN}|\bthe (?:others|other{_END}|rest(?! of)\b)|另一?个|其余的?|其他的"
)
_OF_THEM = re.compile(r"(?<=\bof )(?:them|these|those)\b")
_OTHER_KIND = re.compile(rf"\bthe (?:other|remaining) (?:{'|'.join(map(asked_pattern, ENGLISH))})")
_BOTH = re.compile(r"(?<!\bof )\b(?:both(?: of them)?|they|them|these|those|each of them)\b")
_IT = re.compile(
    rf"\b(?:that|this) {_NOUN}|\bit\b|(?<=\b(?:is|of) )(?:that|this)\b|(?<=\babout )(?:that|this)\b|\bthat{_END}"
)
_OF_THE_PART = re.compile(  # "can I ship it?" and "mark it again" are about the part, whatever was told of it last
    r"\b(?:good|ok|okay|ng|fine|normal|clean|ship\w*|pass\w*|fail\w*|accept\w*|reject\w*|scrap\w*|use|used|sell|sold"
    r"|part|piece|image|picture|photo|surface|again)\b"
)
_NAMES = re.compile(r"\b(?:defects?|anomal\w+|flaws?|faults?|everything)\b")  # "find all defects and list them"
_RANKS = tuple({n: word for word, n in ORDINALS.items() if word.isalpha()}[n] for n in range(2, 6))


def spelled_out(words: str, turns: Sequence[Turn], image_id: str | None, seen: Prediction) -> str:
    """Return a question with findings in the place of the words that point back; as it is where nothing is meant.

    Args:
        words: the user's own.
        turns: of the talk before.
        image_id: of the image that is asked about.
        seen: all that was marked in it.
    """
    findings = findings_of(seen)
    if len(findings) < 2:  # "it" is that one
        return words
    focus: frozenset[int] = frozenset()  # regions that the talk is about, none: all of them
    own = [turn for turn in turns if turn.image_id == image_id]
    for question, answer in zip(own, own[1:], strict=False):
        if (question.role, answer.role) == ("user", "assistant"):
            focus = _focus(question.text, answer.text, findings, focus)
    return _spelled(words, findings, focus)


def points_back(words: str) -> bool:
    """Return whether words have a meaning only after others: "and the other one"."""
    return any(pattern.search(words.casefold()) for pattern in (_OTHERS, _BOTH, _IT))


def _focus(question: str, answer: str, findings: Sequence[Finding], before: frozenset[int]) -> frozenset[int]:
    """Return the regions that an exchange leaves the talk about, given those before it."""
    everything = _numbers(findings)
    wanted, _ = parts(_spelled(question, findings, before))
    named = meant(wanted, findings)
    if named is None:  # what is told of, when it is one
        told = {
            f.numbers for f in findings for m in mentions(answer) if f.kind == m.kind and m.place in (None, f.place)
        }
        named = set(next(iter(told))) if len(told) == 1 else set()
    return frozenset(named) if frozenset(named) < everything else frozenset()


def _spelled(words: str, findings: Sequence[Finding], focus: frozenset[int]) -> str:
    text = words.casefold()
    if focus and (kind := _OTHER_KIND.search(text)):  # "the other cracks"
        alike = {n for f in findings if f.kind in kinds_in(kind[0]) for n in f.numbers}
        return _OTHER_KIND.sub(_phrase(frozenset(alike - focus), findings), text) if alike - focus else words
    if _NAMES.search(text) or (kinds_in(text) and not re.search(r"\bthan\b", text)):
        return words
    everything = _numbers(findings)
    rest = everything - focus if focus else frozenset()
    both = focus if sum(bool(f.numbers & focus) for f in findings) > 1 else everything
    kinds = {f.kind for f in findings if f.numbers & both}
    if len(kinds) == 1 and "" not in kinds:  # "the biggest of them"
        text = words = _OF_THEM.sub(f"the {kind_words(min(kinds)).many}", text)
    one = frozenset() if _OF_THE_PART.search(text) else focus
    for pattern, numbers in ((_OTHERS, rest), (_BOTH, both), (_IT, one)):
        if numbers and pattern.search(text):
            text = words = pattern.sub(_phrase(numbers, findings), text)
    return words


def _numbers(findings: Sequence[Finding]) -> frozenset[int]:
    return frozenset(n for finding in findings for n in finding.numbers)


def _phrase(numbers: frozenset[int], findings: Sequence[Finding]) -> str:
    """Return "the hole on the left and the stain at the top", words that mean these findings and no other."""
    return join([_name(finding, findings) for finding in findings if finding.numbers & numbers])


def _name(finding: Finding, findings: Sequence[Finding]) -> str:
    ranks = ("", "largest ", *(f"{rank} largest " for rank in _RANKS))
    names = [f"the {rank}{finding.noun} {at(finding.place)}" for rank in ranks]
    return next((name for name in names if meant(name, findings) == finding.numbers), f"region {min(finding.numbers)}")

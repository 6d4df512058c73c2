"""What of a sentence is wanted, what is to be left out, and what is taken back: "find cracks, but not on the left"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from agvas_core.kinds import ENGLISH, kinds_in

Says = Literal["want", "leave out", "take back"]

_ALL = re.compile(r"^(?:anything|everything|everywhere|anywhere|all|all of (?:it|them))$")
_START = r"(?:^|[,:;.!?]\s*|\b(?:and|but|or|please|to|then|also|now|should|can|could|would|just|let's)\s+)"
_LEAVE_OUT = (
    r"(?:ignor(?:e|ing)|disregard(?:ing)?|exclud(?:e|ing)|skip(?:ping)?|omit(?:ting)?|hid(?:e|ing)|leav(?:e|ing) out"
    r"|tolerat(?:e|ing)|accept(?:ing)?)"
)
_MARK = (
    r"(?:report|mark|show|segment|count|include|flag|highlight|outline|list|find|detect|keep"
    r"|look(?: for)?|check|inspect|search|scan|examine)"
)
_DO_NOT = r"(?:do not|don'?t|never)"
_TAKE_BACK = (
    rf"\b(?:{_DO_NOT}|stop|no longer)(?: (?:you|ever|just))? {_LEAVE_OUT}\b"
    rf"|{_START}(?:include|(?:bring|take|put) back)\b"
)
_REST = (
    r"\b(?:except(?:ing)?(?: for)?|other than|apart from|aside from|besides(?!,))\b"
    r"|(?:(?<=\beverything )|(?<=\beverywhere )|(?<=\banywhere )|(?<=\banything )|(?<=\ball ))but(?! not| no)\b"
)
_KIND = rf"(?:{'|'.join(ENGLISH.values())}|dust|dirt|particles?)\b"
_NOT_SAID_OF_A_PHOTO = r"(?<!\bis )(?<!\bare )(?<!\bwas )(?<!\bwhy )(?<!\bsee )(?<!\bif )"
_OUT = (
    rf"\b{_LEAVE_OUT}\b|\bbut not?\b|\bwithout(?: any)?\b"
    r"|\bleav(?:e|ing)\b(?=(?: [\w'%.-]+){1,6} out\b)"
    rf"|{_START}(?:drop(?:ping)?|remov(?:e|ing)|discard(?:ing)?|suppress(?:ing)?)\b"
    rf"|{_START}(?:filter|throw|sort)(?:ing)? (?:out|away)\b"
    rf"|(?<!\bi )(?<!\bwe )(?<!\byou ){_DO_NOT} (?:even |also |ever )?{_MARK}(?: me)?\b"
    rf"|\b{_DO_NOT} (?:want|need|(?:care|worry|bother) (?:about|with))(?: (?:you )?to (?:see|{_MARK}))?\b"
    rf"|{_NOT_SAID_OF_A_PHOTO}\b(?:not (?=(?:in|at|on|near|inside|within|outside|the|any|an?)\b)"
    r"|nothing (?=(?:in|at|on|near) ))"
    r"|\b(?:that|which) (?:is|are) not (?=(?:in|at|on|near|inside|within|outside) )"
    rf"|{_START}no (?=(?:[a-z]+ )?{_KIND})"
)
_ASK = (
    r"(?:please |then |also |only )*(?:look for|find|segment|mark|detect|highlight|outline|locate|show|search|check"
    r"|inspect|keep|report|tell|explain|describe)\b"
)
_SIZE = r"(?:smaller|larger|greater|bigger|less|more)"
_BOUND = rf"(?:only|just|at (?:most|least)|up to|between|below|above|(?:no|not|nothing) {_SIZE}|{_SIZE})\b"
_IN = rf"[.;!?](?!\d)|,?\s*\b(?:and|but|then)\s+(?={_ASK})|,\s*(?={_ASK}|{_BOUND})"
_TURN = re.compile(rf"(?P<back>{_TAKE_BACK})|(?P<rest>{_REST})|(?P<out>{_OUT})|(?P<want>{_IN})")
_FINE = (
    r"(?:\b(?:is|are|was|were|looks?) (?:all |quite |just )?(?:fine|ok(?:ay)?|normal|good|clean|harmless|acceptable"
    r"|allowed|irrelevant|tolerable|permitted|permissible|negligible|unimportant|cosmetic(?: only)?"
    r"|intended|intentional|on purpose|by design|part of (?:it|the [a-z]+)"
    r"|(?:meant|supposed) to be there|no(?:t an?)? (?:defect|fault|flaw|issue|problem|concern)s?)\b"
    r"|\bbelongs? (?:there|to it)\b|\b(?:do|does)(?: not|n't) (?:matter|count)\b)"
)
_STATES = re.compile(rf"{_FINE}|\bthere (?:is|are|was|were) (?:nothing|no)\b")
_BE_LEFT_OUT = (
    r"\b(?:should|must|can|may|is to|are to) (?P<not>not )?(?:all )?"
    r"be (?:ignored|disregarded|excluded|skipped|omitted|left out|tolerated|accepted)\b"
)
_SUBJECT = re.compile(
    rf"(?P<start>^|[,;:.!?]\s*|\b(?:and|but|while)\s+)(?!(?:{_ASK}|if|is|are|no|nothing)\b)"
    rf"(?P<what>(?:[^,;:.!?]|[.,](?=\d))+?) (?:(?P<order>{_BE_LEFT_OUT})|{_FINE})"
    r"(?:,? (?:if|when|as long as)(?: (?:they|it)(?: are|'re| is|'s))?\b)?"
    r"(?P<end>\s*(?=$|[,;:.!?]|(?:and|but|while)\b))?"
)
_UNLESS = re.compile(
    r",? unless (?:they|it|these|those|this|that|one)(?: are| is|'re|'s| lies?)?"
    r" (?:(?P<place>(?=(?:in|on|at|near|along|outside) ))"
    r"|(?=[a-z]+er than |more |less |above |below |over |under |at ))"
)
_IS = re.compile(rf"^(?!{_ASK})(?:there (?:is|are) (?P<there>.+)|(?P<what>(?!there\b).+?) (?:is|are)\b.*)$")
_ASKS_WHICH = re.compile(r"\b(?:which|that|what|whether|if|how|why|when)\b")
_PRONOUN = re.compile(r"^(?:it|that|this|them|those|these)\b(?:,? please)?$")


@dataclass(frozen=True)
class Clause:
    """A piece of a sentence.

    Attributes:
        text: its words, without those that say what it is.
        says: what it asks for.
    """

    text: str
    says: Says


def clauses(words: str) -> list[Clause]:
    """Return the pieces of a sentence in lower case, in their order, none of them empty.

    What is left out ends with the sentence, or where something is asked for again: "ignore the scratches, and mark the
    holes". "Ignore everything except the holes" asks for the holes. "Scratches are fine" leaves them out.
    """
    words = _SUBJECT.sub(_order, _UNLESS.sub(_exception, words))
    found: list[Clause] = []
    says: Says = "want"
    text, start = "", 0
    for turn in _TURN.finditer(words):
        text, start = text + words[start : turn.start()], turn.end()
        rest_of_all = says == "leave out" and bool(turn["rest"]) and bool(_ALL.match(text.strip(" ,")))
        if says == "leave out" and turn["rest"] and not rest_of_all:
            text += " outside "  # "ignore scratches except on the left"
            continue
        found.append(Clause(text.strip(" ,"), says))
        text = "find " if rest_of_all else ""
        says = "take back" if turn["back"] else "want" if turn["want"] or rest_of_all else "leave out"
    found.append(Clause((text + words[start:]).strip(" ,"), says))
    return _with_meant_things([clause for clause in found if clause.text])


def _exception(said: re.Match[str]) -> str:
    """Return "unless they are larger than 2 %" as "not larger than 2 %", "unless on the left" as an exception."""
    return " except " if said["place"] is not None else " not "


def states(text: str) -> bool:
    """Return whether a clause says how things are, and asks for nothing: "there is nothing on the left"."""
    return bool(_STATES.search(text))


def _order(said: re.Match[str]) -> str:
    """Return "stains should be ignored" or "scratches are fine" as an order to ignore them."""
    if _ASKS_WHICH.search(said["what"]) or not (said["order"] or kinds_in(said["what"])):
        return said[0]
    ends = said["end"] is not None  # "scratches are fine below 1 %" goes on
    return f"{said['start']}{'do not ' if said['not'] else ''}ignore {said['what']}{' ;' if ends else ''} "


def _with_meant_things(said: list[Clause]) -> list[Clause]:
    """Return the clauses with "it" replaced by what it is: "the label at the bottom is fine, ignore it"."""
    out: list[Clause] = []
    for clause in said:
        if clause.says == "leave out" and _PRONOUN.match(clause.text) and out:
            if states(out[-1].text):
                clause = Clause(_STATES.sub("", out.pop().text).strip(), clause.says)
            elif out[-1].says == "want" and (is_what := _IS.match(out[-1].text)):  # "the spots are reflections"
                out.pop()
                clause = Clause(is_what["there"] or is_what["what"], clause.says)
        out.append(clause)
    return out

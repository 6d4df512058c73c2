"""Good examples as a user names them: "this is a good part", "it is not good after all", "forget the examples"."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from agvas_core.structures import Conversation, InspectionImage, Request

Judgement = Literal["good", "bad", "forget"]

MOST_CHARS = 200  # of a sentence that says that something is good

_THING = (
    r"(?:part|piece|one|image|photo|photograph|picture|sample|specimen|unit|item|product|object|surface|example|reference"
    r"|component|tile|board|nut|bolt|screw|cookie|biscuit|plate|tissue|scan|slide|case|material|sheet|panel|bottle|tablet"
    r"|capsule)s?"
)
_FLAWS = r"(?:defects?|anomal(?:y|ies)|faults?|flaws?)"
_GOOD = (
    r"(?:good|normal|perfect|flawless|faultless|undamaged|unblemished|acceptable|accepted|approved|golden|pristine|intact"
    rf"|healthy|conforming|(?:defect|anomaly|fault|error)[- ]?free|free of (?:all |any )?{_FLAWS}"
    rf"|without (?:an? |any )?{_FLAWS})"
)
_FINE = r"(?:ok|okay|fine|clean|in order)"  # said of what was answered, too: "that is fine"
_SURELY = r"(?:actually|really|completely|perfectly|absolutely|definitely)"
_IT = r"(?:it|that|they)"
_THESE = (
    rf"(?:(?:all|both|each|every one|these|those|the)(?: (?:of )?(?:these|those|them|the))?(?: \w+)? {_THING}"
    rf"|(?:this|that|the)(?: (?:first|second|third|last|current|other|same|whole|entire))* {_THING}"
    r"|(?:image|photo|picture) \d+|(?:all|both) of (?:these|those|them)|this|these|those|both|all)"
)
_VERB = r"(?: (?:is|are|was|were|shows?|contains?|depicts?|has|have)|s|re)"
_HOW = rf"(?: (?:an?|the|my|our|two|three|four|five|some|all|known|to be|{_SURELY}))*"
_BEFORE = (
    r"(?:(?:please|ok|okay|no|yes|well|so|and|but|now|note(?: that)?|fyi|actually|sorry|hey|hi|hello|here|also|look"
    r"|wait|i (?:know|think|say|said)|in fact|for your information|know that|remember(?: that)?)[ ,:]*)*"
)
_AFTER = (
    r"(?:[ ,]+(?:too|as well|also|now|please|again|already|actually|for (?:reference|comparison|the record)"
    r"|so (?:you know|remember)|to compare(?: with)?|in my opinion|by the way"
    r"|(?:and )?(?:please )?(?:remember|keep|save|store|learn|note|use) (?:it|that|this|them|those)"
    r"(?: as (?:a )?reference)?))*"
)
_HERE = rf"(?: here| (?:in|with) (?:this|that|it|these|those|them)(?: {_THING})?)?"
_STATES = re.compile(
    rf"{_BEFORE}(?:"
    rf"{_THESE}{_VERB}{_HOW} (?:{_GOOD}(?: {_THING}){{0,2}}|{_FINE}(?: {_THING})?|references?)"
    rf"|{_IT}{_VERB}{_HOW} {_GOOD}(?: {_THING}){{1,2}}"
    rf"|{_IT}{_VERB}(?: {_SURELY})? (?:normal|flawless|faultless|undamaged|intact|(?:defect|anomaly|fault)[- ]?free"
    r"|(?:(?:an?|the|my|our) )?references?)"
    r"|(?:(?:these|this|here) (?:are |is ))?(?:(?:an?|some|more|another|two|three|four|five|my|our|the) )*"
    rf"{_GOOD}(?: {_THING}){{1,2}}"
    rf"|(?:(?:an?|the|my) )?reference {_THING}"
    rf"|nothing (?:is|s) wrong{_HERE}|there (?:is|are) (?:nothing wrong|(?:no|not any) {_FLAWS}){_HERE}"
    rf"){_AFTER}"
)
_TAKES = re.compile(
    rf"{_BEFORE}(?:can you |could you |you (?:can|may|should) )?"
    rf"(?:remember|use|take|treat|keep|store|save|learn|mark|consider|register|add|count|set|regard|see|accept)"
    rf" (?:{_THESE}|it|them)(?: {_THING})? (?:as|for|to|like)(?: (?:an?|the|my|our|being|be|one of))*"
    rf" (?:{_GOOD}|{_FINE}|references?|baseline|standard|comparison)(?: {_THING}){{0,2}}{_AFTER}"
)
_TAKES_BACK = re.compile(
    rf"{_BEFORE}(?:{_THESE}|{_IT})(?:{_VERB}(?: no longer| not| never)| (?:is|are|was|were)nt){_HOW}"
    rf" (?:{_GOOD}|{_FINE})(?: {_THING}){{0,2}}(?: (?:after all|any ?more|anyway|actually|at all))*{_AFTER}"
    rf"|{_BEFORE}(?:forget|remove|drop|delete|discard) (?:{_THESE}|it) from the (?:good |normal )?"
    rf"(?:examples|references|list|parts){_AFTER}"
)
_EXAMPLES = (
    rf"(?:(?:good|normal|golden)(?: {_THING}){{1,2}}|references?(?: {_THING})?|(?:good |normal )?examples?|memory bank)"
)
_ALL = r"(?: (?:all|the|my|our|of|these|those|your|every|any))*"
_FORGETS = re.compile(
    rf"{_BEFORE}(?:(?:forget|drop|remove|clear|discard|delete|ignore|reset)(?: about)?{_ALL} {_EXAMPLES}"
    r"|(?:stop comparing|(?:do not|dont|no longer) (?:compare|use)(?: (?:it|them|this))?)(?: (?:with|to|against))?"
    rf"{_ALL}(?: (?:{_EXAMPLES}|them|anything))?(?: any ?more)?"
    rf"|(?:judge|look at|see) (?:it|this|the image) (?:by itself|alone|without (?:the |my )?{_EXAMPLES})){_AFTER}"
)
_ONE_OF = r"(?:一个|一张|个|张)?"
_CHINESE: dict[Judgement, re.Pattern[str]] = {
    "forget": re.compile(
        r"(?:请)?(?:忘记|忘掉|清除|删除|不要再?用|不再用)(?:所有|全部|这些)?的?(?:良品|合格品|正常|参考)"
        r"(?:样本|样品|图像?|照片|示例)?"
    ),
    "bad": re.compile(rf"(?:这|那|它)\S{{0,6}}(?:不是|并非){_ONE_OF}(?:良品|合格品?|好的|正常(?:的|品|件)?)"),
    "good": re.compile(
        rf"(?:这|那|它|以上|两|都)\S{{0,8}}(?:是|为|属于|都是){_ONE_OF}(?:良品|合格(?:品|的|件)"
        r"|好(?:的|品|件)(?:产品|零件)?|正常(?:的|品|件|样本|图像?)?|没有缺陷的?|无缺陷的?|参考(?:图像?|样本)?)"
        r"|(?:请)?(?:把|将|用)?(?:这|它)\S{0,6}(?:当作|作为|当成|视为|记为)(?:良品|合格品|正常|参考)\S{0,3}"
        r"|(?:良品|合格品|正常样本|参考图像?)"
    ),
}
_SENTENCES = re.compile(r"(?<=[.!?;。；！？\n])\s*")
_OF_NO_USE = re.compile(r"[\"“”„«»()\[\]*_]")


@dataclass(frozen=True)
class Said:
    """What words say of good examples, and what else they say.

    Attributes:
        judgement: "good" and "bad" are said of the image that the words are about, "forget" of all examples; None
            where the words judge nothing.
        rest: the other words, "" where they ask for nothing more.
    """

    judgement: Judgement | None
    rest: str


def read_judgement(text: str) -> Said:
    """Return what a user's words say of good examples; a question ("is this good?") says nothing, nor does an if."""
    judgement: Judgement | None = None
    rest = []
    for sentence in _SENTENCES.split(text):
        found = _judged(sentence)
        judgement = found or judgement
        if found is None:
            rest.append(sentence)
    return Said(judgement, " ".join(s.strip() for s in rest if s.strip()) if judgement else text.strip())


def good_images(conversation: Conversation, request: Request) -> tuple[InspectionImage, ...]:
    """Return the images that are good, oldest first: the request's, and those that the user's words called so."""
    ids = dict.fromkeys(request.good_ids)
    said = [(turn.text, turn.image_id) for turn in conversation.turns if turn.role == "user"]
    for text, image_id in (*said, (request.instruction, request.image_id)):
        judgement = read_judgement(text).judgement
        if judgement == "forget":
            ids = {}
        elif judgement == "bad":
            ids.pop(image_id or "", None)
        elif judgement == "good" and image_id is not None:
            ids.setdefault(image_id)
    return tuple(conversation.images[image_id] for image_id in ids if image_id in conversation.images)


def _judged(sentence: str) -> Judgement | None:
    if len(sentence) > MOST_CHARS or sentence.rstrip().endswith(("?", "？")):
        return None
    text = unicodedata.normalize("NFKC", sentence).casefold().replace("’", "").replace("'", "")
    text = " ".join(_OF_NO_USE.sub(" ", text).split()).strip(" .!,;:。；！，")
    if not text:
        return None
    if _FORGETS.fullmatch(text):
        return "forget"
    if _TAKES_BACK.fullmatch(text):
        return "bad"
    if _STATES.fullmatch(text) or _TAKES.fullmatch(text):
        return "good"
    return next((judgement for judgement, words in _CHINESE.items() if words.fullmatch(text)), None)

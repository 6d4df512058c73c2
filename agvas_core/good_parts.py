"""Good examples as a user names them: "this is a good part", "it is not good after all", "forget the examples"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

from agvas_core.spelling import respelled
from agvas_core.structures import Conversation, InspectionImage, Request

Judgement = Literal["good", "bad", "forget"]

SAYING: dict[Judgement, str] = {  # each in plain words
    "good": "This is a good part.",
    "bad": "This is not a good part.",
    "forget": "Forget the good examples.",
}
T = TypeVar("T")
MOST_EXAMPLES = 24  # that are compared with: more take their time at the first question, and hardly add anything
MOST_CHARS = 200  # of a sentence that says that something is good
MOST_READ = 2000  # characters of words that are read at all


def _any(*ways: str) -> str:
    """Return a pattern of any of the ways to say something."""
    return rf"(?:{'|'.join(ways)})"


# --- what is spoken of ---

_THING = _any(
    r"part|piece|one|image|photo|photograph|picture|sample|specimen|unit|item|product|object|surface|example|reference",
    r"component|tile|board|pcb|nut|bolt|screw|washer|gear|bearing|bracket|housing|casting|weld|joint|cable|wire|pipe",
    r"tube|lens|wafer|cookie|biscuit|pill|tablet|capsule|bottle|plate|panel|sheet|case|material|leather|fabric|carpet",
    r"wood|hazelnut|zipper|tissue|skin|mucosa|retina|brain|lung|liver|organ|patient|scan|slide|x ?ray|mri|ct",
)
_THING = rf"{_THING}s?"
_PLACE = _any(  # what makes a thing a place in the image, or one of several
    r"left|right|upper|lower|top|bottom|middle|cent(?:er|re|ral)|inner|outer|first|second|third|last|next|other|bad",
    r"surrounding|small|smaller|large|larger|big|bigger|dark|bright|missing|broken|damaged|defective|good|is|are",
)
_KIND = rf"(?: (?!{_PLACE}\b)[a-z]+(?! ones?\b))?"  # one word more: "this hex nut"
_COUNT = r"(?:two|three|four|five|six|ten|\d+)"
_IT = r"(?:it|that|they)"
_THESE = _any(
    r"(?:all|both|each|every one|these|those|the|my|our)(?: (?:of )?(?:these|those|them|the|my|our))?"
    rf"(?: {_COUNT})?{_KIND} {_THING}",
    rf"(?:this|that|the)(?: (?:current|same|whole|entire))*{_KIND} {_THING}",
    r"(?:the )?(?:first|second|third|last|previous|other) (?:image|photo|picture)",
    r"(?:image|photo|picture) #?\d+",
    rf"(?:all|both|each|every one)(?: {_COUNT})? of (?:these|those|them|this)",
    rf"(?:these|those)(?: {_COUNT})?|this|(?:both|all(?: {_COUNT})?)(?= are)|they(?=(?: a)?re all)",
    rf"everything (?:here|(?:in|on) (?:this|the){_KIND} {_THING})",
)
_HERE = rf"(?: here| (?:in|on|with) (?:this|that|it|these|those|them|the)(?: {_THING})?)"

# --- what is said of it ---

_FLAWS = r"(?:defects?|anomal(?:y|ies)|abnormalit(?:y|ies)|faults?|flaws?|damages?)"
_SPOTLESS = rf"(?:free (?:of|from) (?:all |any )?{_FLAWS}|without (?:an? |any )?{_FLAWS}|with no {_FLAWS})"
_SHARP = r"(?!(?:good|perfect) (?:photo|photograph|picture)s?\b)"  # a good photo may show a bad part
_GOOD = _SHARP + _any(
    r"good|normal|perfect|flawless|faultless|undamaged|unblemished|acceptable|accepted|approved|golden|gold standard",
    r"master|pristine|intact|unremarkable|healthy|conforming|compliant|(?:defect|anomaly|fault|error) free",
    rf"non defective|within (?:the |our )?(?:spec(?:ification)?s?|tolerances?)|{_SPOTLESS}",
)
_FINE = r"(?:ok|okay|fine|clean|in order)"  # said of what was answered, too: "that is fine"
_REFERENCE = rf"references?(?: {_THING})?"
_SURELY = r"(?:actually|really|completely|perfectly|absolutely|definitely|certainly|totally|entirely|indeed)"
_VERB = r"(?: (?:is|are|was|were|shows?|contains?|depicts?|counts? as|has been|have been)|s|re)"
_OF_A = r"(?:photo|picture|image|example)s?"
_MY = r"(?:an?|the|my|our)"
_HOW = rf"(?: (?:{_MY}|one|{_COUNT}|some|all|also|still|very|known|considered|to be|of|{_OF_A}|{_SURELY}))*"

# --- what stands before and after it ---

_BEFORE = _any(
    r"please|ok|okay|no|nope|yes|yep|yeah|right|great|well|so|and|but|now|note(?: that)?|fyi|actually|sorry|oops|hey",
    r"hi|hello|here|also|look|wait|hold on|thanks|thank you|(?:(?:thats|that is|you are) )?wrong|(?:for|to) (?:me|us)",
    r"(?:(?:thats|that is|this is) )?(?:a )?false alarm|i was wrong|my mistake|i made a mistake|from now on",
    r"(?:i|we)(?: can| am| are|m)? (?:know|think|say|said|confirm|believe|sure)(?: that)?|in fact|in my opinion",
    r"by the way|to be clear|(?:just )?so you know|for (?:your information|reference|comparison)|know that",
    r"remember(?: that)?",
)
_BEFORE = rf"(?:{_BEFORE}[ ,:]*)*"
_REMEMBER = (
    r"(?:and )?(?:please )?(?:remember|keep|save|store|learn|note|use) (?:it|that|this|them|those)"
    r"(?: as (?:a )?reference)?"
)
_AFTER = _any(
    r"too|as well|also|now|please|again|already|actually|thanks|thank you|for (?:reference|comparison|the record)",
    rf"so (?:you know|remember)|to compare(?: with)?|in my opinion|by the way|as it is|from now on|{_REMEMBER}",
)
_AFTER = rf"(?:[ ,]+{_AFTER})*"
_ANY_MORE = r"(?: any ?(?:more|longer))?"


def _says(*ways: str) -> re.Pattern[str]:
    """Return a pattern of whole sentences that say something in any of the ways, with what may stand around it."""
    return re.compile(rf"{_BEFORE}{_any(*ways)}{_AFTER}")


_STATES = _says(
    # this hex nut is a good part; these are perfectly fine; this is our reference
    rf"{_THESE}{_VERB}{_HOW} (?:{_GOOD}(?:{_KIND}(?: {_THING}){{1,2}})?|{_FINE}(?: {_THING})?|{_THING} {_SPOTLESS}"
    rf"|{_REFERENCE})",
    # it is a good part; it is normal
    rf"{_IT}{_VERB}{_HOW} (?:{_GOOD}{_KIND}|ok|okay)(?: {_THING}){{1,2}}",
    rf"{_IT}{_VERB}(?: {_SURELY})? (?:normal|flawless|faultless|undamaged|intact|(?:defect|anomaly|fault) free"
    rf"|(?:{_MY} )?{_REFERENCE})",
    rf"(?:{_THESE}|it) (?:will|shall|should) be {_MY} {_REFERENCE}",
    # it has no defects; this part passed inspection; this part is not damaged
    rf"(?:{_THESE}|it) (?:(?:has|have|shows?) no|do(?:es)?(?:nt| not) (?:have|show) any) {_FLAWS}",
    rf"(?:{_THESE}|it) has nothing wrong",
    rf"(?:this|the)(?: same)?{_KIND} {_THING}(?: has)? passed(?: (?:the|its|final|qc|qa|tests?|inspection|checks?))*",
    rf"(?:this|the){_KIND} {_THING} (?:is not|isnt) (?:defective|damaged|broken|faulty)",
    # here are three good parts; photo of a good part; reference image
    r"(?:(?:these|this|here) ?(?:are|is|s) (?:the )?)?"
    rf"(?:(?:an?|some|more|another|one|{_COUNT}|my|our|all|{_OF_A} of) )*"
    rf"(?:{_GOOD}{_KIND}(?: {_THING}){{1,2}}|(?:ok|okay) (?:part|piece|one|sample|unit|board)s?)",
    rf"(?:(?:an?|the|my) )?(?:reference {_THING}|{_THING} {_SPOTLESS})",
    # nothing is wrong here; there are no defects; no defects in this one
    rf"nothing (?:(?:is|s) wrong{_HERE}?|wrong{_HERE})|no {_FLAWS}{_HERE}",
    rf"there ?(?:is|are|s) (?:nothing wrong|(?:no|not any) {_FLAWS}){_HERE}?",
    rf"there (?:is|are) ?(?:nt|not) (?:anything wrong|any {_FLAWS}){_HERE}?",
    # this is what a good part looks like; good parts look like this
    rf"(?:this|that|here)(?: is|s) (?:what|how) (?:{_MY} )*{_GOOD}{_KIND}(?: {_THING})? looks?(?: like)?",
    rf"(?:this|that|here)(?: is|s) (?:what|how) (?:it|they|{_THESE}) should look(?: like)?",
    rf"(?:an? )?{_GOOD}{_KIND}(?: {_THING})? (?:should )?looks? like (?:this|that)",
)
_TAKING = _any(
    # use this as a reference; consider it normal; let this be the reference
    r"(?:remember|use|take|treat|keep|store|save|learn|mark|label|consider|register|add|count|set|regard|see|accept)"
    rf" (?:{_THESE}|it|them)(?: {_THING})? (?:as|for|to|like)(?: (?:{_MY}|being|be|one of))*"
    rf" (?:{_GOOD}|{_FINE}|references?|baseline|standard|comparison|compare)(?: {_THING}){{0,2}}",
    rf"(?:consider|call) (?:{_THESE}|it|them)(?: an?)? {_GOOD}(?: {_THING})?",
    rf"(?:let|make) (?:{_THESE}|it)(?: be)? {_MY} {_REFERENCE}",
)
_LIST = r"(?:the |my |our )?(?:(?:good|normal) )?(?:examples|references|list|parts|ones)"
_OTHERS = rf"(?:everything|(?:(?:all|the|my) )*(?:(?:others?|next|following|new|coming) ?)+(?:{_THING})?)"
_TAKES = _says(
    rf"(?:(?:can|could) you |you (?:can|may|should) |(?:i|we)(?: would)? )?(?:please )?"
    rf"(?:{_TAKING}|(?:add|put) (?:{_THESE}|it|them) (?:to|in|into|among) {_LIST}"
    rf"|compare {_OTHERS} (?:with|to|against) (?:{_THESE}|it|them))"
)
_TAKES_BACK = _says(
    rf"(?:{_THESE}|{_IT})(?:{_VERB}(?: {_SURELY})?(?: no longer| not| never| no)| ?(?:is|are|was|were)nt){_HOW}"
    rf" (?:{_GOOD}|{_FINE}|references?)(?: {_THING}){{0,2}}(?: (?:after all|any ?more|anyway|actually|at all))*",
    rf"(?:{_THESE}|it){_VERB}(?: {_SURELY})?(?: an?)? (?:bad|defective|damaged|broken)(?: {_THING})? after all",
    rf"(?:do not|dont|never|no longer) {_TAKING}{_ANY_MORE}",
    rf"(?:forget|remove|take|drop|delete|discard) (?:{_THESE}|it) (?:from|out of) {_LIST}",
)
_SAMPLES = r"(?:references?(?: (?:image|photo|picture|part|sample)s?)?|(?:good |normal )?(?:examples?|samples?))"
_EXAMPLES = rf"(?:(?:good|normal|golden)(?: {_THING}){{1,2}}|{_SAMPLES}|memory bank)"
_ALL = r"(?: (?:all|the|my|our|of|these|those|your|every|any))*"
_FORGETS = _says(
    r"(?:(?:can|could) you )?(?:please )?"
    r"(?:forget|drop|remove|clear|discard|delete|reset|empty|unlearn|get rid of|throw away"
    rf"|stop using|(?:do not|dont|no longer) use)(?: about)?{_ALL} {_EXAMPLES}{_ANY_MORE}",
    rf"ignore{_ALL} {_SAMPLES}|without{_ALL} (?:{_SAMPLES}|memory bank)",  # "ignore the good parts" is of a mask
    r"(?:(?:stop|end)(?: the)? compari(?:ng|son)|no more compari(?:ng|sons?)|(?:do not|dont|no longer) compare)"
    rf"(?: (?:it|them|this))?(?: (?:with|to|against){_ALL} (?:{_EXAMPLES}|them|anything))?{_ANY_MORE}",
    r"(?:judge (?:it|this|the image|(?:each|every) (?:image|one|part)) (?:by itself|on its own|alone)(?: again)?)",
    rf"(?:judge|look at|see) (?:it|this|the image) (?:by itself|on its own|without (?:the |my )?{_EXAMPLES})",
)
_PRAISE = r"(?:good|perfect|fine|ok|okay)"
_PRAISES = re.compile(  # the answer, not the part
    rf"this is (?:(?:very|really) {_PRAISE}|{_PRAISE}[ ,]+thank(?:s| you))|thank(?:s| you)[ ,]+this is {_PRAISE}"
)
_ADDS_NOTHING = re.compile(rf"{_BEFORE}(?:good|perfect|{_REMEMBER})?{_AFTER}")  # beside a judgement: "Thank you."

# --- in Chinese ---

_ONE_OF = r"(?:一个|一张|一件|个|张)?"
_THING_ZH = r"(?:零件|产品|工件|部件|样品|样本|物体|图像|图片|照片|图|表面|板|螺母|螺丝|片子|切片|影像|扫描|组织|皮肤)?"
_THIS_ZH = (
    rf"(?:(?:这|那|该|此|以上|它)们?(?:都|[一两二三四五几]?(?:个|张|件|块|片|幅|些))?{_THING_ZH}|[两都]{_THING_ZH})都?"
)
_GOOD_ZH = (
    rf"(?:良品|合格(?:品|的|件)?|好(?:的|品|件){_THING_ZH}|(?:正常|健康|完好)的?(?:品|件|{_THING_ZH})"
    rf"|(?:没有|无)(?:缺陷|异常)的?{_THING_ZH}|标准[品件]|(?:参考|标准)(?:图像?|图片|样[本品]))"
)
_REMEMBER_ZH = r"(?:,?请?(?:记住|记下)(?:它|这个|这张)?)?"
_CHINESE: dict[Judgement, re.Pattern[str]] = {
    "forget": re.compile(
        r"(?:请)?(?:(?:忘记|忘掉|忘了|清除|清空|删除|去掉|不要再?用|不再用|别再?用)(?:所有|全部|这些)?的?(?:良品|合格品|正常|参考)"
        r"(?:样本|样品|图像?|图片|照片|示例)?|(?:停止|不要再?|不用再?|不再|别再?)(?:与|和|跟)?(?:这些)?"
        r"(?:良品|合格品|参考图?|样本)?(?:进行)?(?:比较|对比)了?)"
    ),
    "bad": re.compile(
        rf"(?:不,)?{_THIS_ZH}(?:其实|已经)?(?:(?:不是|并非|不再是|不算){_ONE_OF}{_GOOD_ZH}|不(?:正常|合格|好))"
        rf"|(?:请)?(?:不要|别)(?:再)?(?:把|将|用){_THIS_ZH}(?:当作|作为|当成|视为){_ONE_OF}(?:{_GOOD_ZH}|参考)"
    ),
    "good": re.compile(
        rf"(?:不,|请?记住[,:]?)?{_THIS_ZH}(?:也|都)?(?:(?:是|为|属于){_ONE_OF}{_GOOD_ZH}|很?(?:正常|合格|完好)"
        rf"|(?:没有?|无)(?:任何)?(?:缺陷|问题|异常)){_REMEMBER_ZH}"
        rf"|(?:请)?(?:把|将|用|以)?{_THIS_ZH}(?:当作|作为|当成|视为|记为|为){_ONE_OF}(?:{_GOOD_ZH}|正常|参考)"
        r"|(?:良品|合格品|正常样本|参考图像?)"
    ),
}
_SENTENCES = re.compile(r"(?<=[!?;。；！？\n])\s*|(?<=\.)(?!\d)\s*")
_OF_NO_USE = re.compile(r"[\"“”„«»()\[\]*_‐–—-]")


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


@lru_cache(maxsize=1024)  # a page reads all of a talk at every drawing
def read_judgement(text: str) -> Said:
    """Return what a user's words say of good examples; a question ("is this good?") says nothing, nor does an if."""
    judgement: Judgement | None = None
    rest: list[str] = []
    if len(text) > MOST_READ:
        return Said(None, text.strip())
    for sentence in _SENTENCES.split(text):
        found = _judged(sentence)
        judgement = found or judgement
        if found is None and not _ADDS_NOTHING.fullmatch(_plain(sentence)):
            rest.append(sentence.strip())
    return Said(judgement, " ".join(rest) if judgement else text.strip())


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


def evenly(examples: Sequence[T]) -> Sequence[T]:
    """Return at most MOST_EXAMPLES of good examples, evenly taken."""
    if len(examples) <= MOST_EXAMPLES:
        return examples
    return [examples[i * len(examples) // MOST_EXAMPLES] for i in range(MOST_EXAMPLES)]


def _judged(sentence: str) -> Judgement | None:
    if len(sentence) > MOST_CHARS or sentence.rstrip().endswith(("?", "？")):
        return None
    text = _plain(sentence)
    if not text or _PRAISES.fullmatch(text):
        return None
    if _FORGETS.fullmatch(text):
        return "forget"
    if _TAKES_BACK.fullmatch(text):
        return "bad"
    if _STATES.fullmatch(text) or _TAKES.fullmatch(text):
        return "good"
    return next((judgement for judgement, words in _CHINESE.items() if words.fullmatch(text)), None)


def _plain(sentence: str) -> str:
    """Return a sentence as the patterns here read it: in lower case, without quotes, hyphens and marks at its ends."""
    text = unicodedata.normalize("NFKC", respelled(sentence)).casefold().replace("’", "").replace("'", "")
    return " ".join(_OF_NO_USE.sub(" ", text).split()).strip(" .!,;:。；！，")

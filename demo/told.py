"""What the page answers by itself: what its controls do ("zoom in", "as JSON"), and a summary of all images.

No engine can: the bundled model answered them with whatever it saw, and it knows of one image at a time.
"""

from __future__ import annotations

import re
from dataclasses import replace

from agvas_core.asking import singles_out
from agvas_core.good_parts import read_judgement
from demo import compare, pictures
from demo.i18n import say
from demo.replies import Reply
from demo.session import Session

_POLITE = r"(?:please |now |ok |can you |could you |would you |i want to |let us |lets )*"
_IT = r"(?:(?:the|this|that|a|an|my|your|it) ?)*"
_UNDO = rf"(?:undo|revert|never ?mind|take {_IT}back)(?: {_IT}(?:last )?(?:one|step|question|reply|answer)?)?|撤销.*"
_CONTROLS = {
    "sliders": r"(?:(?:lower|raise|reduce|increase|decrease|set|change|move|use|put)\b.*"
    r"\b(?:threshold|sensitivity|alpha)\b.*|(?:be )?(?:more|less) sensitive)"
    r"|.*(?:(?:降低|提高|调整|改).*阈值|阈值.*(?:降低|提高|调整|调低|调高|改)).*",
    "zoom": rf"(?:zoom|enlarge|magnify)\b.*|(?:make|show) {_IT}(?:picture|image|photo)? ?(?:bigger|larger)|放大.*",
    "views": rf"(?:show|give|display|see|view)(?: me)? {_IT}(?:heat ?map|anomaly map|original(?: \w+)?)"
    rf"|(?:hide|clear|remove|turn off|switch off) {_IT}(?:mask|overlay|outlines?|marks?|markings?)|.*热力图.*",
    "files": r"(?:save|download|export)\b.*|.*\b(?:as|in|to) (?:an? )?(?:json|csv|xml|coco|excel)\b.*"
    r"|.*(?:下载|导出).*",
    "restart": rf"(?:start (?:over|again|from scratch|{_IT}new chat)|new chat|forget everything"
    rf"|(?:reset|clear) {_IT}(?:everything|chat|conversation|history))|新对话|重新开始",
}
_THRESHOLD = re.compile(r"\bthreshold\b|\b(?:more|less) sensitive\b|阈值")
_LOWER = re.compile(r"\b(?:lower|reduce|decrease|smaller|more sensitive|down)\b|降低|调低|减小")
_HIGHER = re.compile(r"\b(?:raise|increase|higher|larger|less sensitive|up)\b|提高|调高|增大")
_VALUE = re.compile(r"(?P<by>\bby\s+)?(?P<value>\d*[.,]\d+|\d+)\s*(?P<percent>%|per ?cent)?")
_STEP, _LEAST, _MOST = 0.1, 0.05, 0.95  # of a threshold that is to be lower or higher, by no number
_MANY = r"(?:\d+|two|three|four|five|six|seven|eight|nine|ten|twelve)"
_ALL_IMAGES = re.compile(
    rf"\b(?:all|each|every|which|how many)(?: of)?(?: (?:the|these|those|my|our))?(?: {_MANY})?"
    rf" (?:images?|photos?|pictures?)\b|\bwhich of (?:the|these|those) {_MANY}\b"
    r"|(?:所有|全部|每张|哪些|哪几张).*(?:图|照片)"
)
_SUMS_UP = re.compile(
    r"\b(?:summar\w+|overview|recap|list|table|which|how many|compare|rank|worst|best|report|have|has|are|is)\b"
    r"|总结|汇总|哪"
)


def is_undo(question: str) -> bool:
    """Return whether words take the last question back."""
    return _is(_UNDO, question)


def answer(session: Session, question: str) -> list[str]:
    """Return the sentences that the page answers, once a mask was shown; none for what an engine is asked."""
    if not any(reply.facts for reply in session.replies()) or read_judgement(question).judgement:
        return []  # "save this as a good example" is no download
    for control, words in _CONTROLS.items():
        if _is(words, question):
            moved = _moved(session, question) if control == "sliders" else None
            return [moved or say(f"told_{control}", session.lang)]
    text = question.casefold()
    return _lines(session) if len(session.seen) > 2 and _ALL_IMAGES.search(text) and _SUMS_UP.search(text) else []


def _moved(session: Session, question: str) -> str | None:
    """Move the selected reply's mask to the threshold that words name ("lower it to 0.3", "more sensitive").

    Returns what it shows then, None where the words name no threshold or there is no mask to move.
    """
    text, reply = question.casefold(), session.selected
    if reply is None or reply.prediction is None or not _THRESHOLD.search(text):
        return None
    now, named, lower = reply.prediction.threshold, _VALUE.search(text), _LOWER.search(text)
    if named is None:
        if not lower and not _HIGHER.search(text):
            return None
        wanted = min(_MOST, max(_LEAST, now - _STEP if lower else now + _STEP))
    else:
        wanted = float(named["value"].replace(",", ".")) / (100 if named["percent"] else 1)
        if named["by"]:
            wanted = now - wanted if lower else now + wanted
        if not 0 <= wanted <= 1:
            return None
    threshold = round(wanted, 2)
    session.knobs = replace(session.knobs, threshold=threshold)
    session.moved_by_words += 1
    pictures.adjust(session, threshold=threshold)
    said = compare.verdict_of(session, reply, session.lang)
    return say("told_moved", session.lang, value=f"{threshold:.2f}", said=said)


def _is(words: str, question: str) -> bool:
    text = " ".join(question.casefold().replace("’", "").replace("'", "").split())
    return bool(re.fullmatch(rf"{_POLITE}(?:{words})\W*(?:please\W*)?", text))


def _lines(session: Session) -> list[str]:
    """Return a sentence for each image: what its newest whole mask shows, or that there is none yet."""
    newest: dict[str | None, Reply] = {}
    for reply in session.replies():
        narrowed = singles_out(reply.request.instruction) or reply.facts.get("verdict") == "other"
        if reply.facts and reply.card.trained and not reply.card.heat_map_only and not narrowed:
            newest[reply.request.image_id] = reply
    return [
        compare.verdict_of(session, newest[image_id], session.lang)
        if image_id in newest
        else say("told_unseen", session.lang, n=n, name=name)
        for n, (image_id, name) in enumerate(session.seen.items(), 1)
    ]

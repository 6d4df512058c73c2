"""A user's sentence sets the hybrid prompts: "look for cracks on the tile, at most three, smaller than 5 % of it"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from agvas_core.kinds import kinds_in
from agvas_core.prompts import sanitize
from agvas_core.regions import PLACES
from agvas_core.saa.clauses import clauses
from agvas_core.saa.expert_words import default_words, words_key
from agvas_core.saa.places import PLACE_WORD, SIDE_WORD, others, places_in
from agvas_core.saa.prompts import (
    CLASS_AGNOSTIC,
    ConfidencePrompt,
    Exclusion,
    HybridPrompts,
    LanguagePrompts,
    PropertyPrompts,
    prompts_for,
)
from agvas_core.saa.sizes import IMAGE, Sizes, in_percents, sizes_in, without_sizes

_LONGEST_NAME = 40  # characters
_NUMBERS = {
    "one": 1, "a single": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "twelve": 12, "twenty": 20,
}  # fmt: skip
_NUMBER = r"(?P<n>\d{1,3}|" + "|".join(_NUMBERS) + r")"
_AT_MOST = re.compile(
    r"\b(?:at most|no more than|not more than|up to|a maximum of|maximum|max\.?|only the best|top)"
    rf"\s+{_NUMBER}\b"
    r"(?!\s*(?:%|per ?cent)|[.,]\d)"
)
_OBJECTS = re.compile(
    rf"\b(?:there are|with|shows?|contains?|has|of|all)\s+(?:the\s+)?{_NUMBER}\s+(?P<what>[a-z]+(?: [a-z]+)?s)\b"
)
_ANYTHING = re.compile(
    r"^(?:anomal\w*|defects?|flaws?|faults?|damages?|problems?|issues?|blemish\w*|imperfections?|irregularit\w*"
    r"|abnormal\w*|anything(?: unusual| wrong| odd| strange)?|everything|all|it|them|that|those|these|ones?|things?"
    r"|regions?|areas?|findings?|candidates?)$"
)
_COUNTABLE = r"(?:part|object|piece|item|sample|specimen|component|product|unit)"
_LOOK = re.compile(
    r"\b(?:look(?:ing)? for|watch for"
    r"|(?:search|check|inspect|examine|scan)(?:ing)?(?: (?:it|(?:the|this|these) (?P<on>[a-z -]+?)))? for"
    r"|find|segment|mark"
    r"|detect|highlight|outline|locate|show(?: me)?|are there|is there|any"
    r"|also(?: (?:(?:look(?:ing)?|search|check) for|find|segment|mark|detect|highlight|outline|show))?)\s+(?P<what>.+)"
)
_ANYWHERE = re.compile(r"\b(?:anywhere|everywhere)\b")
_ON_OBJECT = re.compile(rf"\b(?:inside|within|only on) the (?!{IMAGE}|{PLACE_WORD})[a-z]+")
_OFF_OBJECT = re.compile(rf"\boutside(?: of)? the (?!{IMAGE}|{PLACE_WORD})[a-z]+")
_MORE = re.compile(r"\balso\b|\bas well\b|\bin addition\b")
_STOP = re.compile(
    r"[.;:!?]|,?\s*\b(?:on|in|at|inside|outside|within|of|from|that|which|smaller|larger|bigger|less|below|under|above|over"
    r"|along|near|around|as well"
    r"|at most|at least|up to|no more|not|no larger|no bigger|no smaller|maximum|max|top(?= \d)|but"
    r"|and (?:explain|describe|segment|mark|tell)|please|with|there)\b"
)
_ON = re.compile(
    r"\b(?P<how>on|in|inside|within|of|from)\s+(?:the|this|these|those|a|an|my|our)\s+"
    r"(?P<what>[a-z][a-z-]*(?: [a-z][a-z-]*){0,2})"
)
_NOT_OBJECT = re.compile(
    rf"\b(?:{IMAGE}s?|left|right|top|bottom|upper|lower|cent(?:er|re)|middle|side|corner|edge|half|surface|background"
    rf"|{_COUNTABLE}s?|whole|entire|area|size|it)\b"
)
_TAIL = re.compile(
    r"\s+(?:and|or|is|are|at|on|in|with|that|which|smaller|larger|please|but|for|under|below|above|only|of|up|no|not)\b.*$"
)
_ARTICLE = re.compile(
    r"^(?:(?:the|a|an|any|all|every|some|only|just|possible|small|visible|also|either|other|and|or|kinds? of)\s+)+"
)
_PLACED = re.compile(rf"^(?:{PLACE_WORD}[ -])+")
_PLACED_ONE = re.compile(rf"^(?:{PLACE_WORD}[ -]?)+(?: ?(?:{SIDE_WORD}|one|defect|flaw))?$")
_LEFT_OUT_TAIL = re.compile(r" out$")
_NO_NAMES = re.compile(r"(?:please |then |also |only )*(?:tell|explain|describe)\b")  # "and tell me if any is deep"
_FRESH = re.compile(r"\b(?:start over|reset|forget (?:that|it|the rules|all rules)|no rules|default rules)\b")
# what people write in Chinese, as the words that the rules are read from
_CHINESE: tuple[tuple[str, str], ...] = (
    (r"最多\s*([0-9一二三四五六七八九十]+)\s*[个处条]?", r", at most \1 "),
    (r"(?:小于|不超过|低于)\s*(\d+(?:\.\d+)?)\s*%", r", smaller than \1 % "),
    (r"(?:大于|超过|高于)\s*(\d+(?:\.\d+)?)\s*%", r", larger than \1 % "),
    (r"(?:寻找|查找|找出|找|检测|标出|分割)", " look for "), (r"忽略|不要", ", ignore "),
    (r"划痕", " scratches "), (r"裂[纹缝]", " cracks "), (r"气孔|孔洞|孔", " holes "), (r"污渍|污点", " stains "),
    (r"凹坑|凹痕", " dents "), (r"异物|杂质", " contamination "), (r"锈", " rust "), (r"缺陷|异常|瑕疵", " defects "),
    (r"[和、与及]", " and "), (r"[，。；]", ", "),
)  # fmt: skip
_CHINESE_DIGITS = {
    "一": "1",
    "二": "2",
    "三": "3",
    "四": "4",
    "五": "5",
    "六": "6",
    "七": "7",
    "八": "8",
    "九": "9",
    "十": "10",
}


def without_questions(text: str) -> str:
    """Return a text without its sentences that only ask: "is there anything on the left?" sets no rule for later."""
    return "".join(part for part in re.findall(r"[^.?!。？！\n]*[.?!。？！\n]?", text) if not _only_asks(part))


def _only_asks(sentence: str) -> bool:
    said = sentence.strip().casefold()
    polite = re.match(r"(?:(?:ok|okay|hey|hi|now|and|then|please)\W+)*(?:can|could|would|will) (?:you|we)\b", said)
    return said.endswith(("?", "\N{FULLWIDTH QUESTION MARK}")) and not polite


def read_sentence(text: str, prompts: HybridPrompts) -> HybridPrompts:
    """Return the prompts with what a sentence sets; what it does not speak of stays as it was.

    It may name flaws to look for or to ignore, the object, how many candidates are kept, how large they may be
    (of the object, or "of the image"), how many objects there are, and where to look. "Start over" forgets all rules.

    Args:
        text: the user's words, English (and the commonest Chinese ones).
        prompts: what is in force.
    """
    words = _plain(text)
    if _FRESH.search(words):
        prompts = prompts_for()
    prompts = _read_count(without_sizes(words), prompts)
    words = _AT_MOST.sub(" ; " if _LOOK.search(words) else " ; find ", words)  # "at most three cracks"
    said = clauses(words)
    wanted = [clause.text for clause in said if clause.says == "want"]
    prompts = _read_wanted_regions(" ; ".join(wanted), prompts)
    for clause in said:
        if clause.says == "leave out":
            prompts = _leave_out(clause.text, prompts)
    return replace(prompts, language=_read_language(wanted, prompts.language))


def _plain(text: str) -> str:
    words = sanitize(text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    for pattern, english in _CHINESE:
        words = re.sub(pattern, english, words)
    words = re.sub("[一二三四五六七八九十]", lambda m: _CHINESE_DIGITS[m[0]], words)
    return in_percents(re.sub(r"\s+", " ", words).strip())


def _read_count(words: str, prompts: HybridPrompts) -> HybridPrompts:
    most = _AT_MOST.search(words)
    if most is not None and _number(most["n"]) >= 1:
        prompts = replace(prompts, confidence=ConfidencePrompt(_number(most["n"])))
    name = prompts.language.object_name
    for match in _OBJECTS.finditer(_AT_MOST.sub(" ; ", words)):
        what = match["what"]
        is_object = re.search(rf"\b{_COUNTABLE}s$", what) or words_key(what) or (name and what.startswith(name))
        if is_object and _number(match["n"]) >= 1:
            rules = prompts.property or PropertyPrompts()
            prompts = replace(prompts, property=replace(rules, object_count=_number(match["n"])))
    return prompts


def _read_wanted_regions(wanted: str, prompts: HybridPrompts) -> HybridPrompts:
    """Return the prompts with the sizes and places that are asked for."""
    before = prompts.property or PropertyPrompts()
    rules = _bounded(before, sizes_in(wanted))
    places = places_in(wanted)
    if places or _ANYWHERE.search(wanted):
        rules = replace(rules, places=places)
    if _ON_OBJECT.search(wanted):
        rules = replace(rules, min_inside=0.5)
    return prompts if rules == before else replace(prompts, property=rules)


def _leave_out(text: str, prompts: HybridPrompts) -> HybridPrompts:
    """Return the prompts without what a clause does not want: sizes, places, words, or some of them together."""
    rules = prompts.property or PropertyPrompts()
    names, sizes, gone = _names(without_sizes(text)), sizes_in(text), places_in(text, bare=True)
    if _OFF_OBJECT.search(text):
        return replace(prompts, property=replace(rules, min_inside=0.5))
    together = bool(names and sizes) or bool(sizes and gone) or sizes.is_range
    if together or (gone and any(kinds_in(name) for name in names)):
        new = _exclusions(tuple(names), gone, sizes)
        return replace(prompts, property=replace(rules, exclusions=tuple(dict.fromkeys((*rules.exclusions, *new)))))
    if sizes:
        flipped = Sizes(below=sizes.above, above=sizes.below, area_of=sizes.area_of)
        return replace(prompts, property=_bounded(rules, flipped))
    if gone:
        left = others(gone, rules.places or PLACES) or others(gone)
        prompts = replace(prompts, property=replace(rules, places=left))
    excluded = tuple(dict.fromkeys((*prompts.language.excluded, *names)))
    return replace(prompts, language=replace(prompts.language, excluded=excluded))


def _bounded(rules: PropertyPrompts, sizes: Sizes) -> PropertyPrompts:
    if not sizes:
        return rules
    rules = replace(rules, area_of=sizes.area_of or "object")
    rules = rules if sizes.below is None else replace(rules, max_area=sizes.below)
    return rules if sizes.above is None else replace(rules, min_area=sizes.above)


def _exclusions(names: tuple[str, ...], places: tuple[str, ...], sizes: Sizes) -> list[Exclusion]:
    """Return one exclusion, or two for what is too small or too large."""
    whole = Exclusion(names, places, sizes.above or 0.0, sizes.below, sizes.area_of or "object")
    if sizes.is_range or sizes.above is None or sizes.below is None:
        return [whole]
    return [replace(whole, smaller_than=None), replace(whole, larger_than=0.0)]


def _read_language(wanted: Sequence[str], language: LanguagePrompts) -> LanguagePrompts:
    looks = [look for text in wanted if not _NO_NAMES.match(text) and (look := _LOOK.search(without_sizes(text)))]
    name = _object_name(without_sizes(" ; ".join(wanted)), next((look["on"] for look in looks if look["on"]), ""))
    if name:
        if language.class_specific == default_words(language.object_name):
            language = replace(language, class_specific=default_words(name))
        language = replace(language, object_name=name)
    asked = [w for look in looks for w in _listed(look["what"])]
    specific = tuple(w for w in asked if not _ANYTHING.match(w))
    if specific:
        more = language.class_specific if _MORE.search(" ; ".join(wanted)) and not language.class_agnostic else ()
        return replace(language, class_agnostic=(), class_specific=tuple(dict.fromkeys((*more, *specific))))
    if asked:  # "look for defects": any flaw again
        return replace(language, class_agnostic=CLASS_AGNOSTIC, class_specific=default_words(language.object_name))
    return language


def _names(left_out: str) -> list[str]:
    """Return what is not to be reported by its name: "the stain out" is a stain, "the left scratch" a scratch."""
    listed = _listed(_LEFT_OUT_TAIL.sub("", left_out))
    named = (rest if kinds_in(rest := _PLACED.sub("", item)) else item for item in listed)
    return [w for w in named if not _ANYTHING.match(w)]


def _object_name(words: str, checked: str) -> str:
    """Return what is inspected: "check the tile for", or the first "on the tile"; "" when nothing is named."""
    for name in (checked, *(_TAIL.sub("", match["what"]) for match in _ON.finditer(words))):
        if name and not _NOT_OBJECT.search(name):
            return _singular(name)
    return ""


def _listed(text: str) -> list[str]:
    """Return "the blow holes and any cracks on ..." as blow hole, crack."""
    if _ARTICLE.sub("", text).startswith(("where", "what", "how", "why", "if", "whether", "me")):
        return []
    stop = _STOP.search(text)
    head = text[: stop.start()] if stop else text
    head = head.encode("ascii", "ignore").decode()  # what is left of other scripts
    items = (_ARTICLE.sub("", part.strip(" '\"()") + " ").strip() for part in re.split(r",|/|&|\band\b|\bor\b", head))
    names = (_singular(item) for item in items if 1 < len(item) <= _LONGEST_NAME and not _PLACED_ONE.match(item))
    return list(dict.fromkeys(names))


def _singular(phrase: str) -> str:
    head, _, last = phrase.strip().rpartition(" ")
    if last.endswith("ies") and len(last) > 4:
        last = last[:-3] + "y"
    elif last.endswith(("ches", "shes", "xes", "sses")):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith(("ss", "us", "is")):
        last = last[:-1]
    return f"{head} {last}".strip()


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBERS[word]

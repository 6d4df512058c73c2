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
from agvas_core.saa.named_words import COUNTABLE, asked_names, means_any, names_in, object_name, says_more
from agvas_core.saa.places import PLACE_WORD, others, places_in
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
_ANYWHERE = re.compile(r"\b(?:anywhere|everywhere)\b")
_ON_OBJECT = re.compile(rf"\b(?:inside|within|only on) the (?!{IMAGE}|{PLACE_WORD})[a-z]+")
_OFF_OBJECT = re.compile(rf"\boutside(?: of)? the (?!{IMAGE}|{PLACE_WORD})[a-z]+")
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
    words = _AT_MOST.sub(" ; find ", words)  # "at most three cracks"
    said = clauses(words)
    wanted = [clause.text for clause in said if clause.says == "want"]
    prompts = _read_wanted_regions(" ; ".join(wanted), prompts)
    added = [name for text in wanted if says_more(text) for name in names_in(text)]  # "the stain too"
    prompts = _no_longer_ignored([*asked_names(wanted), *added], prompts)
    for clause in said:
        if clause.says == "leave out":
            prompts = _leave_out(clause.text, prompts)
        elif clause.says == "take back":
            prompts = _take_back(clause.text, prompts)
    return replace(prompts, language=_read_language(wanted, prompts.language))


def _plain(text: str) -> str:
    words = sanitize(text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    for pattern, english in _CHINESE:
        words = re.sub(pattern, english, words)
    words = re.sub("[一二三四五六七八九十]", lambda m: _CHINESE_DIGITS[m[0]], words)
    words = re.sub(r"\bas well as\b", "and", words)
    return in_percents(re.sub(r"\s+", " ", words).strip())


def _read_count(words: str, prompts: HybridPrompts) -> HybridPrompts:
    most = _AT_MOST.search(words)
    if most is not None and _number(most["n"]) >= 1:
        prompts = replace(prompts, confidence=ConfidencePrompt(_number(most["n"])))
    name = prompts.language.object_name
    for match in _OBJECTS.finditer(_AT_MOST.sub(" ; ", words)):
        what = match["what"]
        is_object = re.search(rf"\b{COUNTABLE}s$", what) or words_key(what) or (name and what.startswith(name))
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
    names, sizes, gone = names_in(without_sizes(text)), sizes_in(text), places_in(text, bare=True)
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


def _take_back(text: str, prompts: HybridPrompts) -> HybridPrompts:
    """Return the prompts with what a clause no longer wants to be left out: "do not ignore the stain"."""
    sizes, back = sizes_in(text), places_in(text, bare=True)
    rules = prompts.property or PropertyPrompts()
    if back and rules.places:
        rules = replace(rules, places=tuple(place for place in PLACES if place in {*rules.places, *back}))
        rules = replace(rules, places=()) if len(rules.places) == len(PLACES) else rules
    if sizes.below is not None:
        rules = replace(rules, min_area=PropertyPrompts().min_area)
    if sizes.above is not None:
        rules = replace(rules, max_area=PropertyPrompts().max_area)
    names = names_in(without_sizes(text))
    if not names and not sizes and not back:  # "do not ignore anything"
        rules = replace(rules, exclusions=())
        prompts = replace(prompts, language=replace(prompts.language, excluded=()))
    return _no_longer_ignored(names, prompts if rules == prompts.property else replace(prompts, property=rules))


def _no_longer_ignored(names: Sequence[str], prompts: HybridPrompts) -> HybridPrompts:
    """Return the prompts that ignore none of these, by their names or by the kinds that they mean."""
    kinds = {kind for name in names for kind in kinds_in(name)}

    def stays(word: str) -> bool:
        return word not in names and not kinds & kinds_in(word)

    excluded = tuple(filter(stays, prompts.language.excluded))
    prompts = replace(prompts, language=replace(prompts.language, excluded=excluded))
    rules = prompts.property
    if rules is None or not names:
        return prompts
    left = tuple(rule for rule in rules.exclusions if not rule.words or all(map(stays, rule.words)))
    return prompts if left == rules.exclusions else replace(prompts, property=replace(rules, exclusions=left))


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
    name = object_name(wanted)
    if name:
        if language.class_specific == default_words(language.object_name):
            language = replace(language, class_specific=default_words(name))
        language = replace(language, object_name=name)
    asked = asked_names(wanted)
    specific = tuple(w for w in asked if not means_any(w))
    adds = any(map(says_more, wanted))
    if specific and adds and len(specific) < len(asked):  # "all defects, the stain too"
        known = (*default_words(language.object_name), *specific)
        return replace(language, class_agnostic=CLASS_AGNOSTIC, class_specific=tuple(dict.fromkeys(known)))
    if specific:
        more = language.class_specific if adds and not language.class_agnostic else ()
        return replace(language, class_agnostic=(), class_specific=tuple(dict.fromkeys((*more, *specific))))
    if asked:  # "look for defects": any flaw again
        return replace(language, class_agnostic=CLASS_AGNOSTIC, class_specific=default_words(language.object_name))
    return language


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBERS[word]

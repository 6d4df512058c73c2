"""A user's sentence sets the hybrid prompts: "look for cracks on the tile, at most three, smaller than 5 % of it"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from agvas_core.kinds import kinds_in
from agvas_core.prompts import sanitize
from agvas_core.regions import PLACES
from agvas_core.saa.chinese import in_english
from agvas_core.saa.clauses import clauses, states
from agvas_core.saa.counts import most_in, objects_in, ranked_in, without_most, without_ranked
from agvas_core.saa.expert_words import default_words, words_key
from agvas_core.saa.named_words import (
    COUNTABLE,
    asked_names,
    means_any,
    names_in,
    object_name,
    says_more,
    speaks_of_all,
)
from agvas_core.saa.places import (
    PLACE_WORD,
    names_rim,
    others,
    places_in,
    together,
    with_halves,
    without_rim,
)
from agvas_core.saa.prompts import (
    CLASS_AGNOSTIC,
    Exclusion,
    HybridPrompts,
    LanguagePrompts,
    PropertyPrompts,
    Reach,
    prompts_for,
)
from agvas_core.saa.sizes import (
    IMAGE,
    PER_CENT,
    Sizes,
    in_percents,
    reach_in,
    size_left,
    sizes_in,
    with_bounds,
    without_sizes,
)

_ANYWHERE = re.compile(r"\b(?:anywhere|everywhere)\b")
_ON_OBJECT = re.compile(rf"\b(?:inside|within|only on) the (?!{IMAGE}|{PLACE_WORD})[a-z]+")
_OFF_OBJECT = re.compile(rf"\boutside(?: of)? the (?!{IMAGE}|{PLACE_WORD})[a-z]+")
_SHARE = re.compile(rf"\d\s*{PER_CENT}")
_ONLY = re.compile(r"\b(?:only|just)\b")
_FRESH = re.compile(r"\b(?:start over|reset|forget (?:that|it|the rules|all rules)|no rules|default rules)\b")


def without_questions(text: str) -> str:
    """Return a text without its sentences that only ask: "is there anything on the left?" sets no rule for later."""
    return "".join(part for part in re.findall(r"[^.?!。？！\n]*[.?!。？！\n]?", text) if not _only_asks(part))


def _only_asks(sentence: str) -> bool:
    said = sentence.strip().casefold()
    polite = re.match(r"(?:(?:ok|okay|hey|hi|now|and|then|please)\W+)*(?:can|could|would|will) (?:you|we)\b", said)
    return said.endswith(("?", "\N{FULLWIDTH QUESTION MARK}")) and not polite


def has_length(text: str, size_hw: tuple[int, int] | None = None, mm_per_px: float | None = None) -> bool:
    """Return whether a text that is no question names a length or an area that sets no rule: "2 mm" without a scale."""
    return size_left(_plain(without_questions(text), size_hw, mm_per_px))


def wants_nothing_known(text: str) -> bool:
    """Return whether a text says something, asks nothing, and names neither a flaw to look for nor any rule at all."""
    words = _plain(without_questions(text))
    said = clauses(words)
    wanted = [clause.text for clause in said if clause.says == "want"]
    known = _FRESH.search(words) or asked_names(wanted) or any(states(c.text) or speaks_of_all(c.text) for c in said)
    return bool(words) and not known and read_sentence(words, prompts_for()) == prompts_for()


def read_sentence(
    text: str, prompts: HybridPrompts, size_hw: tuple[int, int] | None = None, mm_per_px: float | None = None
) -> HybridPrompts:
    """Return the prompts with what a sentence sets; what it does not speak of stays as it was.

    It may name flaws to look for or to ignore, the object, how many candidates are kept, how large they may be
    (of the object, or "of the image"), how many objects there are, and where to look. "Start over" forgets all rules.

    Args:
        text: the user's words, English (and the commonest Chinese ones).
        prompts: what is in force.
        size_hw: the image's, without which areas and lengths in px set no rule.
        mm_per_px: its scale, without which those in mm² and mm set none.
    """
    words = _plain(text, size_hw, mm_per_px)
    if _FRESH.search(words):
        prompts = prompts_for()
    said = [c for c in clauses(without_most(words)) if c.says == "want" or not _only_of_a_size(c.text)]
    wanted = [clause.text for clause in said if clause.says == "want"]
    wanted = [with_bounds(text) if _ONLY.search(text) else text for text in wanted]
    kept = most_in(words) or ranked_in(" ; ".join(wanted))
    prompts = prompts if kept is None else replace(prompts, confidence=kept)
    prompts = _read_objects(without_most(without_sizes(words)), prompts)
    wanted = [text for clause in wanted for text in without_ranked(clause).split(";")]
    prompts = _read_wanted_regions(" ; ".join(text for text in wanted if not states(text)), prompts)
    added = [name for text in wanted if says_more(text) for name in names_in(text)]  # "the stain too"
    prompts = _no_longer_ignored([*asked_names(wanted), *added], prompts)
    for clause in said:
        if clause.says == "leave out":
            for text in _each(clause.text):
                prompts = _leave_out(with_bounds(text), prompts)
        elif clause.says == "take back":
            prompts = _take_back(clause.text, prompts)
    return replace(prompts, language=_read_language(wanted, prompts.language))


def _only_of_a_size(text: str) -> bool:
    """Whether a clause names a size that is no bound; without it, it would speak of all sizes."""
    return size_left(text) or bool(_SHARE.search(without_sizes(text)))


def _plain(text: str, size_hw: tuple[int, int] | None = None, mm_per_px: float | None = None) -> str:
    words = sanitize(text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    words = re.sub(r"\bas well as\b", "and", in_english(words))
    return in_percents(with_halves(re.sub(r"\s+", " ", words).strip()), size_hw, mm_per_px)


def _read_objects(words: str, prompts: HybridPrompts) -> HybridPrompts:
    name = prompts.language.object_name
    for number, what in objects_in(words):
        is_object = re.search(rf"\b{COUNTABLE}s$", what) or words_key(what) or (name and what.startswith(name))
        if is_object and number >= 1:
            rules = prompts.property or PropertyPrompts()
            prompts = replace(prompts, property=replace(rules, object_count=number))
    return prompts


def _read_wanted_regions(wanted: str, prompts: HybridPrompts) -> HybridPrompts:
    """Return the prompts with the sizes and places that are asked for."""
    before = prompts.property or PropertyPrompts()
    rules = _bounded(before, sizes_in(wanted))
    rules = replace(rules, reach=reach_in(wanted) or rules.reach)
    places = places_in(wanted)
    if places or _ANYWHERE.search(wanted):
        rules = replace(rules, places=places)
    if any(names_rim(text.strip(), bare=bool(_ONLY.search(text))) for text in wanted.split(";")):
        rules = replace(rules, rim="only")
    elif _ANYWHERE.search(wanted):
        rules = replace(rules, rim="")
    if _ON_OBJECT.search(wanted):
        rules = replace(rules, min_inside=0.5)
    return prompts if rules == before else replace(prompts, property=rules)


def _each(text: str) -> list[str]:
    """Return "the scratch on the left and the hole on the right" as two, what has one place or size as one."""
    parts = re.split(r",?\s+and\s+(?=the |any |all |[a-z]+ )", text)
    own = all(kinds_in(part) and any(map(bool, _where(part))) for part in parts)
    return parts if own else [text]


def _where(text: str) -> tuple[object, ...]:
    return places_in(text, bare=True), names_rim(text), sizes_in(text), reach_in(text)


def _leave_out(text: str, prompts: HybridPrompts) -> HybridPrompts:
    """Return the prompts without what a clause does not want: sizes, places, words, or some of them together."""
    rules = prompts.property or PropertyPrompts()
    at_rim = names_rim(text, bare=True)
    names, sizes, gone = names_in(without_rim(without_sizes(text))), sizes_in(text), places_in(text, bare=True)
    if _OFF_OBJECT.search(text):
        return replace(prompts, property=replace(rules, min_inside=0.5))
    reach = reach_in(text)
    left = others(gone, rules.places if {*rules.places} - {*gone} else PLACES)
    said = [bool(part) for part in (gone, at_rim, sizes, reach)]
    of_some = (names and (sizes or reach)) or (any(said) and any(map(kinds_in, names)))
    if of_some or sum(said) > 1 or sizes.is_range or (reach and reach.is_range) or (gone and not left):
        new = _exclusions(tuple(names), gone, sizes, at_rim, reach)
        return replace(prompts, property=replace(rules, exclusions=tuple(dict.fromkeys((*rules.exclusions, *new)))))
    if sizes:
        flipped = Sizes(below=sizes.above, above=sizes.below, area_of=sizes.area_of)
        return replace(prompts, property=_bounded(rules, flipped))
    if reach:
        rules = replace(rules, reach=replace(reach, above=reach.below or 0.0, below=reach.above or None))
        return replace(prompts, property=rules)
    if at_rim:
        return replace(prompts, property=replace(rules, rim="not"))
    if gone:
        prompts = replace(prompts, property=replace(rules, places=left))
    excluded = tuple(dict.fromkeys((*prompts.language.excluded, *names)))
    return replace(prompts, language=replace(prompts.language, excluded=excluded))


def _take_back(text: str, prompts: HybridPrompts) -> HybridPrompts:
    """Return the prompts with what a clause no longer wants to be left out: "do not ignore the stain"."""
    sizes, back = sizes_in(text), places_in(text, bare=True)
    rules = prompts.property or PropertyPrompts()
    if names_rim(text, bare=True):
        rules = replace(rules, rim="")
    if reach_in(text):
        rules = replace(rules, reach=None)
    if back and rules.places:
        rules = replace(rules, places=together(rules.places, back))
    if back:
        stay = tuple(rule for rule in rules.exclusions if rule.words or not rule.places or {*rule.places} - {*back})
        rules = replace(rules, exclusions=stay)
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


def _exclusions(
    names: tuple[str, ...], places: tuple[str, ...], sizes: Sizes, at_rim: bool, reach: Reach | None
) -> list[Exclusion]:
    """Return one exclusion, or two for what is too small or too large, too short or too long."""
    whole = Exclusion(names, places, sizes.above or 0.0, sizes.below, sizes.area_of or "object", at_rim, reach)
    if reach and reach.above and reach.below is not None and not reach.is_range:
        return [replace(whole, reach=replace(reach, below=None)), replace(whole, reach=replace(reach, above=0.0))]
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
    if len(specific) < len(asked) and (adds or not specific):  # "look for defects": any flaw again
        language = replace(language, class_agnostic=CLASS_AGNOSTIC, class_specific=default_words(language.object_name))
    if specific and adds:  # "all defects, the stain too"
        return replace(language, class_specific=tuple(dict.fromkeys((*language.class_specific, *specific))))
    return replace(language, class_agnostic=(), class_specific=tuple(dict.fromkeys(specific))) if specific else language

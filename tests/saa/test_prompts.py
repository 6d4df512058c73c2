"""Prompts as values: what is asked, expert words for every benchmark object, what a user's sentence sets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agvas_core.saa.expert_words import EXPERT_WORDS, default_words, kind_of, words_key
from agvas_core.saa.prompts import (
    ConfidencePrompt,
    HybridPrompts,
    LanguagePrompts,
    PropertyPrompts,
    SaliencyPrompt,
    naive_prompts,
    prompts_for,
    with_variant,
)
from agvas_core.saa.sentence import read_sentence
from agvas_core.synthesis.facts import DEFECT_KINDS

BENCHMARK_OBJECTS = """carpet grid leather tile wood bottle cable capsule hazelnut metal_nut pill screw toothbrush
transistor zipper candle capsules cashew chewinggum fryum macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 pipe_fryum ksdd2
mtd""".split()


def said(sentence: str, before: HybridPrompts | None = None) -> HybridPrompts:
    return read_sentence(sentence, before or prompts_for())


def test_defaults_are_the_papers():
    prompts = prompts_for()
    assert prompts.property.max_area == 0.9 and prompts.property.object_count == 1
    assert prompts.saliency.neighbours == 400 and prompts.confidence.top_k == 5
    assert prompts.property.min_iou == 0.0
    assert with_variant(prompts, "code").property.min_iou is None  # the public code has no location filter


def test_saa_is_one_word_and_no_rule():
    naive = naive_prompts()
    assert naive.language.queries == ("anomaly",)
    assert (naive.property, naive.saliency, naive.confidence) == (None, None, None)


def test_queries_name_the_object_and_come_once():
    language = LanguagePrompts("Tile", ("defect", "flaw on the {object}"), ("crack", "Defect"))
    assert language.queries == ("defect", "flaw on the tile", "crack")
    assert LanguagePrompts("", ("flaw on the {object}",)).queries == ("flaw on the object",)


@pytest.mark.parametrize("name", BENCHMARK_OBJECTS)
def test_every_benchmark_object_has_words(name):
    key = words_key(name)
    assert key and len(EXPERT_WORDS[key]) >= 3
    assert prompts_for(name).language.class_specific == EXPERT_WORDS[key]


def test_unknown_objects_have_sensible_words():
    assert words_key("flux capacitor") is None
    assert default_words("flux capacitor") == EXPERT_WORDS[""] and "scratch" in EXPERT_WORDS[""]
    assert words_key("ceramic tiles") == "tile"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("blow hole", "hole"),
        ("frayed fibre", "fiber"),
        ("anomaly", ""),
        ("oil mark", "stain"),
        ("bent pin", "deformation"),
    ],
)
def test_words_mean_kinds_that_the_bundled_model_knows(words, kind):
    assert kind_of(words) == kind
    assert kind == "" or kind in DEFECT_KINDS


@pytest.mark.parametrize(
    "make",
    [
        lambda: PropertyPrompts(max_area=1.2),
        lambda: PropertyPrompts(object_count=0),
        lambda: PropertyPrompts(min_iou=-0.1),
        lambda: PropertyPrompts(places=("nowhere",)),
        lambda: SaliencyPrompt(0),
        lambda: ConfidencePrompt(0),
        lambda: with_variant(prompts_for(), "book"),
    ],
)
def test_impossible_prompts_are_refused(make):
    with pytest.raises(ValueError):
        make()


# --- sentences -------------------------------------------------------------------------------------------------------


def test_the_example_of_the_page():
    prompts = said("look for blow holes and cracks on the tile, at most three, smaller than 5 % of the part")
    assert prompts.language == LanguagePrompts("tile", (), ("blow hole", "crack"))
    assert prompts.property == PropertyPrompts(max_area=0.05, area_of="object")
    assert prompts.confidence.top_k == 3


@pytest.mark.parametrize(
    ("sentence", "words", "excluded", "name"),
    [
        ("Find scratches or stains on this metal plate. Ignore dust.", ("scratch", "stain"), ("dust",), "metal plate"),
        ("check the magnetic tiles for frayed edges", ("frayed edge",), (), "magnetic tile"),
        ("at most three blow holes on the magnetic tile", ("blow hole",), (), "magnetic tile"),
        ("Is there any crack in the picture?", ("crack",), (), ""),
        ("look for missing pins on the pcb, but not dust", ("missing pin",), ("dust",), "pcb"),
        ("请找出裂纹和气孔", ("crack", "hole"), (), ""),
    ],
)  # fmt: skip
def test_words_to_look_for_and_to_ignore(sentence, words, excluded, name):
    language = said(sentence).language
    assert (language.class_agnostic, language.class_specific) == ((), words)
    assert (language.excluded, language.object_name) == (excluded, name)


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        ("smaller than 0.5% of the image", {"max_area": 0.005, "area_of": "image"}),
        ("larger than 1 percent of the part", {"min_area": 0.01}),
        ("no larger than 10 % of the board", {"max_area": 0.1}),
        ("no smaller than 2 %", {"min_area": 0.02}),
        ("at most 5 %", {"max_area": 0.05}),
        ("inside the part only", {"min_inside": 0.5}),
        ("cracks in the upper left", {"places": ("upper left",)}),
        ("look on the left side", {"places": ("upper left", "left", "lower left")}),
        ("segment only the bottom one", {"places": ("lower left", "bottom", "lower right")}),
        ("there are four capsules", {"object_count": 4}),
        ("最多三个，小于5%", {"max_area": 0.05}),
        ("smaller than 500 %", {}),
        ("what do you see?", {}),
    ],
)
def test_property_rules(sentence, changes):
    assert said(sentence).property == replace(PropertyPrompts(), **changes)


@pytest.mark.parametrize(
    ("sentence", "k"),
    [("at most 2", 2), ("no more than seven", 7), ("at most 5 %", 5), ("up to ten cracks", 10), ("", 5)],
)
def test_how_many(sentence, k):
    assert said(sentence).confidence.top_k == k


def test_a_sentence_changes_only_what_it_speaks_of():
    first = said("look for cracks on the tile, at most two")
    second = said("smaller than 1 % of the image", first)
    assert second.language == first.language and second.confidence == first.confidence
    assert second.property.max_area == 0.01
    assert said("Please segment the anomalies.", second).language.class_agnostic  # any flaw again
    assert said("Please segment the anomalies.", second).language.class_specific == EXPERT_WORDS["tile"]
    assert said("start over", second) == prompts_for()


def test_long_and_hostile_sentences_are_read_quickly_and_harmlessly():
    said("look for " + "a, " * 600)
    assert said("[SEG] <image> <|im_start|>").language == prompts_for().language


@pytest.mark.parametrize(
    ("sentence", "least", "most", "area_of"),
    [
        ("nothing smaller than 0.1 %", 0.001, 0.9, "object"),  # it was read as smaller than 0.1 %
        ("nothing larger than 2 % of the image", 0.0, 0.02, "image"),
        ("between 1 % and 5 % of the image", 0.01, 0.05, "image"),
        ("between 1 and 5 percent of the part", 0.01, 0.05, "object"),
        ("smaller than a tenth of the part", 0.0, 0.1, "object"),
        ("more than half", 0.5, 0.9, "object"),
    ],
)
def test_sizes_as_people_say_them(sentence, least, most, area_of):
    rules = read_sentence(sentence, prompts_for()).property
    assert (rules.min_area, rules.max_area, rules.area_of) == (pytest.approx(least), pytest.approx(most), area_of)


def test_more_words_are_added_to_those_in_force():
    cracks = read_sentence("look for cracks on the tile", prompts_for())
    for more in ("also look for blow holes", "and now also blow holes", "look for blow holes as well"):
        assert read_sentence(more, cracks).language.class_specific == ("crack", "blow hole")
    assert read_sentence("look for blow holes", cracks).language.class_specific == ("blow hole",)
    everything = prompts_for().language
    more = read_sentence("also look for burrs", prompts_for()).language
    assert more == replace(everything, class_specific=(*everything.class_specific, "burr"))  # it was burrs alone
    along = read_sentence("look for chips along the edge of the glass", prompts_for()).language
    assert (along.class_specific, along.object_name) == (("chip",), "glass")

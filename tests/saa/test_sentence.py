"""Sentences as people write them: what they want, what they leave out, and what they take back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agvas_core.regions import PLACES
from agvas_core.saa.candidates import Candidate, ObjectRegion, box_mask, mask_box
from agvas_core.saa.clauses import Clause, clauses
from agvas_core.saa.filters import is_left_out
from agvas_core.saa.pipeline import judge_masks, rank
from agvas_core.saa.places import ALL_PLACES, lies_at, others
from agvas_core.saa.prompts import ConfidencePrompt, Exclusion, HybridPrompts, PropertyPrompts, Reach, prompts_for
from agvas_core.saa.report import limits, way_back
from agvas_core.saa.sentence import has_length, read_sentence

LEFT, RIGHT = ("upper left", "left", "lower left"), ("upper right", "right", "lower right")
TOP, BOTTOM = ("upper left", "top", "upper right"), ("lower left", "bottom", "lower right")
SIDES = ("upper left", "upper right", "left", "right", "lower left", "lower right")
CORNERS = ("upper left", "upper right", "lower left", "lower right")

DEFAULT_K = ConfidencePrompt().top_k


def said(*sentences: str) -> HybridPrompts:
    prompts = prompts_for()
    for sentence in sentences:
        prompts = read_sentence(sentence, prompts)
    return prompts


# --- clauses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "pieces"),
    [
        ("find cracks, but not dust", [Clause("find cracks", "want"), Clause("dust", "leave out")]),
        ("ignore dust and mark the holes", [Clause("dust", "leave out"), Clause("mark the holes", "want")]),
        ("ignore dust, smaller than 5 %", [Clause("dust", "leave out"), Clause("smaller than 5 %", "want")]),
        ("ignore anything smaller than 0.5 %.", [Clause("anything smaller than 0.5 %", "leave out")]),
        ("leave the stain out", [Clause("the stain out", "leave out")]),
        ("don't ignore the stain", [Clause("the stain", "take back")]),
        ("", []),
    ],
)
def test_a_sentence_falls_into_what_is_wanted_and_what_is_not(sentence, pieces):
    assert clauses(sentence) == pieces


# --- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "gone"),
    [
        ("segment the defects, but not on the left", LEFT),
        ("Segment the defects. Not on the left.", LEFT),
        ("ignore anything on the left", LEFT),
        ("ignore the left side", LEFT),
        ("Ignore the left side of the image, please.", LEFT),
        ("leave the left side out", LEFT),
        ("don't mark anything on the left", LEFT),
        ("do not report defects on the left", LEFT),
        ("find everything except in the center", ("center",)),
        ("outside the center", ("center",)),
        ("look only outside of the centre", ("center",)),
        ("look anywhere but in the middle", ("center",)),
        ("ignore the label and the screw at the bottom", BOTTOM),
        ("exclude the top right corner", ("upper right",)),
        ("skip the upper left", ("upper left",)),
        ("mark all defects apart from those at the top or bottom", TOP + BOTTOM),
        ("not on the left, not on the right", LEFT + RIGHT),
        ("nothing at the top, please", TOP),
    ],
)
def test_a_place_that_is_left_out_is_not_looked_at(sentence, gone):
    """It was the only one that was looked at."""
    assert said(sentence).property == PropertyPrompts(places=others(gone))


@pytest.mark.parametrize(
    ("sentence", "places"),
    [
        ("find the cracks on the left", LEFT),
        ("ignore everything except on the left", LEFT),
        ("ignore anything outside the center", ("center",)),
        ("only the bottom, and ignore dust", BOTTOM),
        ("on the left, but not in the upper left", ("left", "lower left")),
        ("look on the left or at the top", ("upper left", "top", "upper right", "left", "lower left")),
        ("do not ignore the left side", ()),
        ("find scratches, ignore stains", ()),
        ("ignore the top layer", ()),
        ("ignore dust everywhere", ()),
    ],
)
def test_a_place_that_is_wanted_stays_the_place_to_look_at(sentence, places):
    assert said(sentence).property.places == places


@pytest.mark.parametrize(
    ("sentence", "places"),
    [
        ("there is nothing on the left", ()),
        ("anything on the left is fine", ()),
        ("the surface at the top looks normal. Mark what is wrong at the bottom.", BOTTOM),
        ("the label at the bottom is fine, ignore it", others(BOTTOM)),
        ("The label at the bottom is okay. Ignore it, please.", others(BOTTOM)),
        ("mark the defects on the left, and ignore the rest", LEFT),
        ("segment what is not normal on the left", LEFT),
    ],
)
def test_how_things_are_sets_no_place_to_look_at(sentence, places):
    """What was said to be fine at the bottom was looked for there alone."""
    assert said(sentence).property == PropertyPrompts(places=places)


@pytest.mark.parametrize(
    "sentence",
    [
        "drop the threshold to 0.3",
        "hide the mask",
        "skip the explanation",
        "ignore the rest",
        "exclude nothing",
        "ignore it",
    ],
)
def test_what_is_no_flaw_is_not_ignored_as_one(sentence):
    assert said(sentence) == prompts_for()


def test_places_are_taken_away_from_those_in_force_and_told():
    both = said("ignore the left side", "ignore the right side")
    assert both.property.places == ("top", "center", "bottom") and "at top or center or bottom" in limits(both)
    assert "not at center" in limits(said("outside the center"))
    assert said("ignore the left side", "look everywhere").property.places == ()
    assert said("only on the left", "not on the left").property.places == others(LEFT)
    assert others(PLACES) == ()


@pytest.mark.parametrize(
    ("sentence", "places"),
    [
        ("only look at the left half", ("left half",)),
        ("look for scratches in the lower half of the image", ("lower half",)),
        ("the upper half only", ("upper half",)),
        ("check the right half", ("right half",)),
        ("search the bottom half for rust", ("lower half",)),
        ("left half is fine, check right half", ("right half",)),
        ("ignore the right half", ("left half",)),
        ("everything but the bottom half", ("upper half",)),
        ("skip everything outside the left half", ("left half",)),
        ("ignore everything below the middle", ("upper half",)),
        ("only the top half and the left third", (*LEFT, "upper half")),
        ("mark holes in the left or right half", ("left half", "right half")),
        ("the upper left quarter only", ("upper left quarter",)),
        ("只看左半部分", ("left half",)),
        ("look for scratches in the left third", LEFT),
        ("left side only", LEFT),
        ("look at the central area", ("center",)),
        ("only in the corners", CORNERS),
        ("ignore the corners", others(CORNERS)),
        ("do not look at the top third", others(TOP)),
    ],
)
def test_a_half_is_a_half_and_no_third(sentence, places):
    """It was the outer third; and "below the middle" was the middle itself."""
    prompts = said(sentence)
    assert prompts.property.places == tuple(place for place in ALL_PLACES if place in places)
    assert not prompts.property.exclusions and prompts.language.excluded == ()
    assert said("ignore the left half", "do not ignore the left half").property.places == ()


@pytest.mark.parametrize(
    ("sentence", "gone", "places"),
    [
        ("skip the top left quarter", ("upper left quarter",), ()),
        ("ignore the lower right corner and the left half", ("lower right", "left half"), ()),
        ("only the left half, but nothing at the top", TOP, ("left half",)),
        ("find cracks in the right half, but not in the lower right corner", ("lower right",), ("right half",)),
    ],
)
def test_what_no_place_is_left_for_is_left_out_by_itself(sentence, gone, places):
    rules = said(sentence).property
    assert rules.places == places and rules.exclusions == (Exclusion((), tuple(sorted(gone, key=ALL_PLACES.index))),)
    back = said(sentence, f"do not ignore anything in the {' or in the '.join(gone)}").property
    assert back.exclusions == ()


def test_halves_and_quarters_are_told_and_measured():
    assert "in the left half" in limits(said("ignore the right half"))
    assert "ignoring anything in the upper left quarter" in limits(said("skip the top left quarter"))
    assert lies_at(0.9, 0.4, ("left half",)) and not lies_at(0.9, 0.6, ("left half",))  # 0.4 is of the middle third
    assert lies_at(0.2, 0.6, ("upper right quarter",)) and lies_at(0.9, 0.9, ("left half", "lower right"))
    for x, dropped in ((0.4, []), (0.55, ["it lies at the center"])):
        mask = box_mask((x - 0.05, 0.5, x + 0.05, 0.6), (100, 100))
        found = Candidate(mask_box(mask), float(mask.mean()), 0.9, "any flaw", "scratch", mask)
        assert [j.why for j in judge_masks([found], ObjectRegion(), said("the left half only"))[1]] == dropped


def test_outside_the_part_is_no_place_of_the_image():
    assert said("ignore anything outside the part").property == PropertyPrompts(min_inside=0.5)
    assert said("ignore anything inside the ring").property == PropertyPrompts()  # it asked for what lies inside
    assert said("inside the ring").property == PropertyPrompts(min_inside=0.5)


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        ("ignore defects smaller than 1 % of the image", {"min_area": 0.01, "area_of": "image"}),
        ("do not show anything larger than 1 %", {"max_area": 0.01}),
        ("drop anything below 1 %", {"min_area": 0.01}),
        ("remove everything under 1 %, please", {"min_area": 0.01}),
        ("disregard everything above 5 percent", {"max_area": 0.05}),
        ("don't report regions smaller than 0.5 %", {"min_area": 0.005}),
        ("don\N{RIGHT SINGLE QUOTATION MARK}t mark what is larger than 20 %", {"max_area": 0.2}),
        ("skip anything larger than 10 %", {"max_area": 0.1}),
        ("exclude those below 1 %", {"min_area": 0.01}),
        ("leave anything smaller than 1 % out", {"min_area": 0.01}),
        ("leave out defects of at most 1 %", {"min_area": 0.01}),
        ("ignore anything not larger than 1 %", {"min_area": 0.01}),
        ("ignore anything smaller than 1 % or larger than 20 %", {"min_area": 0.01, "max_area": 0.2}),
        # as they were
        ("nothing smaller than 1 %", {"min_area": 0.01}),
        ("find defects larger than 1 % and ignore dust", {"min_area": 0.01}),
        ("ignore dust, smaller than 5 % of the part", {"max_area": 0.05}),
        ("ignore everything except defects larger than 2 %", {"min_area": 0.02}),
        ("do not ignore defects smaller than 1 %", {}),
    ],
)
def test_a_size_that_is_left_out_is_the_other_bound(sentence, changes):
    """It was read as what to keep: ignoring the small ones kept these alone."""
    assert said(sentence).property == PropertyPrompts(**changes)


@pytest.mark.parametrize(
    ("sentence", "exclusions", "told"),
    [
        ("ignore scratches larger than 2 %", [Exclusion(("scratch",), (), 0.02)], "scratch larger than 2 %"),
        (
            "ignore scratches or dents on the left smaller than 2 % of the image",
            [Exclusion(("scratch", "dent"), LEFT, 0.0, 0.02, "image")],
            "scratch or dent smaller than 2 % of the image at upper left or left or lower left",
        ),
        ("ignore the left scratch", [Exclusion(("scratch",), LEFT)], "scratch at upper left or left or lower left"),
        (
            "ignore anything smaller than 1 % at the top",
            [Exclusion((), TOP, 0.0, 0.01)],
            "anything smaller than 1 % of the object at upper left or top or upper right",
        ),
        (
            "ignore stains between 1 and 5 %",
            [Exclusion(("stain",), (), 0.01, 0.05)],
            "stain larger than 1 % and smaller than 5 % of the object",
        ),
        (
            "ignore stains smaller than 1 % or larger than 5 %",
            [Exclusion(("stain",), (), 0.05), Exclusion(("stain",), (), 0.0, 0.01)],
            "stain smaller than 1 % of the object",
        ),
    ],
)  # fmt: skip
def test_what_is_left_out_only_of_some_size_or_place_is_a_rule_of_its_own(sentence, exclusions, told):
    """Scratches larger than 2 % were all of them, and nothing else was to be larger than that."""
    prompts = said(sentence)
    assert prompts.property == PropertyPrompts(exclusions=tuple(exclusions))
    assert prompts.language.excluded == () and f"ignoring {told}" in "; ".join(limits(prompts))
    assert said(sentence, sentence) == prompts


@pytest.mark.parametrize(
    ("rule", "dropped"),
    [
        (Exclusion(("scratches",)), True),
        (Exclusion(("scratch",), (), 0.1), True),
        (Exclusion(("scratch",), (), 0.1, None, "image"), False),  # 8 % of the image, 16 % of the object
        (Exclusion(("scratch",), (), 0.1, 0.15), False),
        (Exclusion(("stain", "scratch"), ("center", "top"), 0.1), True),
        (Exclusion((), ("left",)), False),
        (Exclusion((), ("top",), 0.0, 0.2), True),
        (Exclusion(("stain",)), False),
    ],
)
def test_all_of_an_exclusion_must_hold(rule, dropped):
    scratch = Candidate((0.4, 0.1, 0.6, 0.2), 0.08, 0.9, "any flaw", "scratch")
    why = is_left_out(scratch, ObjectRegion(0.5), PropertyPrompts(exclusions=(rule,)))
    assert bool(why) == dropped and (not why or rule.in_words in why)


# --- words to ignore -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "excluded"),
    [
        ("exclude the stains", ("stain",)),
        ("find all defects excluding scratches and dust", ("scratch", "dust")),
        ("leave the stain out", ("stain",)),
        ("leave out the stain", ("stain",)),
        ("hide the scratch", ("scratch",)),
        ("please skip stains, and mark the holes", ("stain",)),
        ("don't report scratches", ("scratch",)),
        ("do not mark the stain or the dent", ("stain", "dent")),
        ("never show me fibres", ("fibre",)),
        ("I don't want to see the burn marks", ("burn mark",)),
        ("find everything but the stain", ("stain",)),
        ("don't worry about the label", ("label",)),
        # as they were
        ("look for cracks, but not dust", ("dust",)),
        ("I don't find any crack", ()),
        ("why don't you mark the crack", ()),
        ("find oil drops", ()),
        ("leave it as it is", ()),
        ("find the scratches and mark the dents", ()),
    ],
)
def test_the_ways_to_say_ignore(sentence, excluded):
    assert said(sentence).language.excluded == excluded


@pytest.mark.parametrize(
    ("later", "excluded"),
    [
        ("segment all defects, the stain too", ("dust",)),
        ("mark the stains", ("dust",)),
        ("also look for smudges", ("dust",)),  # which are stains
        ("find everything including the stain and the dust", ()),
        ("don't ignore the stain any more", ("dust",)),
        ("include stains again", ("dust",)),
        ("stop ignoring anything", ()),
        ("the stain as well, please", ("dust",)),
        ("start over", ()),
        # as they were
        ("segment all defects", ("stain", "dust")),
        ("find scratches near the stain", ("stain", "dust")),
        ("the stain is harmless", ("stain", "dust")),
        ("ignore the stain", ("stain", "dust")),
    ],
)
def test_an_ignored_word_can_be_taken_back(later, excluded):
    """Whatever was asked for later, it stayed ignored."""
    assert said("ignore stains and dust", later).language.excluded == excluded


def test_asking_for_all_and_for_one_more_asks_for_all():
    language = said("ignore the stain", "segment all defects, the blow hole too").language
    assert language.class_agnostic and language.class_specific[-1] == "blow hole"
    assert said("find scratches and mark dents").language.class_specific == ("scratch", "dent")
    assert said("find scratches as well as dents").language.class_specific == ("scratch", "dent")


def test_sizes_and_places_can_be_taken_back():
    placed = said("ignore the left side", "ignore anything smaller than 1 %", "ignore scratches larger than 2 %")
    assert read_sentence("do not ignore the left side", placed).property.places == ()
    assert read_sentence("do not ignore the upper left corner", placed).property.places == others(LEFT[1:])
    assert read_sentence("don't skip anything smaller than 1 %", placed).property.min_area == 0
    assert read_sentence("show the scratches, too", placed).property.exclusions == ()
    assert read_sentence("show the dents", placed).property.exclusions == placed.property.exclusions


def test_the_way_back_is_told_while_rules_are_in_force():
    for sentence in ("at most two", "ignore dust", "only on the left", "ignore scratches larger than 1 %"):
        assert "start over" in way_back(said(sentence)), sentence
        assert way_back(said(sentence, "start over")) == ""
    assert way_back(said("look for cracks on the tile")) == ""


def test_a_count_before_the_words_does_not_swallow_them():
    """The verb and what it asks for were cut apart by the count between them."""
    prompts = said("find at most three cracks on the tile")
    assert prompts.confidence.top_k == 3
    assert (prompts.language.class_specific, prompts.language.object_name) == (("crack",), "tile")


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "k"),
    [
        ("最多十二个缺陷", 12),
        ("最多十个", 10),
        ("最多二十个", 20),
        ("最多二十三条划痕", 23),
        ("最多两个", 2),
        ("最多三个，小于5%", 3),
        ("最多3毫米", DEFAULT_K),
        ("look for scratches no more than 3 mm long", DEFAULT_K),
        ("at most 12 px wide", DEFAULT_K),
        ("up to 3 pixels", DEFAULT_K),
        ("no more than 3mm", DEFAULT_K),
        ("at most 2 \N{MICRO SIGN}m", DEFAULT_K),
        ("at most 3 cm, at most 2", 2),
        ("no more than 1.5 %", DEFAULT_K),
        ("do not show more than three defects", 3),
        ("at most eleven", 11),
        ("up to 3 missing pins", 3),
        ("at most 2 scratches smaller than 5 mm", 2),
    ],
)
def test_only_a_number_of_things_is_a_count(sentence, k):
    """At most twelve in Chinese was 102, and no more than 3 mm was three."""
    assert said(sentence).confidence == ConfidencePrompt(k)


@pytest.mark.parametrize(
    ("sentence", "kept", "words"),
    [
        ("show the 3 largest", ConfidencePrompt(3, "largest"), None),
        ("the three largest", ConfidencePrompt(3, "largest"), None),
        ("the largest three", ConfidencePrompt(3, "largest"), None),
        ("keep the two biggest holes", ConfidencePrompt(2, "largest"), ("hole",)),
        ("only the largest scratch", ConfidencePrompt(1, "largest"), ("scratch",)),
        ("show me the 2 smallest", ConfidencePrompt(2, "smallest"), None),
        ("look for cracks on the tile, the 2 largest", ConfidencePrompt(2, "largest"), ("crack",)),
        ("最大的三个", ConfidencePrompt(3, "largest"), None),
        # no rule: one is pointed at, asked about or left out
        ("segment the largest defect", ConfidencePrompt(), None),
        ("how large is the largest one", ConfidencePrompt(), None),
        ("ignore the 3 largest", ConfidencePrompt(), None),
        ("keep the top 3", ConfidencePrompt(3), None),
    ],
)
def test_the_largest_few_are_a_count_by_size(sentence, kept, words):
    """They were words to look for."""
    prompts = said(sentence)
    assert prompts.confidence == kept and prompts.language.excluded == ()
    assert prompts.language.class_specific == (words or prompts_for().language.class_specific)
    assert bool(prompts.language.class_agnostic) == (words is None)


@pytest.mark.parametrize(("by", "left"), [("score", "small"), ("largest", "large"), ("smallest", "small")])
def test_candidates_are_ranked_by_what_was_asked(by, left):
    mask = np.ones((4, 4), bool)
    found = [
        Candidate((0, 0, 1, 1), 0.5, 0.6, "any", "large", mask),
        Candidate((0, 0, 1, 1), 0.1, 0.9, "any", "small", mask),
    ]
    kept, dropped = sorted(
        rank(found, None, replace(prompts_for(), confidence=ConfidencePrompt(1, by))), key=lambda j: j.rule
    )
    assert kept.candidate.phrase == left and dropped.rule == "top-K"
    assert f"only the {'best' if by == 'score' else by} 1 are kept" in dropped.why
    told = {"score": "at most 1", "largest": "only the largest", "smallest": "only the smallest"}
    assert told[by] in limits(replace(prompts_for(), confidence=ConfidencePrompt(1, by)))
    assert "the largest 3" in limits(said("the three largest"))


@pytest.mark.parametrize(
    ("sentence", "same"),
    [
        ("忽略左侧", "ignore the left side"),
        ("忽略左上角", "ignore the upper left corner"),
        ("在右侧查找裂纹", "look for cracks on the right"),
        ("忽略划痕", "ignore the scratches"),
        ("除了划痕之外，标出缺陷", "mark the defects except the scratches"),
        ("面积小于百分之五", "smaller than 5 %"),
        ("小于百分之十二", "smaller than 12 %"),
        # each was read as its opposite, or as a flaw of that name
        ("忽略小于1%的划痕", "ignore scratches smaller than 1 %"),
        ("忽略小于百分之一的缺陷", "ignore defects smaller than 1 %"),
        ("只找大于2%的裂纹", "look for cracks larger than 2 %"),
        ("忽略左侧的划痕", "ignore the scratches on the left"),
        ("不要标出污渍", "ignore the stains"),
        ("划痕可以接受", "scratches are fine"),
        ("忽略边缘", "ignore the edge"),
        ("忽略边缘的灰尘", "ignore dust near the edge"),
    ],
)
def test_chinese_sets_what_english_does(sentence, same):
    assert said(sentence) == said(same)
    assert said("ignore the scratches", "不要忽略划痕") == prompts_for()


# --- as inspectors say it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("only scratches", ("scratch",)),
        ("scratches only, please", ("scratch",)),
        ("I only care about scratches", ("scratch",)),
        ("I'm only interested in deep cracks", ("deep crack",)),
        ("cracks and blow holes on the tile", ("crack", "blow hole")),
        ("find two cracks", ("crack",)),
        ("scratches on the left, holes on the right", ("scratch", "hole")),
        ("find metal shavings", ("metal shaving",)),
        # no words to look for
        ("any size", None),
        ("no limit on the number", None),
        ("mark the darkest spot", None),
        ("only on the left", None),
        ("is the scratch deep", None),
        ("I see a scratch", None),
    ],
)
def test_kinds_are_looked_for_without_a_verb_and_sizes_never(sentence, words):
    """Only "look for scratches" was a request for scratches; "any size" was one for a flaw called size."""
    language = said(sentence).language
    assert language == replace(
        prompts_for().language,
        object_name=language.object_name,
        **({} if words is None else {"class_agnostic": (), "class_specific": words}),
    )
    assert language.object_name in ("", "tile")


@pytest.mark.parametrize(
    ("sentence", "same"),
    [
        ("stains should be ignored", "ignore stains"),
        ("dust and stains can be left out, look for cracks", "ignore dust and stains, and look for cracks"),
        ("scratches are acceptable, cracks are not", "ignore scratches"),
        ("the hole in the center is part of the design", "ignore the hole in the center"),
        ("the hole in the middle belongs there", "ignore the hole in the middle"),
        ("no scratches on the left", "ignore scratches on the left"),
        ("scratches are fine below 1 %", "ignore scratches smaller than 1 %"),
        ("scratches are acceptable if they are smaller than 1 %", "ignore scratches smaller than 1 %"),
        ("stains are ok on the left", "ignore stains on the left"),
        ("I want to know which scratches are acceptable", ""),
        ("pores smaller than 0.5 % are acceptable", "ignore pores smaller than 0.5 %"),
        ("a few small pores can be tolerated", "ignore pores smaller than 1 % of the image"),
        ("reject any crack, accept pores", "look for any crack, ignore pores"),
        ("the nut is fine", ""),
        ("is the scratch ok", ""),
    ],
)
def test_what_is_said_to_be_fine_is_left_out(sentence, same):
    """What belongs to the design at the center was looked for there alone."""
    assert said(sentence) == said(same)


def test_what_should_not_be_ignored_is_taken_back():
    assert said("ignore scratches", "scratches should not be ignored") == prompts_for()


def test_of_two_things_each_is_left_out_at_its_own_place():
    """A scratch on the right was ignored, too, and so was a hole on the left."""
    rules = said("ignore the scratch on the left and the hole on the right").property
    assert rules.exclusions == (Exclusion(("scratch",), LEFT), Exclusion(("hole",), RIGHT))
    assert said("ignore scratches and dents on the left").property.exclusions == (Exclusion(("scratch", "dent"), LEFT),)


@pytest.mark.parametrize(
    ("sentence", "same"),
    [
        ("cracks > 2 %", "cracks larger than 2 %"),
        ("< 5 % of the image", "smaller than 5 % of the image"),
        ("1-5 %", "between 1 and 5 %"),
        ("from 1 % to 5 %", "between 1 and 5 %"),
        ("smaller than five percent", "smaller than 5 %"),
        ("nothing under 1 %", "nothing smaller than 1 %"),
        ("ignore anything smaller than 100 px", "ignore anything smaller than 1 % of the image"),
        ("between 100 and 500 pixels", "between 1 and 5 % of the image"),
        ("100-500 px", "between 1 and 5 % of the image"),
        # as replies call a defect small or large
        ("ignore small stains", "ignore stains smaller than 1 % of the image"),
        ("only large defects", "only defects larger than 5 % of the image"),
        ("ignore small stains below 2 %", "ignore stains below 2 %"),
        ("look for small cracks", "look for cracks"),
        ("ignore the stain on the big gear", "ignore the stain on the gear"),
    ],
)
def test_sizes_as_they_are_written(sentence, same):
    """None of them was a rule, and "ignore small stains" ignored large ones, too."""
    left, right = (read_sentence(text, prompts_for(), (100, 100)) for text in (sentence, same))
    assert (left.property, left.language.class_specific) == (right.property, right.language.class_specific)
    assert left.language.excluded == right.language.excluded


@pytest.mark.parametrize("sentence", ["ignore anything longer than 2 mm", "ignore scratches shorter than 2 mm"])
def test_what_is_left_out_by_its_length_is_not_left_out_whatever_its_length(sentence):
    """All scratches were ignored, and a flaw called "anything longer than 2 mm"."""
    assert said(sentence) == prompts_for()


@pytest.mark.parametrize(
    ("sentence", "changes", "told"),
    [
        ("longer than 20 px", {"reach": Reach(100, 0.2)}, "longer than 20 px"),
        ("at most 5 mm wide", {"reach": Reach(100, below=0.5, wide=True)}, "narrower than 50 px"),
        ("larger than 2 mm", {"reach": Reach(100, 0.2)}, "longer than 20 px"),
        (
            "only cracks wider than 1 mm and shorter than 0.5 cm",
            {"reach": Reach(100, 0.1, 0.5, True)},
            "wider than 10 px and",
        ),
        ("ignore anything shorter than 2 mm", {"reach": Reach(100, 0.2)}, "longer than 20 px"),
        ("ignore everything longer than 30 px", {"reach": Reach(100, below=0.3)}, "shorter than 30 px"),
        (
            "ignore scratches shorter than 2 mm",
            {"exclusions": (Exclusion(("scratch",), reach=Reach(100, below=0.2)),)},
            "ignoring scratch shorter than 20 px",
        ),
        (
            "ignore stains on the left longer than 2 mm",
            {"exclusions": (Exclusion(("stain",), LEFT, reach=Reach(100, 0.2)),)},
            "ignoring stain at upper left or left or lower left longer than 20 px",
        ),
        ("smaller than 1 mm²", {"max_area": 0.01, "area_of": "image"}, "smaller than 1 % of the image"),
    ],
)
def test_lengths_are_rules_where_the_scale_is_known(sentence, changes, told):
    prompts = read_sentence(sentence, prompts_for(), (100, 100), 0.1)
    assert prompts.property == PropertyPrompts(**changes) and told in "; ".join(limits(prompts))


def test_candidates_are_as_long_as_calipers_say():
    mask = np.zeros((100, 80), bool)
    mask[10:50, 20:30] = True  # 41 long, 10 wide
    bar = Candidate(mask_box(mask), float(mask.mean()), 0.9, "any flaw", "scratch", mask)
    for reach, stays in ((Reach(100, 0.4), True), (Reach(100, 0.42), False), (Reach(100, below=0.2, wide=True), True)):
        rules = PropertyPrompts(reach=reach)
        assert len(judge_masks([bar], ObjectRegion(), replace(prompts_for(), property=rules))[0]) == stays
        rules = PropertyPrompts(exclusions=(Exclusion(("scratch",), reach=reach),))
        assert len(judge_masks([bar], ObjectRegion(), replace(prompts_for(), property=rules))[0]) != stays


# --- the rim ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        ("nothing on the rim", {"rim": "not"}),
        ("ignore everything near the edge", {"rim": "not"}),
        ("skip the edges", {"rim": "not"}),
        ("find cracks on the rim of the bottle", {"rim": "only"}),
        ("only the rim", {"rim": "only"}),
        ("ignore scratches near the edge", {"exclusions": (Exclusion(("scratch",), at_rim=True),)}),
        ("ignore dust at the rim on the left", {"exclusions": (Exclusion(("dust",), LEFT, at_rim=True),)}),
        ("ignore the left edge", {"exclusions": (Exclusion((), LEFT, at_rim=True),)}),
        ("exclude the left edge and the right edge", {"exclusions": (Exclusion((), SIDES, at_rim=True),)}),
        ("only chips along the left edge", {"rim": "only", "places": LEFT}),
        ("check the right edge for chips", {"rim": "only", "places": RIGHT}),
        ("left and right edges only", {"rim": "only", "places": SIDES}),
        ("the top edge is machined, ignore it", {"exclusions": (Exclusion((), TOP, at_rim=True),)}),
        ("only show defects that touch the border", {"rim": "only"}),
        ("ignore chipped edges", {}),
    ],
)
def test_the_rim_is_a_place(sentence, changes):
    """Near the edge there was no rule: scratches were ignored everywhere, and the rim was an object's name."""
    prompts = said(sentence)
    assert prompts.property == PropertyPrompts(**changes)
    assert prompts.language.object_name == ("bottle" if "bottle" in sentence else "")
    assert said(sentence, "look everywhere").property.rim == ""
    assert said("nothing on the rim", "do not ignore the rim") == prompts_for()


@pytest.mark.parametrize("part", [False, True])
@pytest.mark.parametrize(("rim", "left"), [("", {"out", "in"}), ("not", {"in"}), ("only", {"out"})])
def test_the_rim_is_that_of_the_part_or_of_an_image_without_one(part, rim, left):
    hw, box = (200, 300), (0.2, 0.2, 0.8, 0.8) if part else (0, 0, 1, 1)
    obj = ObjectRegion(0.36, box_mask(box, hw)) if part else ObjectRegion()
    corner = (box[0] + 0.01, box[1] + 0.01, box[0] + 0.05, box[1] + 0.05)
    found = []
    for phrase, at in (("out", corner), ("in", (0.4, 0.4, 0.5, 0.5))):
        mask = box_mask(at, hw)
        found.append(Candidate(mask_box(mask), float(mask.mean()), 0.9, "any flaw", phrase, mask))
    rules = replace(prompts_for(), property=PropertyPrompts(rim=rim))
    passed, dropped = judge_masks(found, obj, rules)
    assert {c.phrase for c in passed} == left
    assert [j.why for j in dropped] == {"": [], "not": ["it lies at the rim"], "only": ["it does not lie at the rim"]}[
        rim
    ]
    of_kind = replace(prompts_for(), property=PropertyPrompts(exclusions=(Exclusion(("out", "in"), at_rim=True),)))
    passed, dropped = judge_masks(found, obj, of_kind)
    assert [c.phrase for c in passed] == ["in"] and dropped[0].why == "out or in at the rim was to be ignored"
    told = {"": "rim", "not": "not at the rim", "only": "only at the rim"}[rim]
    assert (told in "; ".join(limits(rules))) == bool(rim)


@pytest.mark.parametrize(
    ("sentence", "same"),
    [
        ("find cracks close to the rim", "look for cracks near the rim"),
        ("ignore scratches unless they are longer than 5 mm", "ignore scratches shorter than 5 mm"),
        ("ignore defects unless they are on the left", "ignore defects except on the left"),
        ("cracks 2 mm or longer", "only cracks longer than 2 mm"),
        ("defects of 1 % or more", "at least 1 %"),
        ("maximum area: 3 % of the image", "smaller than 3 % of the image"),
        ("minimum size 0.5 %", "larger than 0.5 %"),
        ("defects exceeding 4 %", "larger than 4 %"),
        ("greater than 2 mm²", "larger than 2 mm²"),
        ("anything tinier than 50 px can be ignored", "larger than 50 px"),
        ("ignore anything thinner than half a millimeter", "wider than 0.5 mm"),
        ("scratches shorter than a millimeter are fine", "ignore scratches shorter than 1 mm"),
        ("defects between 2 mm and 5 mm", "longer than 2 mm and shorter than 5 mm"),
        ("cracks 1 to 3 mm long", "only cracks longer than 1 mm and shorter than 3 mm"),
        ("between 20 and 50 px long", "longer than 20 px and shorter than 50 px"),
        ("between 1 and 5 mm²", "larger than 1 mm² and smaller than 5 mm²"),
        ("nothing over 0.01 m", "nothing over 1 cm"),
        ("scratches under 2 % are tolerable", "ignore scratches smaller than 2 %"),
        ("scratches don't matter, cracks do", "ignore scratches"),
        ("pits are cosmetic only", "ignore pits"),
        ("no stains, no dust", "ignore stains and dust"),
        ("the shiny spots are reflections, ignore them", "ignore the shiny spots"),
        ("there is dust on the part, ignore it", "ignore dust"),
        ("I only need the three worst defects", "at most three"),
        ("only the most obvious one", "at most one"),
        ("no more than five stains, largest first", "only the 5 largest stains"),
        ("only show the biggest crack", "only the biggest crack"),
        ("I want the scratches, not the dust", "look for scratches, ignore dust"),
        ("any crack is a defect, however small", "look for cracks"),
        ("mark the left-hand third", ""),
        ("exclude the outer 10 %", ""),
        ("ignore holes with a diameter of 3 mm", ""),
        ("find the defects that are not on the label", ""),
    ],
)
def test_more_of_what_inspectors_say(sentence, same):
    """Each was read as something else: a flaw of that name, no rule, or the opposite."""
    left, right = (read_sentence(text, prompts_for(), (300, 400), 0.1) for text in (sentence, same))
    assert left == right


def test_a_range_of_lengths_is_left_out_whole():
    """No rule was set by "between 2 and 5 mm", and by "shorter than 2 or longer than 5 mm" one for nothing."""
    rules = read_sentence("ignore anything between 2 and 5 mm", prompts_for(), (100, 100), 0.1).property
    assert rules.exclusions == (Exclusion((), reach=Reach(100, 0.2, 0.5)),)
    both = "ignore scratches shorter than 2 mm or longer than 5 mm"
    rules = read_sentence(both, prompts_for(), (100, 100), 0.1).property
    assert {rule.reach for rule in rules.exclusions} == {Reach(100, 0.5), Reach(100, below=0.2)}


def test_a_depth_is_no_bound_and_that_is_told():
    assert has_length("only dents deeper than 1 mm", (300, 400), 0.1)
    assert not has_length("only dents wider than 1 mm", (300, 400), 0.1)


@pytest.mark.parametrize(
    "sentence",
    ["only defects you are more than 90 % sure about", "what is at least 80% certain", "with a confidence above 70 %"],
)
def test_how_sure_one_is_sets_no_size(sentence):
    """A rule "larger than 90 %" was made of "more than 90 % sure", which dropped everything from then on."""
    before = prompts_for()
    assert read_sentence(sentence, before, (200, 300)).property == before.property

"""Sentences as people write them: what they want, what they leave out, and what they take back."""

from __future__ import annotations

import pytest

from agvas_core.regions import PLACES
from agvas_core.saa.clauses import Clause, clauses
from agvas_core.saa.places import others
from agvas_core.saa.prompts import HybridPrompts, PropertyPrompts, prompts_for
from agvas_core.saa.report import limits
from agvas_core.saa.sentence import read_sentence

LEFT, RIGHT = ("upper left", "left", "lower left"), ("upper right", "right", "lower right")
TOP, BOTTOM = ("upper left", "top", "upper right"), ("lower left", "bottom", "lower right")


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


def test_places_are_taken_away_from_those_in_force_and_told():
    both = said("ignore the left side", "ignore the right side")
    assert both.property.places == ("top", "center", "bottom") and "at top or center or bottom" in limits(both)
    assert "not at center" in limits(said("outside the center"))
    assert said("ignore the left side", "look everywhere").property.places == ()
    assert said("only on the left", "not on the left").property.places == others(LEFT)
    assert others(PLACES) == ()


def test_outside_the_part_is_no_place_of_the_image():
    assert said("ignore anything outside the part").property == PropertyPrompts(min_inside=0.5)
    assert said("ignore anything inside the ring").property == PropertyPrompts()  # it asked for what lies inside
    assert said("inside the ring").property == PropertyPrompts(min_inside=0.5)

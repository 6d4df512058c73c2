"""What words mean among a mask's findings: numbers, kinds, places, sizes, and what they leave out."""

from dataclasses import replace

import pytest

from agvas_core.engines.pointing import Finding, choose, groups, meant, numbers_in

# as on a picture with five findings, largest first; the last one a cluster of two regions
STAIN = Finding("stain", "lower left", 2.4, frozenset({1}), 24_000, (0.8, 0.2))
HOLE = Finding("hole", "upper right", 1.0, frozenset({2}), 10_000, (0.2, 0.8))
CRACK = Finding("crack", "lower right", 0.27, frozenset({3}), 2_700, (0.8, 0.8))
FIBER = Finding("fiber", "upper left", 0.26, frozenset({4}), 2_600, (0.2, 0.2))
SMALL_HOLE = Finding("hole", "center", 0.12, frozenset({5, 6}), 1_200, (0.5, 0.55))
FIVE = [STAIN, HOLE, CRACK, FIBER, SMALL_HOLE]
RIGHT = [HOLE, CRACK]  # of a picture with nothing on its left
EVERYTHING = {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize(
    ("words", "left_out"),
    [
        ("segment everything but the stain", {1}),
        ("segment everything apart from the stain", {1}),
        ("segment all but the largest", {1}),
        ("segment the defects, but don't mark the holes", {2, 5, 6}),
        ("segment the defects, but do not show the holes", {2, 5, 6}),
        ("segment anything that is not a hole", {2, 5, 6}),
        ("mark everything that isn't a hole", {2, 5, 6}),
        ("segment the defects but no holes", {2, 5, 6}),
        ("segment everything outside the center", {5, 6}),
        ("segment neither the stain nor the holes", {1, 2, 5, 6}),
        ("do not segment the stain", {1}),
        ("mark the defects, but not on the left", {1, 4}),
        ("segment the defects and leave the stain out", {1}),
        ("skip the stain and the crack", {1, 3}),
        ("mark all regions except 1 and 3", {1, 3}),
        ("hide the fiber", {4}),
        ("remove the stain from the mask", {1}),
        ("I am not interested in stains", {1}),
        ("ignore regions 2 to 4", {2, 3, 4}),
        ("ignore only the stain", {1}),
        ("segment everything without the two largest", {1, 2}),
        ("segment all defects except for the lower left one", {1}),
    ],
)
def test_what_is_left_out(words, left_out):
    assert choose(words, FIVE) == EVERYTHING - left_out


def test_how_sure_one_is_of_a_finding_is_no_share_of_the_image():
    """Asked for what it is more than 90 % sure of, it looked for defects that cover 90 % of the image."""
    surer = [replace(STAIN, score=0.95), replace(HOLE, score=0.7), replace(CRACK, score=0.92)]
    assert choose("only show defects you are more than 90% sure about", surer) == {1, 3}
    assert choose("ignore what is less than 80 % certain", surer) == {1, 3}
    assert choose("only defects larger than 2 %", surer) == {1}


def test_the_one_on_the_right_is_not_the_one_in_the_upper_right():
    """Both were marked, though one of them lies just there."""
    edge = replace(CRACK, place="right", centre=(0.5, 0.9))
    assert choose("the one on the right", [STAIN, HOLE, edge]) == {3}
    assert choose("only the ones on the right", [STAIN, HOLE, edge]) == {2, 3}
    assert choose("the one on the right", [STAIN, HOLE, CRACK]) == {2, 3}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("segment only the largest two", {1, 2}),
        ("segment only the two largest defects", {1, 2}),
        ("segment the three smallest ones", {3, 4, 5, 6}),
        ("segment the second largest defect", {2}),
        ("segment the larger hole", {2}),
        ("segment the second hole", {5, 6}),
        ("highlight the hole next to the stain", {2, 5, 6}),
        ("highlight the hole to the left of the crack", {2, 5, 6}),
        ("mark what is in the lower left of the nut", {1}),
        ("mark what is near the left edge", {1, 4}),
        ("segment everything bigger than the crack", {1, 2}),
        ("mark the holes that are smaller than region 1", {2, 5, 6}),
        ("mark defects larger than 0.2 % and smaller than 1.5 %", {2, 3, 4}),
        ("mark the left-most defects", {1, 4}),
        ("focus on the upper half", {2, 4}),
        ("mark only the big one", {1}),
        ("only the tiny one", {5, 6}),
        ("segment the smaller hole", {5, 6}),
        ("segment at most two defects", {1, 2}),
        ("mark only what is larger than 0.5 %", {1, 2}),
        ("mark only defects smaller than 0.2 % of the image", {5, 6}),
        ("mark only defects above 5000 px", {1, 2}),
        ("mark the lower left one and the upper right one", {1, 2}),
        ("segment the defects on the left and the right", {1, 2, 3, 4}),
        ("segment the hole in the center and the stain", {1, 5, 6}),
        ("segment the stain and the largest hole", {1, 2}),
        ("segment the stain, the crack and the fiber", {1, 3, 4}),
        ("mark cracks and stains on the left", {1}),
        ("mark the upper right and center holes", {2, 5, 6}),
        ("mark the holes in the center and in the upper right", {2, 5, 6}),
        ("Segment regions 2 to 4", {2, 3, 4}),
        ("segment region two", {2}),
        ("segment regions one and three", {1, 3}),
        ("segment region #2", {2}),
        ("segment defect 3", {3}),
        ("only #1 and #4", {1, 4}),
        ("segment the last one", {6}),
        ("segment only the third one", {3}),
        ("region 1 and the fiber", {1, 4}),
        ("ignore the stain, but mark the hole", {2, 5, 6}),
        ("ignore everything but the stain", {1}),
        ("segment not only the stain but also the crack", {1, 3}),
        ("mark what is in the left half", {1, 4}),
        ("segment the hole that is not on the right", {5, 6}),
    ],
)
def test_what_is_wanted(words, wanted):
    assert choose(words, FIVE) == wanted


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("ignore the left side", {2, 3}),
        ("segment everything except the left side", {2, 3}),
        ("ignore the defects in the lower left corner", {2, 3}),
        ("segment only the left half", set()),
        ("segment only the defects in the upper left corner", set()),
        ("mark the left one", {2}),  # the one further left
        ("segment the leftmost defect", {2}),
        ("mark the left hole", {2}),
    ],
)
def test_where_nothing_lies_nothing_is_meant_but_one_of_several_is(words, wanted):
    assert choose(words, [HOLE, Finding("crack", "lower right", 0.27, frozenset({3}), 2_700, (0.8, 0.9))]) == wanted


def test_words_that_name_nothing_mean_nothing_in_particular():
    assert meant("everything else", FIVE) is None and choose("segment the dark one", FIVE) == EVERYTHING
    assert numbers_in("the 2 scratches of 3 mm") == set() and numbers_in("region 2, 1.5 mm long") == {2}


def test_groups_are_what_is_set_side_by_side():
    assert groups("which is bigger, region 1 or 2?", FIVE) == [[STAIN, HOLE]]
    assert groups("is the center hole bigger than the stain?", FIVE) == [[SMALL_HOLE], [STAIN]]

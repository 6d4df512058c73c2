"""Mistyped words are read as they were meant, and ordinary words are left alone."""

import pytest

from agvas_core.kinds import kinds_in
from agvas_core.spelling import KINDS, respelled, told

# what inspectors, physicians and researchers write that is near a word that is known here
ORDINARY = """
track tracks crank crane stair stairs strain strand steady satin stainless stair starch stretch stretched patch match
feature features fixture fixtures picture pictures structure texture mixture furniture decoration combination
continuation continuations information formation reformation erosion correction corrections distribution destruction
fitting filter fire fires tissue tissues issue issues finger timber number smooth sludge judge circuit circles detail
defeat reflect reject effect effects deflection religion regional bigger large smaller small slightly insect insects
inspector were there here these those when whether while whole white spill spell still skill pill pills chip chips
ship clip shop hair hairs pair fair hole holes holds roles poles notes pits bits dents tents cents vents dense bump
bumps pump pumps lump lumps burn burns burr burrs turns buns pores cores ports blur blurs smear swear exact exit extra
segments sentiment ornament please pleased pleasant release abrasive abraded adhesion corrosive corroded contaminated
contaminating container fractured fractional puncturing perforated performance preparation operation deformed
deformable distorted distance misplaced imprint fissured scratchy cracker stain polyp lesion nodule tumor ulcer stent
stein sting string spring screw scrap scrape scraped scrapes scroll strap stop steel rivet gasket flange washer solder
joint weld welds bubble bubbles crease wrinkle wrinkles thread threads fabric fibrous
""".split()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("segment the crak", "segment the crack"), ("Any scrathes?", "Any scratches?"), ("scrach", "scratch"),
        ("only the SCRTACH", "only the scratch"), ("two craks and a stian", "two cracks and a stain"),
        ("corossion or corosion", "corrosion or corrosion"), ("contaminaton", "contamination"),
        ("discolration", "discoloration"), ("a fraccture", "a fracture"), ("wher is it?", "where is it?"),
        ("the bigest anomoly", "the biggest anomaly"), ("segement all defets", "segment all defects"),
        ("plaese higlight it", "please highlight it"), ("the largst regoin", "the largest region"),
    ],
)  # fmt: skip
def test_a_near_miss_is_read_as_it_was_meant(typed, meant):
    assert respelled(typed) == meant
    assert respelled(meant) == meant


@pytest.mark.parametrize("word", ORDINARY)
def test_an_ordinary_word_stays_itself(word):
    assert respelled(word) == word


def test_it_is_told_which_kind_was_read():
    assert told("segment the crak") == 'I read "crak" as crack.'
    assert told("craks and stians, plaese") == 'I read "craks" as cracks and "stians" as stains.'
    assert told("plaese segment the crack") is None  # which defects are meant is not changed by that


def test_every_kind_here_is_a_kind():
    assert all(kinds_in(word) for word in KINDS)

"""Questions that single findings out are answered from what was measured; all others are left to the words."""

from dataclasses import replace

import pytest

from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.measured_answers import measured_answer
from agvas_core.engines.ruler import NO_SCALE
from agvas_core.regions import with_kinds
from agvas_core.structures import Conversation, Done, Request, TextDelta, Turn
from tests.engines.test_pointing import CRACK, FIVE, HOLE, STAIN
from tests.engines.test_referring import spots


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("How big is the smallest defect?", "The hole in the center covers about 0.1 % of the image (1,200 px)."),
        ("how large is the crack in mm?", "The crack in the lower right covers about 0.3 % of the image (2,700 px). "
         + NO_SCALE),
        ("How big is the second one?", "The hole in the upper right covers about 1.0 % of the image (10,000 px)."),
        ("What size is region 2 in px?", "The hole in the upper right covers about 1.0 % of the image (10,000 px)."),
        ("How big is the dent?", "I see no dent."),
        ("Is the center hole bigger than the stain?",
         "No: the hole in the center covers 0.1 % of the image, the stain in the lower left 2.4 %."),
        ("is the hole in the center smaller than region 1?",
         "Yes: the hole in the center covers 0.1 % of the image, the stain in the lower left 2.4 %."),
        ("Which is bigger, region 1 or 2?",
         "The stain in the lower left is larger: 2.4 %, the hole in the upper right 1.0 %."),
        ("How many holes are there?", "I count two holes. They lie in the upper right and in the center."),
        ("How many defects are larger than 1.5 %?", "I count one stain. It lies in the lower left."),
        ("how many defects are on the right?",
         "I count two findings: a hole in the upper right and a crack in the lower right."),
        ("How many holes are there, and how big is the largest?", "I count two holes. They lie in the upper right and "
         "in the center. The hole in the upper right covers about 1.0 % of the image (10,000 px)."),
        ("how many dents are there?", "None: I see no dent."),
        ("Are there any defects on the right?",
         "I see a hole in the upper right (1.0 % of the image) and a crack in the lower right (0.3 % of the image)."),
        ("what is number 3?", "Region 3 is a crack in the lower right, 0.3 % of the image."),
        ("how deep is the crack?", "I cannot say how deep anything is: a photo shows no depth."),
        ("does it go all the way through?", "I cannot say how deep anything is: a photo shows no depth."),
        ("is the upper left clean?", "I see a fiber in the upper left (0.3 % of the image)."),
        ("What is the diameter of the crack?",
         "The crack in the lower right covers about 0.3 % of the image (2,700 px)."),
        ("Where is region 3?", "Region 3 is a crack in the lower right, 0.3 % of the image."),
        ("What is region 6?", "Region 6 is part of a hole in the center, 0.1 % of the image."),
        ("what is region 9?", "There is no region 9."),
        ("list the holes", "The hole in the upper right covers about 1.0 % of the image (10,000 px) and the hole in "
         "the center covers about 0.1 % of the image (1,200 px)."),
        ("where is the largest defect?", "That is a stain in the lower left (2.4 % of the image)."),
        ("is there a scratch on the left?", "I see no scratch on the left."),
        ("list all defects with their sizes on the right",
         "The hole in the upper right covers about 1.0 % of the image (10,000 px) and the crack in the lower right "
         "covers about 0.3 % of the image (2,700 px)."),
        ("how big are the holes together?", "Together they cover about 1.1 % of the image."),
        ("where are the largest two?", "Those are a stain in the lower left (2.4 % of the image) and a hole in the "
         "upper right (1.0 % of the image)."),
        ("how much of the surface is damaged?", "The five findings cover about 4.0 % of the image in all."),
    ],
)  # fmt: skip
def test_what_a_question_singles_out_is_measured(question, said):
    assert measured_answer(question, FIVE) == said


@pytest.mark.parametrize(
    "question",
    [
        "", "how big is it?", "how many are there?", "what is wrong with it?", "What caused the largest defect?",
        "why is the left one bad?", "what color is region 2?", "Is the stain on the left serious?", "hello",
        "what should the upper left look like?", "is more than 5 % of it damaged?",
        "segment what is bigger than the crack", "is the stain bigger than the stain?",
        "what does part number 12 mean?", "what is the diameter of the nut?",
        "where are the defects?", "is this part good, and where not?",
    ],
)  # fmt: skip
def test_other_questions_are_left_to_the_words(question):
    assert measured_answer(question, FIVE) is None


def test_without_findings_or_with_kinds_that_were_not_read_the_words_answer():
    assert measured_answer("how big is the largest?", []) is None
    assert measured_answer("is it good?", []) is None and measured_answer("any holes on the left?", []) is None
    unread = [replace(STAIN, kind="")]
    assert measured_answer("how many holes are there?", unread) is None
    assert measured_answer("how big is region 1?", unread).startswith("The defect in the lower left covers about 2.4 %")


def test_where_nothing_is_marked_a_place_or_a_number_holds_nothing():
    """To "what about the upper left?" the words told of a color cast, to "is region 1 a mole?" they declined."""
    assert measured_answer("what about the upper left?", []) == "I see nothing unusual in the upper left."
    assert measured_answer("is region 1 a mole?", []) == "There is no region 1: nothing is marked."
    assert measured_answer("how big is region 2?", []) == "There is no region 2: nothing is marked."


def test_what_is_alike_at_one_place_is_counted():
    same = [CRACK, CRACK, HOLE]
    assert measured_answer("how many are on the right?", same) == (
        "I count three findings: two cracks in the lower right and a hole in the upper right."
    )
    assert measured_answer("how many cracks?", same) == "I count two cracks. They lie in the lower right."


def test_findings_of_one_kind_at_one_place_are_told_apart_by_their_regions():
    """Three were listed as "the contamination at the top" each; "between 1 and 2" only said where something lies."""
    twins = [CRACK, replace(CRACK, numbers=frozenset({5, 6}), area_px=900, percent=0.09), HOLE]
    told = measured_answer("list them", twins)
    assert told.startswith(
        "The crack in the lower right (region 3) covers about 0.3 % of the image (2,700 px), the crack"
    )
    assert "the crack in the lower right (regions 5 and 6) covers" in told and told.count("(region") == 2
    assert measured_answer("what is the difference between 3 and 5?", twins) == (
        "Region 3 is a crack in the lower right, 0.3 % of the image and region 5 is part of a crack in the lower "
        "right, 0.09 % of the image."
    )


def test_the_engine_answers_so_about_the_mask_that_is_shown(checkpoint, picture, monkeypatch):
    engine, image = AGVASEngine(checkpoint, engine_id="test", name="Test"), picture()
    shown = with_kinds(spots(5, image.size_hw[1] - 20, size_hw=image.size_hw), [("hole", 0.9), ("scratch", 0.9)])
    config = engine.predictor.model.config
    reads_kinds = replace(config, decoder=replace(config.decoder, measured_kinds=True))
    monkeypatch.setattr(engine.predictor.model, "config", reads_kinds)
    monkeypatch.setattr(engine.predictor, "region_kinds", lambda encoded, masks: [("hole", 0.9), ("scratch", 0.9)])
    before = Conversation().with_image(image).with_turn(Turn("user", "segment the defects", image.image_id))
    before = before.with_turn(Turn("assistant", "Sure.", image.image_id, "direct", shown))
    events = list(engine.respond(before, Request("How many are on the right?", image.image_id, mode="chat")))
    assert [e.text for e in events if isinstance(e, TextDelta)][0].startswith(
        "I count one hole. It lies in the upper right"
    )
    assert isinstance(events[-1], Done) and events[-1].tokens == 0


def test_how_far_and_where_exactly_findings_reach():
    one = [replace(STAIN, box_xyxy=(10, 20, 110, 60))]
    assert measured_answer("how long is it?", one) == (
        "The stain in the lower left covers about 2.4 % of the image (24,000 px, in 100 x 40 px)."
    )
    assert measured_answer("give me the coordinates of the stain", one) == (
        "The stain in the lower left covers about 2.4 % of the image (24,000 px, x 10 to 110, y 20 to 60)."
    )
    assert measured_answer("how long is it?", FIVE) is None  # which of them?
    two = [*one, replace(FIVE[1], box_xyxy=(70, 0, 110, 20))]
    assert measured_answer("how far apart are region 1 and region 2?", two) == (
        "From the middle of the stain in the lower left to that of the hole in the upper right it is about 42 px."
    )
    assert measured_answer("what is its area in pixels?", one) == measured_answer("list all", one)
    assert measured_answer("list all as a table", one).splitlines()[2] == (
        "| 1 | stain | lower left | 2.4 % | 24,000 px | 10, 20, 110, 60 |"
    )
    assert measured_answer("list all defects", [STAIN] * 8).endswith("and two smaller ones.")


def test_a_regions_number_is_that_of_the_mask_which_is_seen_last(checkpoint, picture, monkeypatch):
    """After "ignore the hole" region 1 is the scratch, though the whole mask's is the hole."""
    engine, image = AGVASEngine(checkpoint, engine_id="test", name="Test"), picture()
    config = engine.predictor.model.config
    reads_kinds = replace(config, decoder=replace(config.decoder, measured_kinds=True))
    monkeypatch.setattr(engine.predictor.model, "config", reads_kinds)
    monkeypatch.setattr(engine.predictor, "region_kinds", lambda encoded, masks: [("scratch", 0.9)] * len(masks))
    before = Conversation().with_image(image)
    for words, lefts in (("segment the defects", (5, image.size_hw[1] - 20)), ("only the left one", (5,))):
        shown = with_kinds(spots(*lefts, size_hw=image.size_hw), [("scratch", 0.9)] * len(lefts))
        before = before.with_turn(Turn("user", words, image.image_id))
        before = before.with_turn(Turn("assistant", "Sure.", image.image_id, "direct", shown))
    events = list(engine.respond(before, Request("What is region 1?", image.image_id, mode="chat")))
    assert [e.text for e in events if isinstance(e, TextDelta)][0].startswith("Region 1 is a scratch in the upper left")

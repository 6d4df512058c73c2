"""Words that ask for a part: what they choose of a mask that shows everything, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.ask import ask
from agvas_core.engines.referring import ALL_SHOWN, singled_out
from agvas_core.engines.ruled import RuledEngine
from agvas_core.regions import make_prediction, rethreshold, with_kinds
from agvas_core.structures import Request

HW = (90, 180)


def spots(*lefts, size_hw=HW, top=10):
    """Return a prediction with a square at each of the columns, each 1 px larger than the one before."""
    found = np.zeros(size_hw, np.float32)
    for n, left in enumerate(lefts):
        found[top : top + 8 + n, left : left + 8 + n] = 0.9
    return make_prediction(image_id="x", p_seg=found, p_nor=1 - found, p_ano=found)


def three():
    """Return a crack in the upper left (region 3), a stain at the top (2) and a scratch in the upper right (1)."""
    return with_kinds(spots(5, 80, 160), [("scratch", 0.9), ("stain", 0.4), ("crack", 0.8)])


def shown(words, prediction=None):
    """Return the columns where the mask that the words mean begins, left to right, and what is said."""
    prediction = prediction or three()
    found, said = singled_out(words, prediction, lambda: prediction, "agvas-nano")
    return sorted(region.box_xyxy[0] for region in found.regions), said


def test_the_only_finding_is_all_that_words_can_ask_for():
    """Of a broken crack's two regions "mark those only" was said to be a part that could not be singled out."""
    broken = with_kinds(spots(5, 16), [("crack", 0.9)] * 2)
    assert len({region.finding for region in broken.regions}) == 1
    assert shown("mark those only", broken) == ([5, 16], None)


@pytest.mark.parametrize(
    ("words", "columns"),
    [
        ("segment only the scratch", [160]),
        ("segment the cracks and explain", [5]),
        ("mark the one on the left", [5]),
        ("segment only the rightmost defect", [160]),
        ("segment the upper right one", [160]),
        ("the largest", [160]),
        ("only the smallest one", [5]),
        ("segment everything except the stain", [5, 160]),
        ("segment everything except region 2", [5, 160]),
        ("segment all but not the largest", [5, 80]),
        ("segment only the scratch, ignore everything else", [160]),
        ("segment at least the scratches", [160]),
        ("only regions 1 and 3", [5, 160]),
        ("ignore the stain", [5, 160]),
        ("ignore everything except the scratch", [160]),
        ("Exclude all but the left one", [5]),
        ("There is a scratch on the right. Mark it.", [160]),
        ("segment the one on the left not on the right side", [5]),
        ("only the left cracked one", [5]),
        ("\N{CJK UNIFIED IDEOGRAPH-53EA}\N{CJK UNIFIED IDEOGRAPH-770B}\N{CJK UNIFIED IDEOGRAPH-533A}"
         "\N{CJK UNIFIED IDEOGRAPH-57DF}2\N{CJK UNIFIED IDEOGRAPH-7684}", [80]),  # only look at region 2
        ("segment the left scratch, it is clear", [160]),
        ("segment region 2", [80]),
        ("only the left stain", [80]),  # not in the left third, but the only stain
        ("\N{CJK UNIFIED IDEOGRAPH-53EA}\N{CJK UNIFIED IDEOGRAPH-6807}\N{CJK UNIFIED IDEOGRAPH-51FA}"
         "\N{CJK UNIFIED IDEOGRAPH-6700}\N{CJK UNIFIED IDEOGRAPH-5927}", [160]),  # only mark the largest
    ],
)  # fmt: skip
def test_words_choose_among_the_findings(words, columns):
    chosen, said = shown(words)
    assert chosen == columns
    count = f"of its 3 regions your words chose {len(columns)}"
    assert said == f"The anchors marked everything; {count}, and the mask shows no other."


def test_the_one_on_a_side_is_the_outermost_where_none_lies_there():
    middle = spots(70, 100, top=40)
    assert [shown(f"segment only the {side} one", middle)[0] for side in ("left", "right")] == [[70], [100]]


def test_close_parts_of_one_finding_stay_together():
    near = spots(5, 16, 160)  # the first two are one finding
    assert shown("only the left one", near)[0] == [5, 16]
    assert shown("segment region 2", near)[0] == [16]  # numbers mean regions, as they are drawn


def test_what_was_left_out_stays_out_under_another_threshold():
    found, _ = singled_out("only the scratch", three(), three, "agvas-nano")
    assert found.regions[0].kind == "scratch" and found.regions[0].kind_score == 0.9
    assert found.anomaly_map[:, :150].max() == 0 and found.pred_score == pytest.approx(0.9)


@pytest.mark.parametrize("words", ["just the dark one", "segment region 7"])
def test_everything_although_a_part_was_asked_for_is_said(words):
    columns, said = shown(words)
    assert columns == [5, 80, 160]
    assert said is not None and said.startswith(ALL_SHOWN) and "agvas-nano:rules" in said


@pytest.mark.parametrize(
    ("words", "found"),
    [("segment the anomalies", (5, 160)), ("segment only the left one", (5,)), ("segment only the left one", (5, 60))],
)
def test_all_that_was_asked_for_one_finding_and_another_mask_stay_as_they_are(words, found):
    prediction = spots(*found)
    assert singled_out(words, prediction, lambda: spots(5, 160), "agvas-nano") == (prediction, None)


def hole():
    """Return a single hole in the upper left."""
    return with_kinds(spots(5), [("hole", 0.6)])


@pytest.mark.parametrize(
    ("words", "prediction", "said"),
    [
        ("segment only the scratch", hole(), "There is no scratch among the findings, as far as I can tell, so nothing "
         "is marked. What I see: a hole in the upper left."),
        ("segment all pits and dents", three(), "no pit or dent among"),
        ("segment only scratch defects", hole(), "no scratch among"),
        ("ignore the holes", hole(), "leave out all that I found"),
        ("only the fibre", spots(5), None),  # of what kind it is the engine cannot tell
    ],
)  # fmt: skip
def test_a_kind_that_was_not_found_once_left_the_other_defects_marked(words, prediction, said):
    """Asked for "only the scratch", it showed a hole and said that the scratch "could not be singled out"."""
    found, told = singled_out(words, prediction, lambda: prediction, "agvas-nano")
    if said is None:
        assert found is prediction and told is not None and told.startswith(ALL_SHOWN)
        return
    assert told is not None and said in told and ALL_SHOWN not in told
    assert found.verdict == "other" and not found.pred_mask.any() and found.regions == ()
    assert rethreshold(found, threshold=0.95).verdict == "other"  # a slider does not turn it into "No anomaly found"


def test_a_kind_that_may_have_been_misread_is_shown_at_its_place_and_no_landmark_empties_the_mask():
    columns, said = shown("segment the hole in the upper right")
    assert columns == [160] and "no hole among" in said and said.endswith("marked: a scratch in the upper right.")
    columns, said = shown("segment the defect near the hole")
    assert columns == [5, 80, 160] and "shows everything that was found" in said
    columns, said = shown("segment everything except the hole")
    assert columns == [5, 80, 160] and said.endswith(
        "no hole among the findings, as far as I can tell, so nothing is left out of the mask."
    )


def test_all_of_the_kind_that_was_asked_for_once_could_not_be_singled_out():
    both = with_kinds(spots(5, 160), [("hole", 0.9), ("hole", 0.9)])
    assert singled_out("segment only the holes", both, lambda: both, "agvas-nano") == (both, None)


def test_anchors_that_mark_nothing_of_a_part_do_not_say_that_nothing_is_there():
    nothing = spots()
    found, said = singled_out("segment only the dark one", nothing, three, "agvas-nano")
    assert found.verdict == "other" and "Asked for all anomalies, I mark: a scratch in the upper right" in said
    found, said = singled_out("segment only the scratch", nothing, three, "agvas-nano")
    assert [region.kind for region in found.regions] == ["scratch"] and said.startswith("The anchors marked something")
    assert singled_out("segment only the scratch", nothing, spots, "agvas-nano") == (nothing, None)


@pytest.mark.parametrize(
    ("words", "columns"),
    [("ignore the scratch", [5, 80]), ("segment only region 2", [80]), ("everything except the crack", [80, 160])],
)
def test_anchors_that_mark_something_else_than_the_words_name_do_not_decide(words, columns):
    """Asked to ignore the burn, the anchors marked it alone."""
    other = with_kinds(spots(160), [("scratch", 0.9)])
    found, said = singled_out(words, other, three, "agvas-nano")
    assert sorted(region.box_xyxy[0] for region in found.regions) == columns
    assert (
        said == f"The anchors marked something else; of the 3 regions your words chose {len(columns)}, and the mask "
        "shows no other."
    )


@pytest.mark.parametrize("mode", ["direct", "explain", "describe"])
def test_no_words_say_that_nothing_was_found_where_something_else_was(checkpoint, picture, monkeypatch, mode):
    engine = AGVASEngine(checkpoint, engine_id="test", name="Test")
    image = picture()
    everything = with_kinds(spots(5, size_hw=image.size_hw), [("hole", 0.9)])
    monkeypatch.setattr(engine.predictor, "decode", lambda prefix, encoded, **options: everything)
    monkeypatch.setattr(engine.predictor, "glance", lambda image, **options: everything)
    monkeypatch.setattr(engine.predictor, "region_kinds", lambda encoded, masks: [("hole", 0.9)] * len(masks))
    reply = ask(engine, image, Request("segment only the scratch", mode=mode))
    assert reply.prediction.verdict == "other" and reply.notices == ()
    assert reply.text.startswith("There is no scratch among the findings") and "a hole in the" in reply.text


def test_the_engine_says_it_once_and_rules_speak_for_themselves(checkpoint, picture, monkeypatch):
    engine = AGVASEngine(checkpoint, engine_id="test", name="Test")
    image = picture()
    everything = spots(5, image.size_hw[1] - 20, size_hw=image.size_hw)
    monkeypatch.setattr(engine.predictor, "decode", lambda prefix, encoded, **options: everything)
    for mode in ("direct", "explain"):
        part = Request("segment only the dark one", mode=mode, max_new_tokens=2)
        told = [n for n in ask(engine, image, part).notices if n.startswith(ALL_SHOWN)]
        assert len(told) == 1 and "test:rules" in told[0]
        left = ask(engine, image, Request("segment only the left one", mode=mode, max_new_tokens=2))
        assert len(left.prediction.regions) == 1 and "chose 1" in left.notices[0]
    whole = Request("segment the anomalies", mode="direct")
    assert ask(engine, image, whole).notices == ()
    ruled = ask(RuledEngine(engine), image, Request("segment only the dark one", mode="direct")).notices
    assert len(ruled) == 1 and ruled[0].startswith("Rules: ")


@pytest.mark.parametrize(
    "words",
    [
        "Is this part all right?", "mark it right now", "mark everything, even the smallest defect", "at least mark it",
        "mark them all, nothing else", "segment the defects on the top cover",
        "Segment the defects; the stains are normal.",
    ],
)  # fmt: skip
def test_words_that_only_look_as_if_they_pointed_leave_the_mask_whole(words):
    assert shown(words) == ([5, 80, 160], None)


def test_all_findings_within_other_borders_are_still_all_of_them():
    """A burn was once shown for "only the scratch", for its outline differed a little from the glance's."""
    whole, narrow = spots(5, 80), np.zeros(HW, np.float32)
    narrow[12:15, 7:10] = narrow[12:15, 82:85] = 0.9  # the same two, much smaller
    smaller = make_prediction(image_id="x", p_seg=narrow, p_nor=1 - narrow, p_ano=narrow)
    burns = with_kinds(smaller, [("burn", 0.9), ("burn", 0.9)])
    whole = with_kinds(whole, [("burn", 0.9), ("burn", 0.9)])
    found, said = singled_out("segment only the scratch", burns, lambda: whole, "agvas-nano")
    assert found.verdict == "other" and not found.regions and "no scratch" in said
    one = with_kinds(rethreshold(spots(5), threshold=0.5), [("burn", 0.9)])  # one of the two, and the words name both
    assert len(singled_out("segment only the burns", one, lambda: whole, "agvas-nano")[0].regions) == 2
    assert singled_out("segment only the left burn", one, lambda: whole, "agvas-nano") == (one, None)
    assert singled_out("segment only the scratch", one, lambda: whole, "agvas-nano")[0].verdict == "other"

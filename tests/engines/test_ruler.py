"""Findings in millimeters: by the user's scale, against his limits, and never without one."""

import numpy as np
import pytest

from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.measured_answers import measured_answer
from agvas_core.engines.pointing import choose, findings_of
from agvas_core.engines.referring import singled_out
from agvas_core.engines.ruler import NO_OBJECT, NO_SCALE, Ruler, in_px, noted, with_lengths
from agvas_core.processing import open_image
from agvas_core.regions import make_prediction, with_kinds
from agvas_core.scale import Scale
from agvas_core.structures import Conversation, MaskReady, Notice, Request, TextDelta, Turn
from tests.engines.test_referring import spots

SCALE = Scale(0.1)


def two_marks():
    """Return a scratch of 40 x 2 px in the upper left and a hole of 10 x 10 px in the lower right, of 100 x 100 px."""
    p = np.zeros((100, 100), dtype=np.float32)
    p[10:12, 5:45] = p[80:90, 80:90] = 0.9
    made = make_prediction(image_id="x", p_seg=p, p_nor=1 - p, p_ano=p)
    return with_kinds(made, [("hole", 0.9), ("scratch", 0.9)])


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("how long is the scratch?", "The scratch in the upper left covers about 0.8 % of the image (4 mm long, 0.2 mm "
         "wide, 0.8 mm²)."),
        ("is the scratch longer than 3 mm?", "Yes: the scratch in the upper left is 4 mm long."),
        ("Is the scratch within 3 mm?", "No: the scratch in the upper left is 4 mm long."),
        ("is the scratch wider than 500 µm", "No: the scratch in the upper left is 0.2 mm wide."),
        ("are there any defects longer than 2 mm?", "One of the two findings: the scratch in the upper left is 4 mm "
         "long."),
        ("is anything longer than 1 cm?", "None of the two findings: the scratch in the upper left is 4 mm long."),
        ("are all of them smaller than 5 mm?", "Both findings: the hole in the lower right is 1.4 mm long "
         "and the scratch in the upper left is 4 mm long."),
        ("does the hole cover more than 2 mm²?", "No: the hole in the lower right covers 1 mm²."),
        ("does the hole cover more than 0.5 square mm?", "Yes: the hole in the lower right covers 1 mm²."),
        ("is the dent longer than 2 mm?", "I see no dent."),
        ("how big are the holes together?", "Together they cover about 1.0 % of the image (1 mm²)."),
        ("how far apart are region 1 and region 2?", "From the middle of the hole in the lower right to that of the "
         "scratch in the upper left it is about 95 px (9.5 mm)."),
    ],
)  # fmt: skip
def test_findings_are_told_by_the_scale_and_against_limits(question, said):
    marks = two_marks()
    assert measured_answer(question, findings_of(marks), Ruler(marks, SCALE)) == said


def test_without_a_scale_lengths_are_px_and_limits_in_mm_ask_for_one():
    marks = two_marks()
    told = [
        measured_answer(q, findings_of(marks), Ruler(marks)) for q in ("how long is the scratch?", "is it over 2 mm?")
    ]
    assert told[0].endswith("(40 px long, 2 px wide).") and told[1] == NO_SCALE


def test_a_scale_said_in_the_chat_is_noted_and_measures_what_was_shown(checkpoint, picture):
    engine, image = AGVASEngine(checkpoint, engine_id="test", name="Test"), picture()
    shown = spots(5, image.size_hw[1] - 20, size_hw=image.size_hw)
    before = Conversation().with_image(image).with_turn(Turn("user", "segment the defects", image.image_id))
    before = before.with_turn(Turn("assistant", "Sure.", image.image_id, "direct", shown))
    events = list(engine.respond(before, Request("1 px is 0.1 mm", image.image_id)))
    assert [e.text for e in events if isinstance(e, Notice)] == [noted(SCALE, image)]
    assert not [e for e in events if isinstance(e, MaskReady)]
    events = list(engine.respond(before, Request("1 px is 0.1 mm", image.image_id, mode="explain", threshold=0.0)))
    notices = [e.text for e in events if isinstance(e, Notice)]
    assert notices[0] == noted(SCALE, image) and "mm long" in notices[1]
    assert [e for e in events if isinstance(e, TextDelta)]


def test_the_objects_size_is_noted_with_what_was_measured_or_a_scale_is_asked_for(checkpoint):
    engine = AGVASEngine(checkpoint, engine_id="test", name="Test")
    rgb = np.full((100, 120, 3), 30, dtype=np.uint8)
    for fill, said in ((200, "Noted: the object is 60 px wide. So 1 px is "), (30, NO_OBJECT)):
        rgb[20:80, 30:90] = fill
        image = open_image(rgb.copy())
        asked = Request("The nut is 6 mm wide. Segment the defects.", image.image_id, mode="direct", threshold=0.0)
        events = list(engine.respond(Conversation().with_image(image), asked))
        notices = [e.text for e in events if isinstance(e, Notice)]
        assert notices[0].startswith(said) and [e for e in events if isinstance(e, MaskReady)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("only what is longer than 2 mm", "only what is longer than 20.00 px"),
        ("Ignore anything under 0,5 cm", "ignore anything shorter than 50.00 px"),
        ("defects wider than 300 µm", "defects wider than 3.00 px"),
        ("mark stains above 2 square mm", "mark stains larger than 200.00 px"),
        ("only the scratch", "only the scratch"),
    ],
)
def test_limits_in_millimeters_become_limits_in_px(words, said):
    assert in_px(words, SCALE) == said


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("only what is longer than 2 mm", {2}), ("ignore anything smaller than 2 mm", {2}), ("wider than 0.5 mm", {1}),
        ("only what is shorter than 3 mm", {1}), ("only defects larger than 0.9 mm²", {1}), ("longer than 9 mm", set()),
    ],
)  # fmt: skip
def test_words_choose_findings_by_their_lengths(words, numbers):
    marks = two_marks()
    chosen = in_px(words, SCALE)
    assert choose(chosen, with_lengths(findings_of(marks), marks)) == numbers
    shown, _ = singled_out(f"mark {chosen}", marks, lambda: marks, "test")
    assert {r.kind for r in shown.regions} == {{1: "hole", 2: "scratch"}[n] for n in numbers}


def test_a_mask_by_lengths_without_a_scale_is_whole_and_asks_for_one(checkpoint, picture):
    engine, image = AGVASEngine(checkpoint, engine_id="test", name="Test"), picture()
    words = "mark only what is longer than 2 mm"
    talk = Conversation().with_image(image)

    def notices(**more):
        events = engine.respond(talk, Request(words, image.image_id, mode="explain", threshold=0.0, **more))
        return [e.text for e in events if isinstance(e, Notice)]

    assert NO_SCALE in notices() and NO_SCALE not in notices(mm_per_px=0.1)


def test_a_table_has_sizes_by_the_scale():
    marks = two_marks()
    table = measured_answer("list all as a table", findings_of(marks), Ruler(marks, SCALE))
    assert table.splitlines()[0].count("|") == table.splitlines()[2].count("|") == 7
    assert "| 1.4 mm long, 1 mm wide, 1 mm² |" in table
    assert "| 100 px |" in measured_answer("list all as a table", findings_of(marks), Ruler(marks))


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("is it the only one?", "No. I count two findings: a hole in the lower right and a scratch in the upper left."),
        ("how far is the scratch from the edge?", "The scratch in the upper left is 5 px (0.5 mm) from the left edge "
         "of the image."),
        ("is the scratch round?", "The scratch in the upper left is 20.0 times as long as it is wide."),
        ("is the hole round?", "The hole in the lower right is 1.4 times as long as it is wide."),
        ("how many percent of it is affected?", "The two findings cover about 1.8 % of the image in all."),
    ],
)  # fmt: skip
def test_what_else_a_mask_can_say(question, said):
    """These were answered with the kind or the place of the largest finding."""
    marks = two_marks()
    assert measured_answer(question, findings_of(marks), Ruler(marks, SCALE)) == said


def test_the_only_finding_is_told_and_what_touches_the_edge():
    p = np.zeros((50, 50), dtype=np.float32)
    p[20:30, 45:50] = 0.9
    one = with_kinds(make_prediction(image_id="x", p_seg=p, p_nor=1 - p, p_ano=p), [("dent", 0.9)])
    findings, ruler = findings_of(one), Ruler(one)
    alone = measured_answer("is this the only defect?", findings, ruler)
    assert alone == "Yes: nothing is marked but the dent on the right."
    assert measured_answer("how close is it to the border?", findings, ruler) == (
        "The dent on the right touches the right edge of the image."
    )
    listed = measured_answer("compare the two defects", findings_of(two_marks()), Ruler(two_marks()))
    assert listed.startswith("The hole in the lower right covers about 1.0 %")
    assert measured_answer("compare these two photos", findings_of(two_marks()), Ruler(two_marks())) is None

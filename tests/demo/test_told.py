"""What the page answers by itself, and what it leaves to the engine."""

import pytest

from demo.handlers import Settings, ask
from tests.demo.pictures import spotted
from tests.demo.test_handlers import finish, last


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("zoom in", "Enlarge"), ("change the alpha", "sliders"), ("set the threshold to 7", "sliders"),
        ("show me the heat map", "heat map"), ("hide the mask", "plain photo"), ("clear the overlay please", "photo"),
        ("give me the coordinates as JSON", "regions.json"), ("Export to CSV.", "regions.json"),
        ("start over", "New chat"), ("can you reset the chat?", "New chat"), ("调整一下阈值", "sliders"),
    ],
)  # fmt: skip
def test_what_a_control_does_is_told_by_the_page(session, desk, engine, photo, words, said):
    """The engine once answered "zoom in" with what a normal part looks like."""
    finish(ask(session, desk, words, [], Settings(mode="chat")))
    assert len(engine.seen) == 1  # nothing is shown that a control could change
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    finish(ask(session, desk, words, [], Settings()))
    assert said in last(session).notices[0] and len(engine.seen) == 2 and not last(session).running
    finish(ask(session, desk, "and why?", [], Settings()))
    assert words not in [turn.text for turn in engine.seen[-1][0].turns[2:]]  # it was not asked


@pytest.mark.parametrize(
    "words",
    [
        "segment the defects", "remove region 1", "remove the hole from the mask", "show me only the biggest",
        "clear the dust", "is the hole bigger than the stain?", "what is the threshold?", "undo the damage how?",
        "list all defects", "which defect is the worst?", "how many images?",
    ],
)  # fmt: skip
def test_what_is_asked_of_the_image_goes_to_the_engine(session, desk, engine, photo, words):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    finish(ask(session, desk, words, [], Settings()))
    assert len(engine.seen) == 2 and len(session.exchanges) == 2


@pytest.mark.parametrize(
    ("words", "threshold"),
    [
        ("Please lower the threshold to 0.3", 0.3), ("set the threshold to 70 %", 0.7), ("be more sensitive", 0.4),
        ("less sensitive please", 0.6), ("raise the threshold by 0.25", 0.75), ("把阈值降低到0.2", 0.2),
        ("lower the threshold", 0.4),
    ],
)  # fmt: skip
def test_words_move_the_threshold(session, desk, engine, photo, words, threshold):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    shown = session.selected
    finish(ask(session, desk, words, [], Settings()))
    assert shown.prediction.threshold == session.knobs.threshold == threshold and len(engine.seen) == 1
    said = last(session).notices[0]
    assert f"{threshold:.2f} now" in said or f"{threshold:.2f}，" in said
    assert shown.facts["threshold"] == threshold and session.selected is shown


@pytest.mark.parametrize("words", ["undo that", "Undo", "please take that back", "never mind", "撤销"])
def test_undo_in_words_is_undo(session, desk, engine, photo, words):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    first = session.exchanges[0].reply
    finish(ask(session, desk, "segment the first spot", [], Settings(mode="direct")))
    finish(ask(session, desk, words, [], Settings()))
    assert [e.reply for e in session.exchanges] == [first] and session.selected is first and len(engine.seen) == 2


def test_all_images_are_summed_up_from_their_masks(session, desk, engine, photo, clean, tmp_path):
    """Of three images the engine once told the defects of the current one."""
    finish(ask(session, desk, "segment", [photo, clean], Settings(mode="direct")))
    third = tmp_path / "third.png"
    spotted(1).save(third)
    finish(ask(session, desk, "hello", [str(third)], Settings(mode="chat")))
    for words in ("which images have defects?", "summary of all images", "Which of the three is worst?"):
        finish(ask(session, desk, words, [], Settings()))
        lines = last(session).notices
        assert lines[0].startswith("Image 1: anomaly") and lines[1].startswith("Image 2: no anomaly")
        assert lines[2] == "Image 3, third.png: not inspected yet." and len(engine.seen) == 3
    finish(ask(session, desk, "segment all images", [], Settings()))
    assert len(engine.seen) == 4

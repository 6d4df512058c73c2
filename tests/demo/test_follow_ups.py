"""Questions offered below a reply: they fit its own facts, are few, and what was asked is not offered again."""

from __future__ import annotations

import pytest

from agvas_core.asking import wants_whole_again
from demo import draw, handlers
from demo.follow_ups import MOST, follow_ups
from demo.handlers import Settings
from demo.i18n import WORDS
from tests.fakes import second_engine, untrained_engine


def ask(session, desk, words, *paths, mode="explain"):
    """Ask, and return what is offered then."""
    for reply in handlers.ask(session, desk, words, paths, Settings(mode=mode)):
        assert reply is None or not reply.running or follow_ups(session, session.exchanges[-1]) == []
    return follow_ups(session, session.exchanges[-1])


def test_what_is_offered_fits_the_mask(session, desk, photo, clean):
    assert ask(session, desk, "segment", photo) == [
        "Where exactly?",
        "How big is region 1?",
        "What may have caused it?",
    ]
    assert ask(session, desk, "segment", clean) == ["How sure are you?", "Lower the threshold", "This is a good part."]
    assert "Only the largest" not in ask(session, desk, "segment only the largest", photo)


def test_of_one_finding_no_number_is_named_and_a_part_can_be_widened(session, desk, photo, tmp_path):
    from tests.demo.pictures import spotted

    one = tmp_path / "one.png"
    spotted(1).save(one)
    assert "How big is it?" in ask(session, desk, "segment", str(one))
    ask(session, desk, "only the stain", photo)
    for words in ("Where exactly?", "How big is region 1?", "What may have caused it?"):
        offered = ask(session, desk, words, mode="chat")
    assert "Show all again" in offered and wants_whole_again("Show all again")


def test_what_was_asked_of_the_image_is_not_offered_again(session, desk, photo):
    ask(session, desk, "segment", photo)
    assert "Where exactly?" not in ask(session, desk, "Where exactly?", mode="chat")
    assert len(ask(session, desk, "hello", mode="chat")) == MOST


@pytest.mark.parametrize("words", ["segment", "crash"])
def test_nothing_is_offered_where_there_is_no_mask(session, desk, photo, words):
    assert ask(session, desk, "hello") == []  # there is no image
    paths = [photo] if words == "crash" else []
    assert ask(session, desk, words, *paths) == []


def test_nothing_is_offered_by_untrained_weights_or_beside_another_engine(session, photo):
    from demo.desk import EngineDesk

    two = EngineDesk(["fake", "second"], lambda name: second_engine(pause_s=0.0))
    assert ask(session, two, "segment", photo)
    for _ in handlers.ask_other(session, two, "second"):
        pass
    assert follow_ups(session, session.exchanges[-1]) == []
    assert ask(session, EngineDesk(["fake"], lambda _: untrained_engine()), "segment", photo) == []


def test_they_stand_above_the_message_box_as_buttons_that_ask(session, desk, photo):
    assert draw.above_box(session) == ""
    ask(session, desk, "segment", photo)
    shown = draw.above_box(session)
    assert shown.count('data-agv="ask"') == MOST and 'data-value="Where exactly?">Where exactly?</button>' in shown
    session.lang = "zh"
    assert "缺陷在哪里？" in draw.above_box(session)


def test_they_are_short_in_both_languages():
    words = [pair for key, pair in WORDS.items() if key.startswith("next_") and key != "next_reply"]
    assert len(words) == 9 and all(len(english) <= 24 and len(chinese) <= 10 for english, chinese in words)

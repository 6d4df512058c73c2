"""A reply that is begun again shows nothing twice and loses nothing."""

import numpy as np

from agvas_core.engines.begun_again import BEGUN_AGAIN, Shown
from agvas_core.regions import make_prediction
from agvas_core.structures import MaskReady, Notice, Stage, TextDelta


def mask(level):
    p = np.full((4, 4), level, dtype=np.float32)
    return MaskReady(make_prediction(image_id="i", p_seg=p, p_nor=1 - p, p_ano=p))


def told(shown, *events):
    """Begin the reply, and return what is new of it."""
    shown.begin()
    return [new for event in events for new in shown.fresh(event)]


def texts(events):
    return [e.text for e in events]


def test_words_go_on_where_they_broke_off_also_within_a_piece():
    shown = Shown()
    assert texts(told(shown, TextDelta("There "), TextDelta("is a scr"))) == ["There ", "is a scr"]
    assert texts(told(shown, TextDelta("Th"), TextDelta("ere is"))) == []  # and broke off earlier still
    assert texts(told(shown, TextDelta("There is a "), TextDelta("scratch."), TextDelta(" End"))) == ["atch.", " End"]


def test_a_mask_is_shown_once_unless_it_is_another():
    shown, first = Shown(), mask(0.9)
    assert told(shown, first) == [first]
    assert told(shown, mask(0.9)) == []
    other = mask(0.1)
    assert told(shown, other, mask(0.9))[0] is other
    second = Shown()
    assert len(told(second, mask(0.9), mask(0.9))) == 2  # a reply may show two


def test_a_notice_is_given_once_and_progress_always():
    shown = Shown()
    assert told(shown, Notice("a"), Notice("a"), Stage("s", 0.1)) == [Notice("a"), Notice("a"), Stage("s", 0.1)]
    assert told(shown, Notice("a"), Stage("s", 0.1), Notice("a"), Notice("b")) == [Stage("s", 0.1), Notice("b")]


def test_other_words_are_announced_and_come_whole():
    shown = Shown()
    told(shown, TextDelta("A scratch"))
    assert told(shown, TextDelta("A hole"), TextDelta(" here")) == [
        Notice(BEGUN_AGAIN),
        TextDelta("\n\nA hole"),
        TextDelta(" here"),
    ]
    assert told(
        shown,
        TextDelta("A hole here."),
    ) == [TextDelta(".")]

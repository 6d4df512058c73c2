"""What is no defect after all is left out: statements are orders, questions and praise are not."""

from __future__ import annotations

import time

import pytest

from agvas_core.asking import choose_mode, singles_out
from agvas_core.excuses import as_order


@pytest.mark.parametrize(
    ("words", "order"),
    [
        ("Region 2 is fine.", "ignore region 2"),
        ("Regions 1 and 3 are ok", "ignore regions 1 and 3"),
        ("No, region 2 is a false alarm!", "ignore region 2"),
        ("region 1 is not a defect", "ignore region 1"),
        ("Region 4 isn’t a real defect, remove it", "ignore region 4"),
        ("the stain is normal", "ignore the stain"),
        ("The burn is fine, mark the rest", "ignore the burn"),
        ("the dark spot on the left is just a shadow", "ignore the dark spot on the left"),
        ("the hole in the center is by design", "ignore the hole in the center"),
        ("both stains are acceptable", "ignore both stains"),
        ("the largest one is a false positive", "ignore the largest one"),
        ("the left one is not a defect", "ignore the left one"),
        ("these holes are supposed to be there", "ignore these holes"),
        ("That is not a defect", "ignore it"),
        ("it's a false alarm", "ignore it"),
        ("those are reflections", "ignore it"),
        ("区域2是正常的", "忽略区域2"),
    ],
)
def test_what_words_excuse_is_left_out(words, order):
    assert as_order(words) == order
    assert singles_out(words) == (order != "ignore it")
    assert choose_mode(words, has_image=True, has_previous_mask=True) in ("explain", "chat")


@pytest.mark.parametrize(
    "words",
    [
        "is region 2 fine?", "why is that not a defect?", "that is normal?", "that is fine", "it is ok", "that's good",
        "this is a crack", "the stain is large", "region 2 is a scratch", "the stain is not normal",
        "region 1 is not fine", "is that not a defect", "ignore region 2", "only the scratch",
        "the hole is larger than the stain",
        "the image is 40 mm wide", "", "segment the anomalies", "the part is fine", "this is a good part",
    ],
)  # fmt: skip
def test_questions_praise_and_other_words_excuse_nothing(words):
    assert as_order(words) is None


def test_long_words_are_read_at_once():
    begun = time.perf_counter()
    assert as_order("the stain and the stain " * 500 + "is fine") is None
    assert as_order("no, but so well ok " * 9 + "x") is None
    assert time.perf_counter() - begun < 0.5

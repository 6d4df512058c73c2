"""Questions about two photos that say neither "compare" nor "than"."""

import time

import pytest

from demo.handlers import Settings, ask
from demo.naming import compared_images, image_in_words
from tests.demo.pictures import spotted
from tests.demo.test_handlers import finish, last


@pytest.mark.parametrize(
    ("words", "compares"),
    [
        ("which of these two is worse?", True), ("Which of the two images has more defects?", True),
        ("which one has the fewest defects?", True), ("which picture is cleaner?", True),
        ("which part is more damaged?", True), ("which image has the larger hole?", True),
        ("which of them is larger?", False), ("which region is worse?", False), ("which is worse?", True),
        ("哪张更好？", True),
        ("is this one any worse?", True), ("compare the first hole with the second", False),
        ("is the larger hole worse?", False), ("which defect is the largest?", False), ("which kind is it?", False),
    ],
)  # fmt: skip
def test_which_of_two_photos(session, desk, photo, clean, words, compares):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    assert compared_images(session, words) is None  # there is one
    finish(ask(session, desk, "segment", [clean], Settings(mode="direct")))
    first, second = session.images
    assert compared_images(session, words) == ((second, first) if compares else None)


@pytest.mark.parametrize(
    "words",
    ["and this one?", "same again please", "what about this part?", "Now here", "check this photo, too", "这张呢？"],
)
def test_a_photo_with_no_question_of_its_own_is_asked_what_was_asked_before(session, desk, engine, photo, clean, words):
    """Such words were once read by themselves, and answered without a mask where the question before had one."""
    finish(ask(session, desk, "Is there a hole, and where?", [photo], Settings()))
    finish(ask(session, desk, words, [clean], Settings()))
    assert engine.seen[-1][1].instruction == "Is there a hole, and where?"
    assert "Is there a hole" in last(session).notices[0] and session.exchanges[-1].question == words
    finish(ask(session, desk, "and what about that one?", [], Settings()))  # a region: the image is the same
    assert engine.seen[-1][1].instruction == "and what about that one?"
    finish(ask(session, desk, "how large is it here?", [photo], Settings()))
    assert engine.seen[-1][1].instruction == "how large is it here?"


@pytest.mark.parametrize(
    "words", ["go back to the first image", "image 1 again", "and in the first?", "第一张呢？", "回到第一张图"]
)
def test_back_at_an_image_it_is_asked_what_was_asked_last(session, desk, engine, photo, clean, words):
    for path in (photo, clean):
        finish(ask(session, desk, "Is it good?", [path], Settings()))
    finish(ask(session, desk, "Any holes?", [], Settings()))
    finish(ask(session, desk, words, [], Settings()))
    request = engine.seen[-1][1]
    assert (request.image_id, request.instruction) == (next(iter(session.images)), "Any holes?")
    assert engine.seen[-1][0].turns[-2].text == "Any holes?"


def test_a_new_image_is_asked_what_brought_the_last_mask_and_a_known_one_what_was_asked_last(
    session, desk, engine, photo, clean, tmp_path
):
    """After "what should I do with the machine?" a new photo was asked for that, too."""
    third = tmp_path / "third.png"
    spotted(1).save(third)
    for path in (photo, clean):
        finish(ask(session, desk, "Is it good?", [path], Settings()))
    finish(ask(session, desk, "what should I do with the machine?", [], Settings(mode="chat")))
    finish(ask(session, desk, "and this one?", [str(third)], Settings()))
    assert engine.seen[-1][1].instruction == "Is it good?"
    finish(ask(session, desk, "how large is it?", [], Settings(mode="chat")))
    finish(ask(session, desk, "and in the first?", [], Settings(mode="chat")))
    assert engine.seen[-1][1].instruction == "how large is it?"


def test_an_images_name_is_not_asked_of_it(session, desk, engine, photo, clean):
    """After a comparison "the first one", an image, was read by the engine as a region, too."""
    for path in (photo, clean):
        finish(ask(session, desk, "segment", [path], Settings()))
    finish(ask(session, desk, "In the first image, only the biggest", [], Settings()))
    assert engine.seen[-1][1].instruction == "only the biggest"
    finish(ask(session, desk, "compare both images", [], Settings()))
    assert image_in_words(session, "the first one please") == next(iter(session.images))
    finish(ask(session, desk, "the second one please", [], Settings()))
    assert engine.seen[-1][1].instruction == "only the biggest"


@pytest.mark.parametrize(
    "words", ["is the first image better?", "compare with the first", "Compare it to the previous."]
)
def test_words_name_the_image_to_compare_with(session, desk, photo, clean, words):
    for path in (photo, clean):
        finish(ask(session, desk, "segment", [path], Settings(mode="direct")))
    first, second = session.images
    assert compared_images(session, words) == (second, first)


def test_long_words_that_say_nothing_are_read_at_once(session, desk, photo, clean):
    """Thousands of blanks took minutes to be told from "and this one?"."""
    finish(ask(session, desk, "Is it good?", [photo], Settings()))
    begun = time.perf_counter()
    finish(ask(session, desk, "and" + " " * 5000 + "scratches?", [clean], Settings(mode="chat")))
    assert time.perf_counter() - begun < 5

"""Examples are computed once, and nothing else is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agvas_core.processing import open_image
from agvas_core.structures import Conversation, Done, MaskReady, Notice, Request, Turn
from demo.gallery import read_examples
from demo.kept_answers import KEPT, KeepingEngine
from tests.fake_app import write_examples
from tests.fakes import FakeEngine


@pytest.fixture
def shown(tmp_path):
    """An engine that keeps answers, the one behind it, and an example as the page asks it."""
    examples = read_examples(write_examples(tmp_path))
    inner = FakeEngine(pause_s=0.0)
    image = open_image(str(examples[0].path))
    request = Request(examples[0].instruction, image.image_id, examples[0].mode)
    return KeepingEngine(inner, examples), inner, image, request


def test_the_second_visitor_of_an_example_sees_the_first_ones_answer_and_reads_so(shown):
    keeping, inner, image, request = shown
    talk = Conversation().with_image(image)
    first, second = list(keeping.respond(talk, request)), list(keeping.respond(talk, request))
    assert len(inner.seen) == 1
    assert second == [Notice(KEPT), *first] and isinstance(second[-1], Done)
    assert any(isinstance(event, MaskReady) for event in second)


def test_other_questions_other_settings_and_later_turns_are_computed(shown):
    keeping, inner, image, request = shown
    talk = Conversation().with_image(image)
    list(keeping.respond(talk, request))
    later = talk.with_turn(Turn("user", "hello", image.image_id))
    asked = [(talk, replace(request, threshold=0.3)), (talk, replace(request, instruction="why?")), (later, request)]
    for conversation, question in asked * 2:
        assert Notice(KEPT) not in list(keeping.respond(conversation, question))
    assert len(inner.seen) == 1 + 2 * len(asked)


def test_beside_good_examples_an_example_is_computed_and_not_kept(shown):
    """Who had called another photo good saw the mask without it, and the next visitors could see the one with it."""
    keeping, inner, image, request = shown
    other = open_image(np.zeros((8, 8, 3), np.uint8))
    beside = Conversation((Turn("user", "This is a good part.", other.image_id),)).with_image(other).with_image(image)
    alone = Conversation().with_image(image)
    list(keeping.respond(beside, request))
    list(keeping.respond(alone, request))
    assert len(inner.seen) == 2
    assert Notice(KEPT) not in list(keeping.respond(beside, request))
    assert Notice(KEPT) not in list(
        keeping.respond(alone.with_image(other), replace(request, good_ids=(other.image_id,)))
    )
    assert Notice(KEPT) in list(keeping.respond(alone, request))


def test_an_answer_that_was_not_finished_is_not_kept(shown):
    keeping, inner, image, request = shown
    talk = Conversation().with_image(image)
    left = keeping.respond(talk, request)
    next(left)
    left.close()  # the visitor went away
    list(keeping.respond(talk, request))
    assert len(inner.seen) == 2
    list(keeping.respond(talk, request))
    assert len(inner.seen) == 2

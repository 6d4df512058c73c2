"""What travels between machines arrives as it was, in whatever pieces; what is no frame is refused."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from agvas_core.good_parts import good_images
from agvas_core.structures import (
    Conversation,
    Done,
    JudgedCandidate,
    MaskReady,
    Notice,
    Request,
    Stage,
    TextDelta,
    Turn,
)
from agvas_core.wire import (
    FrameReader,
    WireError,
    card_json,
    pack,
    pack_event,
    pack_question,
    parcel,
    read_card,
    read_event,
    read_question,
)
from tests.fakes import CARD, FakeEngine


def mask_of(image, **request):
    events = FakeEngine(pause_s=0.0).respond(
        Conversation().with_image(image), Request("", image.image_id, mode="direct", **request)
    )
    return next(event for event in events if isinstance(event, MaskReady)).prediction


def assert_same_prediction(one, other):
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b and type(a) is type(b), field.name


@pytest.mark.parametrize("piece", [1, 7, 10**9])
def test_events_arrive_as_they_were_sent_in_pieces_of_any_size(picture, piece):
    mask = mask_of(picture(1, (20, 30)), roi_xyxy=(0, 0, 30, 20))
    mask = replace(mask, candidates=(JudgedCandidate("A", "crack", (1, 2, 3, 4), False, "too large", 1.5),))
    sent = [Stage("reading", 0.5), MaskReady(mask), TextDelta("é\n"), Notice("n"), Done("direct", {"all": 0.1}, 3, 1.5)]
    data = b"".join(bytes(part) for event in sent for part in pack_event(event))
    reader = FrameReader()
    got = []
    for start in range(0, len(data), piece):
        got += [read_event(*frame) for frame in reader.feed(data[start : start + piece])]
    assert [got[0], *got[2:]] == [sent[0], *sent[2:]]
    assert mask.regions and mask.roi_xyxy
    assert_same_prediction(got[1].prediction, mask)


def test_a_question_carries_its_image_its_history_and_its_last_mask(picture):
    image = picture(2, (33, 21))
    turns = (Turn("user", "why?", image.image_id), Turn("assistant", "so", image.image_id, "direct", mask_of(image)))
    asked = Request("and now?", image.image_id, "explain", roi_xyxy=(1, 2, 3, 4), threshold=0.25, close=True)
    conversation, request = read_question(pack_question(Conversation(turns, {image.image_id: image}), asked))
    assert request == asked
    np.testing.assert_array_equal(conversation.images[image.image_id].rgb, image.rgb)
    assert conversation.images[image.image_id].name == image.name
    assert [(t.role, t.text, t.image_id, t.mode) for t in conversation.turns] == [
        (t.role, t.text, t.image_id, t.mode) for t in turns
    ]
    assert conversation.turns[0].prediction is None
    assert_same_prediction(conversation.turns[1].prediction, turns[1].prediction)
    conversation.images[image.image_id].rgb[0, 0] = 1  # torch warns of arrays that cannot be written to


def test_good_examples_travel_with_the_question_and_no_other_image_does(picture):
    """A copy that answers knows nothing of the talk but what is sent."""
    image, called, named, other = (picture(seed, (20 + seed, 30)) for seed in range(4))
    turns = (
        Turn("user", "This is a good part.", called.image_id),
        Turn("assistant", "Noted.", called.image_id),
        Turn("user", "Segment it.", other.image_id),
    )
    talk = Conversation(turns, {i.image_id: i for i in (image, called, named, other)})
    asked = Request("segment", image.image_id, good_ids=(named.image_id, "let go"))
    sent = parcel(talk, asked)
    assert list(sent.images) == [image.image_id, named.image_id, called.image_id]
    conversation, request = read_question(pack_question(sent, asked))
    assert request == asked and type(request.good_ids) is tuple
    arrived, meant = good_images(conversation, request), good_images(talk, asked)
    assert [i.image_id for i in arrived] == [i.image_id for i in meant] == [named.image_id, called.image_id]
    for one, sent_one in zip(arrived, meant, strict=True):
        np.testing.assert_array_equal(one.rgb, sent_one.rgb)
        assert one.name == sent_one.name
    forgotten = replace(asked, instruction="Forget the good examples.")
    assert list(parcel(talk, forgotten).images) == [image.image_id]
    itself = replace(asked, image_id=called.image_id, good_ids=())
    assert list(parcel(talk, itself).images) == [called.image_id]
    assert list(parcel(talk, Request("hello")).images) == [called.image_id]


def test_a_card_travels_as_json():
    assert read_card(json.loads(json.dumps(card_json(CARD)))) == CARD


def frame(header, data=b""):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    return len(text).to_bytes(4, "big") + text + data


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xff\xff\xff",  # a header of 4 GB
        frame(b"\x80\x04cos\nsystem\n"),  # a pickle
        frame({"arrays": [["a", "object", [1]]]}, b"12345678"),
        frame({"arrays": [["a", "uint8", [-1]]]}),
        frame({"arrays": [["a", "float32", [2**20, 2**20]]]}),
        frame({"arrays": [], "turns": [], "images": {"x": "name"}, "request": {}}),
        frame({"arrays": [], "turns": [{"role": "user", "code": "1"}], "images": {}, "request": {}}),
        frame({"arrays": [["image x", "uint8", [2, 2]]], "turns": [], "images": {"x": "n"}, "request": {}}, b"1234"),
        b"".join(pack({"arrays": []}))[:-1],
    ],
)
def test_what_is_no_question_is_refused_in_a_sentence(body):
    with pytest.raises(WireError):
        read_question(body)


def test_what_is_no_event_is_refused():
    with pytest.raises(WireError, match="kind 'run'"):
        read_event({"kind": "run", "text": "x"}, {})

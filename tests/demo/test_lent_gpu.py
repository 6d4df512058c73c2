"""ZeroGPU, with a `spaces` package that forks and pickles as the hub's does: see tests/fake_spaces."""

from __future__ import annotations

import importlib.util
import os
import pickle
import sys
import threading
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agvas_core.engines.agvas import AGVASEngine
from agvas_core.structures import Conversation, Done, MaskReady, Request, TextDelta, Turn
from agvas_core.wire import parcel
from demo.desk import EngineDesk
from demo.handlers import Settings, ask
from demo.lent_gpu import LentEngine, lender, seconds_needed
from tests.fakes import CARD, FakeEngine

FAKE = Path(__file__).parent.parent / "fake_spaces" / "spaces.py"


@pytest.fixture
def spaces():
    """The fake package, fresh."""
    spec = importlib.util.spec_from_file_location("spaces", FAKE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def about(image, **options) -> tuple[Conversation, Request]:
    return Conversation().with_image(image), Request("segment", image.image_id, **options)


def holds_a_tensor(value: object) -> bool:
    if is_dataclass(value):
        return any(holds_a_tensor(getattr(value, f.name)) for f in fields(value))
    if isinstance(value, dict | list | tuple):
        return any(holds_a_tensor(v) for v in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, torch.Tensor)


@pytest.mark.parametrize("mode", ["direct", "explain"])
def test_a_reply_from_the_process_is_the_reply_and_the_page_keeps_nothing_of_the_image(
    spaces, checkpoint, picture, mode
):
    engine = AGVASEngine(checkpoint, engine_id="test", name="Test")
    lent = LentEngine(engine, spaces.GPU)
    conversation, request = about(picture(1), mode=mode, max_new_tokens=12)
    lent.prepare(picture(1))
    replies = [list(lent.respond(conversation, request)) for _ in range(2)]  # the second process knows nothing
    assert not engine.predictor._images and not engine.predictor._prefixes
    assert not any(holds_a_tensor(event) for events in replies for event in events)
    own = list(engine.respond(conversation, request))
    for events in replies:
        assert [type(e) for e in events] == [type(e) for e in own]
        words, wanted = ("".join(e.text for e in stream if isinstance(e, TextDelta)) for stream in (events, own))
        assert words == wanted
        (mask,), (known,) = ([e.prediction for e in s if isinstance(e, MaskReady)] for s in (events, own))
        np.testing.assert_allclose(mask.anomaly_map, known.anomaly_map, atol=1e-5)
        assert mask.image_id == known.image_id
    assert lent.card == engine.card


def test_stop_ends_the_reply_in_the_process_too(spaces, picture):
    lent = LentEngine(FakeEngine(pause_s=0.02), spaces.GPU)
    stop = threading.Event()
    conversation, request = about(picture(0), mode="explain")
    events = []
    for event in lent.respond(conversation, replace(request, instruction="a long one"), stop=stop):
        events.append(event)
        if isinstance(event, TextDelta):
            stop.set()
    assert isinstance(events[-1], Done) and events[-1].stopped and events[-1].mode == "explain"
    assert sum(isinstance(e, TextDelta) for e in events) == 1
    assert not spaces._fork.active_children()


def test_an_error_in_the_process_reaches_the_visitor_as_its_sentence(spaces, session, photo):
    desk = EngineDesk(["lent"], lambda _: LentEngine(FakeEngine(pause_s=0.0), spaces.GPU))
    for _ in ask(session, desk, "crash", [photo], Settings(mode="direct")):
        pass
    assert "told to crash" in session.exchanges[-1].reply.errors[0]
    for _ in ask(session, desk, "segment", [], Settings(mode="direct")):
        pass
    assert session.exchanges[-1].reply.prediction is not None


def test_without_a_gpu_to_be_had_the_visitor_reads_why(spaces, session, photo, monkeypatch):
    monkeypatch.setenv("FAKE_SPACES_FULL", "1")
    desk = EngineDesk(["lent"], lambda _: LentEngine(FakeEngine(pause_s=0.0), spaces.GPU))
    for _ in ask(session, desk, "segment", [photo], Settings(mode="direct")):
        pass
    (said,) = session.exchanges[-1].reply.errors
    assert "(You have exceeded your GPU quota.)" in said
    assert desk._running.acquire(blocking=False)  # the next visitor's turn


def test_the_time_asked_for_follows_the_mode_the_words_and_the_weights(spaces, picture):
    small, large = replace(CARD, memory_mb=70.0), replace(CARD, memory_mb=17_500.0)
    direct, explain = Request("", mode="direct"), Request("", mode="explain")
    assert seconds_needed(small, direct) < seconds_needed(small, explain) < seconds_needed(large, explain)
    assert seconds_needed(small, direct) < seconds_needed(small, replace(direct, close=True))
    assert seconds_needed(large, explain) <= 60  # what a visitor is lent when nothing is asked for
    lent = LentEngine(FakeEngine(pause_s=0.0, card=large), spaces.GPU)
    conversation, request = about(picture(0), mode="direct")
    list(lent.respond(conversation, request))
    assert spaces.durations == [seconds_needed(large, request)]


def test_each_good_example_is_granted_its_time(spaces, picture):
    """The process that a GPU is lent to knows none of them: it once had the time of one look for all."""
    lent = LentEngine(FakeEngine(pause_s=0.0), spaces.GPU)
    good = [picture(seed) for seed in (1, 2, 3)]
    turns = tuple(Turn("user", "This is a good part.", image.image_id) for image in good)
    conversation, request = about(picture(0), mode="direct")
    for talk in (conversation, Conversation(turns, conversation.images | {i.image_id: i for i in good})):
        list(lent.respond(talk, request))
    alone, beside = spaces.durations
    assert alone == seconds_needed(CARD, request) and beside == seconds_needed(CARD, request, 3) == alone + 3


def test_only_what_the_question_needs_is_sent(picture):
    one, other = picture(1, (400, 400)), picture(2, (400, 400))
    mask = next(e for e in FakeEngine(pause_s=0.0).respond(*about(one)) if isinstance(e, MaskReady)).prediction
    turns = tuple(
        Turn("assistant", str(n), image.image_id, "direct", mask) for n, image in enumerate((one, other, one))
    )
    whole = Conversation(turns, {one.image_id: one, other.image_id: other})
    sent = parcel(whole, Request("and now?", one.image_id))
    assert list(sent.images) == [one.image_id]
    assert [turn.text for turn in sent.turns] == ["0", "1", "2"]
    assert [turn.prediction is not None for turn in sent.turns] == [False, False, True]
    assert parcel(whole, Request("hello")).images == {}
    assert len(pickle.dumps(sent)) < len(pickle.dumps(whole))


def test_a_gpu_is_lent_on_zerogpu_only(monkeypatch, spaces):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    monkeypatch.setitem(sys.modules, "spaces", spaces)
    assert lender() is None
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "")  # so that it is put back at the end
    monkeypatch.delenv("HF_DEACTIVATE_ASYNC_LOAD")
    assert lender() is spaces.GPU
    assert os.environ["HF_DEACTIVATE_ASYNC_LOAD"] == "1"  # weights once failed to load in transformers' threads
    monkeypatch.setitem(sys.modules, "spaces", None)  # not installed
    assert lender() is None

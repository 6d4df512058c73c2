"""Words read in a static cache: the same tokens, states and caches as without it, whoever comes and whatever fails."""

import gc
import logging
import weakref
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from transformers import DynamicCache

from agvas_core.config import get_preset
from agvas_core.modeling import static_words as module
from agvas_core.modeling.agvas import build_agvas
from agvas_core.modeling.static_words import SWITCH, StaticWords, recorded, static_words, why_not
from tests.modeling.on_the_host import HostOperations

ROOM = 16  # small, so that replies grow out of it
FAMILIES = ("onevision", "llava")


def make(token_ids, family="onevision", dtype=torch.float64):
    """A tiny model whose queries share keys and values, as the true ones' do."""
    config = get_preset("tiny-test")
    config = replace(config, family=family, llm=replace(config.llm, kv_heads=1))
    torch.manual_seed(1)
    model = build_agvas(config, token_ids).to(dtype).eval()
    with torch.no_grad():  # the words are not all one
        for weight in model.lmm.model.language_model.layers.parameters():
            if weight.ndim == 2:
                weight.normal_(std=0.3)
    return model


@pytest.fixture(scope="module")
def model(token_ids):
    return make(token_ids)


def as_recorded(work, rewind, device):
    """As CUDA does it: warmed up, then recorded without effect, then replayed in the same memory."""
    for _ in range(module.WARM_UPS):
        work()
        rewind()
    out = work()
    rewind()

    def replay():
        return out.copy_(work())

    return replay


def begin(model, length, seed=0):
    """A chat of so many tokens: its last state, and its cache."""
    torch.manual_seed(seed)
    cache = DynamicCache(config=model.lmm.config.text_config)
    like = next(model.lmm.parameters())
    hidden = model.language(torch.randn(1, length, model.config.llm.width).to(like), cache=cache)
    return hidden[:, -1:], cache


class Reply:
    """A reply that is said greedily, word by word."""

    def __init__(self, model, length, seed=0):
        self.model = model
        self.state, self.cache = begin(model, length, seed)
        self.words, self.states = [], []

    def next(self):
        word = self.model.word_logits(self.state[:, -1]).argmax(-1)
        self.words.append(int(word))
        return self.model.lmm.get_input_embeddings()(word[None])

    def read(self, state):
        self.state = state
        self.states.append(state)


def say(reader, *replies):
    """One word of each."""
    states = reader([reply.next() for reply in replies], [reply.cache for reply in replies])
    for reply, state in zip(replies, states, strict=True):
        reply.read(state)


def said(model, length, count, seed=0):
    """What a reply is without a static cache."""
    reply = Reply(model, length, seed)
    for _ in range(count):
        reply.read(model.language(reply.next(), cache=reply.cache))
    return reply


def same(reply, expected, atol=1e-12):
    assert reply.words == expected.words
    torch.testing.assert_close(torch.cat(reply.states), torch.cat(expected.states), atol=atol, rtol=0)
    assert reply.cache.get_seq_length() == expected.cache.get_seq_length()
    for ours, theirs in zip(reply.cache.layers, expected.cache.layers, strict=True):
        torch.testing.assert_close(ours.keys, theirs.keys, atol=atol, rtol=0)
        torch.testing.assert_close(ours.values, theirs.values, atol=atol, rtol=0)


# --- the same --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("record", [None, as_recorded])
@torch.inference_mode()
def test_words_states_and_caches_are_those_of_a_growing_cache(token_ids, family, record):
    model = make(token_ids, family)
    static = StaticWords(model, record=record, room=ROOM)
    reply = Reply(model, 11)
    for _ in range(40):  # grows out of its room twice
        say(static.read, reply)
    assert reply.cache.get_seq_length() < 11 + 40  # the last words are in the static cache alone
    static.settle(reply.cache)
    expected = said(model, 11, 40)
    assert len(set(expected.words)) > 2
    same(reply, expected)
    assert static.failed == ""


@torch.inference_mode()
def test_in_single_precision_the_last_digit_may_differ_and_no_word(token_ids):
    model = make(token_ids, dtype=torch.float32)
    static = StaticWords(model, record=as_recorded)
    reply = Reply(model, 300)
    for _ in range(30):
        say(static.read, reply)
    static.settle(reply.cache)
    same(reply, said(model, 300, 30), atol=1e-5)


@torch.inference_mode()
def test_replies_in_turn_and_together_are_what_each_is_alone(model):
    static = StaticWords(model, record=as_recorded, room=ROOM)
    replies = [Reply(model, length, seed) for seed, length in enumerate((9, 20, 5))]
    a, b, c = replies
    for group in ((a,), (a,), (b,), (a,), (a, b), (a,), (c, b, a), (c,), (c,), (b,), (b, a), (a,), (a,), (c,)):
        say(static.read, *group)
    for seed, reply in enumerate(replies):
        static.settle(reply.cache)
        same(reply, said(model, (9, 20, 5)[seed], len(reply.words), seed))


@torch.inference_mode()
def test_who_looks_into_a_cache_finds_all_that_was_said(model):
    static = StaticWords(model, record=as_recorded, room=ROOM)
    reply, expected = Reply(model, 9), said(model, 9, 3)
    other = Reply(model, 7, 1)
    for _ in range(3):
        say(static.read, reply)
    static.settle(other.cache)  # somebody else's
    assert reply.cache.get_seq_length() == 9
    static.settle(other.cache, reply.cache)
    same(reply, expected)
    say(static.read, reply)  # and it goes on where it was
    assert reply.cache.get_seq_length() == 12
    static.settle(reply.cache)
    same(reply, said(model, 9, 4))


@torch.inference_mode()
def test_a_state_that_was_given_away_does_not_change(model):
    static = StaticWords(model, record=as_recorded, room=ROOM)
    reply = Reply(model, 9)
    say(static.read, reply)
    first, kept = reply.states[0], reply.states[0].clone()
    say(static.read, reply)
    assert torch.equal(first, kept)


@torch.inference_mode()
def test_longer_replies_than_the_static_cache_may_be_are_read_as_before(model):
    static = StaticWords(model, record=as_recorded, room=ROOM, at_most=2 * ROOM)
    reply = Reply(model, 25)
    for _ in range(12):
        say(static.read, reply)
    assert reply.cache.get_seq_length() == 25 + 12
    same(reply, said(model, 25, 12))


@torch.inference_mode()
def test_a_chat_that_is_forgotten_is_not_kept_alive(model):
    static = StaticWords(model, room=ROOM)
    reply = Reply(model, 9)
    say(static.read, reply)
    gone = weakref.ref(reply.cache)
    del reply
    gc.collect()
    assert gone() is None
    other = Reply(model, 7, 1)
    say(static.read, other)
    static.settle(other.cache)
    same(other, said(model, 7, 1, 1))


# --- what fails ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("good", [0, 1])
@torch.inference_mode()
def test_what_cannot_be_recorded_is_said_once_and_no_word_is_lost(model, caplog, good):
    made = []

    def record(work, rewind, device):
        made.append(1)
        if len(made) > good:
            work()  # half done
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore about it")
        return as_recorded(work, rewind, device)

    static = StaticWords(model, record=record, room=ROOM)
    reply = Reply(model, 9)
    with caplog.at_level(logging.WARNING):
        for _ in range(12):  # out of its first room
            say(static.read, reply)
    same(reply, said(model, 9, 12))
    assert static.failed == "CUDA error: operation not permitted when stream is capturing"
    assert [r.message for r in caplog.records] == [
        f"Words are decoded without CUDA graphs from here on: {static.failed}"
    ]
    assert len(made) == good + 1


@torch.inference_mode()
def test_when_there_is_no_memory_to_come_home_nothing_is_half_done(model, monkeypatch):
    static = StaticWords(model, record=as_recorded, room=ROOM)
    reply = Reply(model, 9)
    for _ in range(3):
        say(static.read, reply)
    update, calls = DynamicCache.update, []

    def fails(self, *args):
        if self is reply.cache and len(calls) == 1:
            raise torch.cuda.OutOfMemoryError("none left")
        calls.append(1)
        return update(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(DynamicCache, "update", fails)
        with pytest.raises(torch.cuda.OutOfMemoryError):
            static.settle(reply.cache)
    assert [layer.keys.shape[2] for layer in reply.cache.layers] == [9, 9]
    static.settle(reply.cache)  # there is some again
    same(reply, said(model, 9, 3))


@torch.inference_mode()
def test_when_another_cannot_come_home_its_words_are_not_lost(model, monkeypatch):
    static = StaticWords(model, record=as_recorded, room=ROOM)
    reply, other = Reply(model, 9), Reply(model, 7, 1)
    for _ in range(3):
        say(static.read, reply)

    def fails(self, *args):
        raise torch.cuda.OutOfMemoryError("none left")

    with monkeypatch.context() as patch, pytest.raises(torch.cuda.OutOfMemoryError):
        patch.setattr(DynamicCache, "update", fails)
        static.read([other.next()], [other.cache])
    static.settle(reply.cache)
    same(reply, said(model, 9, 3))
    say(static.read, reply)
    assert reply.cache.get_seq_length() == 13  # as before, without a static cache


# --- on the device ---------------------------------------------------------------------------------------------------


@torch.inference_mode()
def test_a_word_waits_for_nothing_and_brings_nothing_from_the_host(token_ids):
    """What a graph records may do neither; on a device without values everything that asks for one is an error."""
    model = make(token_ids).to("meta")
    watch = HostOperations()

    def record(work, rewind, device):
        with watch:
            work()
        return work

    cache = DynamicCache(config=model.lmm.config.text_config)
    x = torch.empty(1, 9, model.config.llm.width, dtype=torch.float64, device="meta")
    model.language(x, cache=cache)
    static = StaticWords(model, record=record)
    (state,) = static.read([x[:, :1]], [cache])
    assert (state.shape, static.failed, watch.names) == ((1, 1, model.config.llm.width), "", [])


def test_what_is_recorded_is_warmed_up_on_another_stream_and_undone(monkeypatch):
    told = []

    class Stream:
        def __init__(self, name="side"):
            self.name = name

        def wait_stream(self, other):
            told.append(f"{self.name} waits for {other.name}")

    class Graph:
        name = "graph"

        def replay(self):
            told.append("replay")

    own = Stream("own")

    @contextmanager
    def inside(*what, **options):
        told.append(("in", *(getattr(w, "name", w) for w in what), *(getattr(o, "name", o) for o in options.values())))
        yield
        told.append("out")

    for name, fake in (("Stream", Stream), ("CUDAGraph", Graph), ("stream", inside), ("graph", inside)):
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: own)
    monkeypatch.setattr(torch.cuda, "device", inside)
    out = torch.zeros(1)
    replay = recorded(lambda: told.append("work") or out, lambda: told.append("rewind"), torch.device("cuda", 1))
    assert told[1:] == [
        "side waits for own",
        ("in", "side"),
        *["work", "rewind"] * module.WARM_UPS,
        "out",
        "own waits for side",
        ("in", "graph", "side", "thread_local"),
        "work",
        "out",
        "out",
    ]
    told.clear()
    assert replay() is out
    assert told[1:] == ["replay", "out"]


# --- where it is used ------------------------------------------------------------------------------------------------


def test_only_large_models_on_cuda_take_it_and_a_word_turns_it_off(token_ids, monkeypatch):
    cuda, cpu = torch.device("cuda", 0), torch.device("cpu")
    for name in (SWITCH, "SPACES_ZERO_GPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "why_not", lambda model, device: "")
    half = make(token_ids, dtype=torch.bfloat16)
    assert isinstance(static_words(half, cuda), StaticWords)
    assert static_words(half, cpu) is None
    assert static_words(make(token_ids, dtype=torch.float32), cuda) is None
    for name, value in ((SWITCH, "0"), ("SPACES_ZERO_GPU", "true")):
        monkeypatch.setenv(name, value)
        assert static_words(half, cuda) is None
        monkeypatch.delenv(name)
    half.lmm.hf_quantizer = object()
    assert static_words(half, cuda) is None


def test_why_a_base_cannot_is_logged(token_ids, monkeypatch, caplog):
    model = make(token_ids, dtype=torch.bfloat16)
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert why_not(model, torch.device("cpu")) == ""
    language = model.lmm.model.language_model
    with caplog.at_level(logging.WARNING):
        assert static_words(model, torch.device("cuda", 0)) is None  # its weights are on the CPU
    assert "a part of the language model lies elsewhere" in caplog.text
    with monkeypatch.context() as patch:
        patch.setattr(language.config, "layer_types", ["sliding_attention", "full_attention"])
        patch.setattr(language.config, "sliding_window", 8)
        assert why_not(model, torch.device("cpu")) == "not all layers of this Qwen2Model see all that was read"
    monkeypatch.setattr(type(language), "_can_compile_fullgraph", False)
    assert why_not(model, torch.device("cpu")) == "Qwen2Model takes no static cache"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.inference_mode()
def test_on_a_gpu_a_recorded_graph_says_the_same_and_waits_for_nothing(token_ids):
    model = make(token_ids, dtype=torch.float32).to("cuda")
    static = StaticWords(model, room=ROOM)
    reply, expected = Reply(model, 11), said(model, 11, 40)
    for _ in range(40):
        say(static.read, reply)
    static.settle(reply.cache)
    assert static.failed == ""
    same(reply, expected, atol=1e-3)
    say(static.read, reply)
    word = reply.next()
    torch.cuda.set_sync_debug_mode("error")
    try:
        static.read([word], [reply.cache])
    finally:
        torch.cuda.set_sync_debug_mode("default")

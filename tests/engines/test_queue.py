"""Several conversations at one model: the same answers as alone, nobody stuck behind or hurt by another."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from agvas_core.encoded import Look
from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.queue import QueuedPredictor, WorkQueue
from agvas_core.modeling.static_words import StaticWords
from agvas_core.predictor import AnomalyPredictor
from agvas_core.prompts import DIRECT_ANSWER, ChatTurn
from agvas_core.structures import Conversation, Done, MaskReady, Request, TextDelta
from agvas_core.tokenizer import encode_chat

LIMIT_S = 60


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(seed=3, region_kinds=("scratch", "hole"))


@pytest.fixture
def shared(model, tokenizer):
    predictor = QueuedPredictor(model, tokenizer)
    yield predictor
    predictor.queue.close()


def direct(predictor, image, question="Segment the anomalies."):
    turns = [ChatTurn("user", question), ChatTurn("assistant", DIRECT_ANSWER)]
    encoded = predictor.set_image(image)
    ids = predictor.expand(encode_chat(predictor.tokenizer, turns).input_ids)
    return predictor.decode(predictor.read(ids, encoded, anchors=True), encoded)


def begin(predictor, image, question="What is it?"):
    encoded = predictor.set_image(image)
    ids = encode_chat(predictor.tokenizer, [ChatTurn("user", question)], add_generation_prompt=True).input_ids
    return predictor.read(predictor.expand(ids), encoded), encoded


def endless(predictor):
    """Let no reply end by itself."""
    predictor.end_id = -1
    return predictor


class Held:
    """Keeps the queue's thread busy, so that jobs come together behind it."""

    def __init__(self, queue: WorkQueue) -> None:
        self.queue, self.begun, self.go = queue, threading.Event(), threading.Event()

    def __enter__(self):
        def wait():
            self.begun.set()
            assert self.go.wait(LIMIT_S)

        self.thread = threading.Thread(target=lambda: self.queue.do("other", wait))
        self.thread.start()
        assert self.begun.wait(LIMIT_S)
        return self

    def until(self, count):
        """Wait until so many jobs stand in line, then let them be done."""
        end = time.monotonic() + LIMIT_S
        while len(self.queue._waiting) < count:
            assert time.monotonic() < end
            time.sleep(0.001)
        self.go.set()

    def __exit__(self, *_):
        self.go.set()
        self.thread.join(LIMIT_S)


# --- the same as alone -----------------------------------------------------------------------------------------------


def test_images_and_masks_of_a_batch_are_those_of_single_ones(model, tokenizer, picture):
    predictor = AnomalyPredictor(model, tokenizer)
    images = [picture(n, size_hw) for n, size_hw in enumerate(((90, 120), (200, 80), (96, 96)))]
    together = predictor._encode([(image, *predictor._fit(image)) for image in images])
    alone = [AnomalyPredictor(model, tokenizer).set_image(image) for image in images]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a.features.visual, b.features.visual, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(a.features.pixel.embedding, b.features.pixel.embedding, atol=1e-4, rtol=1e-4)
        for fine, other in zip(a.features.pixel.high_res, b.features.pixel.high_res, strict=True):
            torch.testing.assert_close(fine, other, atol=1e-4, rtol=1e-4)
    looks = [Look(torch.randn(1, 3, model.config.llm.width), e.features.pixel, e.letterbox) for e in alone]
    for look, maps in zip(looks, predictor._look(looks), strict=True):
        assert maps.shape == (2, *look.letterbox.size_hw)
        np.testing.assert_allclose(maps, predictor._look([look])[0], atol=1e-4)


@pytest.mark.parametrize("in_static_cache", [False, True])
def test_conversations_at_once_get_what_each_gets_alone(model, tokenizer, shared, picture, in_static_cache):
    if in_static_cache:  # as on CUDA: whose words come alone are read there, and go on together with others
        shared.static_words = StaticWords(model, room=64)

    def talk(predictor, seed):
        image = picture(seed, (60 + 8 * seed, 90))
        for question in ("Segment the anomalies.", "Segment the dark hole on the left."):
            yield direct(predictor, image, question).anomaly_map
        prefix, encoded = begin(predictor, image)
        yield [token for token, _ in predictor.generate(prefix, encoded, 8)]
        yield predictor.glance(image, close=True).anomaly_map

    seeds = range(5)
    with ThreadPoolExecutor(len(seeds)) as pool:
        together = list(pool.map(lambda seed: list(talk(shared, seed)), seeds, timeout=LIMIT_S))
    for seed, seen in zip(seeds, together, strict=True):
        expected = list(talk(AnomalyPredictor(model, tokenizer), seed))
        assert seen[2] == expected[2]
        for i in (0, 1, 3):
            np.testing.assert_allclose(seen[i], expected[i], atol=1e-4)


def test_what_comes_in_meanwhile_is_encoded_read_and_decoded_together(shared, picture, monkeypatch):
    sizes = []
    encode, language, decode = shared.model.encode_image, shared.model.language, shared.model.decode_masks
    monkeypatch.setattr(shared.model, "encode_image", lambda *a: sizes.append(("image", len(a[0]))) or encode(*a))
    monkeypatch.setattr(
        shared.model, "language", lambda *a, **k: sizes.append(("chat", len(a[0]))) or language(*a, **k)
    )
    monkeypatch.setattr(shared.model, "decode_masks", lambda *a: sizes.append(("mask", len(a[0]))) or decode(*a))
    with ThreadPoolExecutor(4) as pool:
        with Held(shared.queue) as held:
            # two of the four are the same picture
            encoded = [pool.submit(shared.set_image, picture(n)) for n in (0, 1, 2, 2)]
            held.until(4)
        images = [e.result(LIMIT_S) for e in encoded]
        assert images[2].features is images[3].features
        ids = shared.direct_ids("Segment it.")
        with Held(shared.queue) as held:
            read = [pool.submit(shared.read, ids, e, anchors=True) for e in images[:3]]
            held.until(3)
        prefixes = [r.result(LIMIT_S) for r in read]
        with Held(shared.queue) as held:
            masks = [pool.submit(shared.decode, p, e) for p, e in zip(prefixes, images, strict=False)]
            held.until(3)
        assert len({m.result(LIMIT_S).image_id for m in masks}) == 3
    assert sizes == [("image", 3), ("chat", 3), ("mask", 3)]


# --- fair ------------------------------------------------------------------------------------------------------------


def test_words_of_two_replies_take_turns_and_a_direct_turn_does_not_wait_for_them(shared, picture):
    endless(shared)
    said = []
    stop = threading.Event()

    def explain(seed):
        for _ in shared.generate(*begin(shared, picture(seed)), 400, stop):
            said.append(seed)

    with ThreadPoolExecutor(2) as pool:
        talks = [pool.submit(explain, seed) for seed in (0, 1)]
        while len(said) < 10:
            time.sleep(0.001)
        before = len(said)
        direct(shared, picture(2))  # a new image: encoded, read, decoded
        passed = len(said) - before
        stop.set()
        for talk in talks:
            talk.result(LIMIT_S)
    assert passed < 100, "a direct turn waited for explanations"
    first_of_each = sorted(said.index(seed) for seed in (0, 1))
    common = said[first_of_each[1] : before]
    assert abs(common.count(0) - common.count(1)) <= 2


def test_a_round_takes_the_oldest_of_each_kind_and_leaves_none_behind():
    order = []
    queue = WorkQueue(
        {
            "word": lambda w: order.append(w) or w,
            "image": lambda i: order.append(i) or i,
            "other": lambda f: [g() for g in f],
        },
        {"image": 2, "word": 3, "other": 1},
    )
    with ThreadPoolExecutor(7) as pool:
        with Held(queue) as held:
            jobs = []
            for n, kind in enumerate(["word", "image", "image", "image", "word", "word", "word"]):
                jobs.append(pool.submit(queue.do, kind, f"{kind}{n}"))
                while len(queue._waiting) <= n:
                    time.sleep(0.001)
            held.until(7)
        assert [job.result(LIMIT_S) for job in jobs] == [
            "word0",
            "image1",
            "image2",
            "image3",
            "word4",
            "word5",
            "word6",
        ]
    assert order == [["image1", "image2"], ["word0", "word4", "word5"], ["image3"], ["word6"]]
    queue.close()


def test_stop_ends_one_reply_and_leaves_the_other(model, tokenizer, shared, picture):
    endless(shared)
    alone = endless(AnomalyPredictor(model, tokenizer))
    expected = [token for token, _ in alone.generate(*begin(alone, picture(1)), 20)]
    stop, said = threading.Event(), []

    def stopped():
        for token, _ in shared.generate(*begin(shared, picture(0)), 500, stop):
            said.append(token)
            if len(said) == 3:
                stop.set()

    with ThreadPoolExecutor(2) as pool:
        short = pool.submit(stopped)
        other = pool.submit(lambda: [token for token, _ in shared.generate(*begin(shared, picture(1)), 20)])
        short.result(LIMIT_S)
        assert other.result(LIMIT_S) == expected
    assert len(said) == 3


# --- failures --------------------------------------------------------------------------------------------------------


def test_an_error_in_one_job_is_raised_there_only(shared, picture, monkeypatch):
    encode = shared.model.encode_image

    def breaks_at_white(semantic, pixels, content):
        if bool((pixels.mean((1, 2, 3)) > 0.99).any()):
            raise ValueError("white")
        return encode(semantic, pixels, content)

    monkeypatch.setattr(shared.model, "encode_image", breaks_at_white)
    from agvas_core.processing import open_image

    images = [picture(0), open_image(np.full((96, 96, 3), 255, np.uint8)), picture(1)]
    with ThreadPoolExecutor(3) as pool, Held(shared.queue) as held:
        jobs = [pool.submit(shared.set_image, image) for image in images]
        held.until(3)
        with pytest.raises(ValueError, match="white"):
            jobs[1].result(LIMIT_S)
        assert [jobs[n].result(LIMIT_S).image_id for n in (0, 2)] == [images[0].image_id, images[2].image_id]
    assert np.isfinite(direct(shared, images[0]).anomaly_map).all()  # and it goes on


def test_a_closed_queue_says_so_to_who_waits_and_who_comes(shared, picture):
    with ThreadPoolExecutor(1) as pool, Held(shared.queue) as held:
        waiting = pool.submit(shared.set_image, picture(0))
        while not shared.queue._waiting:
            time.sleep(0.001)
        shared.queue.close()
        held.go.set()
        with pytest.raises(RuntimeError, match="closed"):
            waiting.result(LIMIT_S)
    with pytest.raises(RuntimeError, match="closed"):
        shared.set_image(picture(1))


# --- the engine ------------------------------------------------------------------------------------------------------


def test_an_engine_that_is_shared_answers_as_one_that_is_not(checkpoint, picture):
    def reply(engine, mode, seed):
        image = picture(seed)
        request = Request("", image.image_id, mode=mode, max_new_tokens=12)
        events = list(engine.respond(Conversation().with_image(image), request))
        assert isinstance(events[-1], Done)
        masks = [e.prediction for e in events if isinstance(e, MaskReady)]
        return masks, "".join(e.text for e in events if isinstance(e, TextDelta))

    asked = [(mode, seed) for seed in (1, 2) for mode in ("direct", "explain", "describe", "chat")]
    alone = AGVASEngine(checkpoint, engine_id="test", name="Test")
    engine = AGVASEngine(checkpoint, engine_id="test", name="Test")
    engine.share(conversations=4)
    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(lambda ask: reply(engine, *ask), asked, timeout=LIMIT_S))
    engine.predictor.queue.close()
    for (masks, words), ask in zip(together, asked, strict=True):
        expected_masks, expected_words = reply(alone, *ask)
        assert words == expected_words
        assert len(masks) == len(expected_masks)
        for mask, expected in zip(masks, expected_masks, strict=True):
            np.testing.assert_allclose(mask.anomaly_map, expected.anomaly_map, atol=1e-4)
            assert [r.kind for r in mask.regions] == [r.kind for r in expected.regions]

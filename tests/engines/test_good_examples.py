"""Good examples in a conversation: they are noted, masks are compared with them, and engines that cannot say so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from agvas_core.engines import reply as making
from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.ask import ask, predictor
from agvas_core.engines.explained import ExplainedEngine
from agvas_core.engines.own_words import (
    FORGOTTEN,
    NO_DECODER,
    NO_IMAGE,
    NONE_TO_FORGET,
    compared,
    no_longer_good,
    not_compared,
    noted_good,
)
from agvas_core.engines.queue import QueuedPredictor
from agvas_core.engines.ruled import RuledEngine, rules_of
from agvas_core.engines.saa import SAAEngine
from agvas_core.engines.second_opinion import SecondOpinion
from agvas_core.findings import measure
from agvas_core.good_parts import MOST_EXAMPLES, good_images
from agvas_core.processing import open_image
from agvas_core.saa.prompts import prompts_for
from agvas_core.structures import Conversation, Done, MaskReady, Notice, Request, Stage, TextDelta, Turn
from tests.engines.test_saa import HW, Spots
from tests.engines.test_second_opinion import expert
from tests.fakes import CARD, FakeEngine

GOOD_PART = "This is a good part."
MASK_MODES = ("direct", "explain", "describe", "describe_plus")


def called_good(*images) -> tuple[Turn, ...]:
    """Return the turns in which a user calls images good."""
    turns = [(Turn("user", GOOD_PART, i.image_id), Turn("assistant", "Noted.", i.image_id)) for i in images]
    return tuple(turn for pair in turns for turn in pair)


def reply(engine, image, instruction="", *, turns=(), images=(), **request):
    """Return the events of a reply about an image, after turns about images."""
    conversation = Conversation(tuple(turns), {i.image_id: i for i in (*images, *([image] if image else []))})
    request = {"mode": "direct", "max_new_tokens": 6} | request
    return list(engine.respond(conversation, Request(instruction, image and image.image_id, **request)))


def words(events) -> str:
    return "".join(e.text for e in events if isinstance(e, TextDelta))


def notices(events) -> list[str]:
    return [e.text for e in events if isinstance(e, Notice)]


def mask_of(events):
    (prediction,) = (e.prediction for e in events if isinstance(e, MaskReady))
    return prediction


def same_maps(one, other) -> bool:
    return all(np.allclose(getattr(one, m), getattr(other, m), atol=2e-6) for m in ("p_seg", "p_nor", "p_ano"))


# --- what is said of them --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "chat", *MASK_MODES])
def test_that_a_part_is_good_is_noted_in_words_and_no_model_runs(engine, picture, monkeypatch, mode):
    monkeypatch.setattr(engine.predictor, "set_image", lambda *a, **k: pytest.fail("an image was encoded"))
    monkeypatch.setattr(engine.predictor, "_read", lambda *a, **k: pytest.fail("the language model ran"))
    first, second = picture(1), picture(2)
    events = reply(engine, first, GOOD_PART, mode=mode)
    assert [type(e) for e in events] == [TextDelta, Done] and events[-1].mode == "chat"
    assert words(events) == noted_good(1) and "compare your images with it: what" in noted_good(1)
    events = reply(engine, second, "This one is fine, too", turns=called_good(first), images=[first], mode=mode)
    assert words(events) == noted_good(2) and "with the two good examples" in noted_good(2)
    again = reply(engine, first, GOOD_PART, turns=called_good(first), mode=mode)
    assert words(again) == noted_good(1)  # it counts once


def test_without_an_image_nothing_can_be_called_good(engine, picture):
    events = reply(engine, None, GOOD_PART)
    assert notices(events) == [NO_IMAGE] and words(events) == ""


def test_what_is_asked_beside_it_is_answered(engine, picture, monkeypatch):
    image, read = picture(1), []
    reading = engine.predictor.read

    def spying(ids, *rest, **options):
        read.append(engine.predictor.tokenizer.decode(ids))
        return reading(ids, *rest, **options)

    monkeypatch.setattr(engine.predictor, "read", spying)
    events = reply(engine, image, f"{GOOD_PART} Segment the defects.", mode="auto")
    assert notices(events)[:1] == [noted_good(1)]
    assert "Compared with your good example; this image is that one." in notices(events)
    assert mask_of(events).image_id == image.image_id and events[-1].mode == "direct"
    assert "Segment the defects." in read[-1] and "good part" not in read[-1]


def test_that_it_is_not_good_is_noted_of_a_good_example_and_else_is_a_question(engine, picture):
    first, second, said = picture(1), picture(2), "This is not normal."
    turns = called_good(first, second)
    events = reply(engine, first, said, turns=turns, images=[second], mode="auto")
    assert [type(e) for e in events] == [TextDelta, Done] and words(events) == no_longer_good(1)
    after = (*turns, Turn("user", said, first.image_id), Turn("assistant", words(events), first.image_id))
    assert "Compared with your good example." in notices(reply(engine, first, turns=after, images=[second]))
    assert words(reply(engine, second, said, turns=called_good(second))) == no_longer_good(0)
    assert [no_longer_good(n).split("; ")[1] for n in (0, 1, 2)] == ["none is left.", "one is left.", "two are left."]
    asked = reply(engine, first, said, turns=called_good(second), images=[second], mode="explain")
    assert mask_of(asked) and any(isinstance(e, Stage) for e in asked)
    assert not any("good example any more" in text for text in [*notices(asked), words(asked)])


def test_good_examples_are_forgotten_when_that_is_said(engine, picture):
    good, image = picture(1), picture(2)
    talk = {"turns": called_good(good), "images": [good]}
    events = reply(engine, image, "Forget the good examples.", **talk)
    assert [type(e) for e in events] == [TextDelta, Done] and words(events) == FORGOTTEN
    assert words(reply(engine, image, "Forget the good examples.")) == NONE_TO_FORGET
    assert words(reply(engine, None, "Forget the good examples.", **talk)) == FORGOTTEN  # whatever is shown
    events = reply(engine, image, "Forget the good examples. Please segment the anomalies in this image.", **talk)
    assert notices(events)[0] == FORGOTTEN and not any("Compared with" in text for text in notices(events))
    assert same_maps(mask_of(events), engine.predictor.glance(image))
    later = (*talk["turns"], Turn("user", "Forget the good examples.", image.image_id), Turn("assistant", FORGOTTEN))
    assert same_maps(mask_of(reply(engine, image, turns=later, images=[good])), engine.predictor.glance(image))


# --- masks -----------------------------------------------------------------------------------------------------------


def test_a_mask_beside_good_examples_is_that_of_the_predictor(engine, picture):
    image, first, second = picture(1), picture(2), picture(3, (80, 120))
    plain = mask_of(reply(engine, image))
    for good in ([first], [first, second], [second, first]):
        told = reply(engine, image, turns=called_good(*good), images=good)
        given = ask(engine, image, Request("", mode="direct"), good=good)
        expected = engine.predictor.glance(image, good=good)
        assert same_maps(mask_of(told), expected) and same_maps(given.prediction, expected)
        assert not same_maps(expected, plain)
        assert notices(told)[-1] == compared(good, image) == given.notices[-1]
    assert same_maps(mask_of(reply(engine, image)), plain)  # without any it is as before


def test_a_good_example_is_itself_judged_as_one(engine, picture):
    image, other = picture(1), picture(2)
    for good, said in (([image], "this image is that one."), ([other, image], "this image is one of them.")):
        given = ask(engine, image, Request("", mode="direct"), good=good)
        assert given.notices[-1].endswith(said) and given.notices[-1] == compared(good, image)
        assert same_maps(given.prediction, engine.predictor.glance(image, good=good))
        assert given.prediction.pred_score < engine.predictor.glance(image).pred_score  # nothing in it is rare


@pytest.mark.parametrize("mode", MASK_MODES)
def test_every_mode_makes_its_mask_beside_them_and_says_so(engine, picture, mode):
    image, good = picture(1), [picture(2), picture(3)]
    plain, beside = reply(engine, image, mode=mode), reply(engine, image, mode=mode, good_ids=(), turns=(), images=good)
    assert same_maps(mask_of(plain), mask_of(beside))  # that an image is there makes it no example
    events = reply(engine, image, mode=mode, turns=called_good(*good), images=good)
    assert not same_maps(mask_of(events), mask_of(plain))
    assert "Compared with your two good examples." in notices(events)
    assert not any("Compared" in text for text in notices(plain))
    assert events[-1].seconds["good examples"] >= 0 and "good examples" not in plain[-1].seconds


@pytest.mark.parametrize("mode", ["describe", "describe_plus", "chat"])
def test_words_tell_of_what_is_found_beside_them(engine, picture, monkeypatch, mode):
    image, good, read = picture(1), [picture(2)], []
    monkeypatch.setattr(making, "measure", lambda prediction: read.append(prediction) or measure(prediction))
    reply(engine, image, "What do you see?", mode=mode, turns=called_good(*good), images=good)
    assert read and same_maps(read[0], engine.predictor.glance(image, good=good))
    assert not same_maps(read[0], engine.predictor.glance(image))


def test_a_first_question_shows_the_mask_beside_them(engine, picture):
    image, good = picture(1), [picture(2)]
    events = reply(
        engine, image, "Is this part good, and where not?", mode="auto", turns=called_good(*good), images=good
    )
    assert same_maps(mask_of(events), engine.predictor.glance(image, good=good))
    assert "Compared with your good example." in notices(events)


def test_anchors_among_the_words_are_decoded_beside_them(engine, picture, monkeypatch):
    """A mask that the words ask for is made of other states than the direct one."""
    banks = []
    decode_states = engine.predictor.decode_states
    monkeypatch.setattr(
        engine.predictor,
        "decode_states",
        lambda *a, bank=None, **options: banks.append(bank) or decode_states(*a, bank=bank, **options),
    )
    image, good = picture(1), [picture(2)]
    ids, rows = engine.predictor.ids.anchors, engine.predictor.model.config.llm.vocab_size
    script = iter([ids[0], engine.predictor.end_id])

    def word_logits(hidden: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*hidden.shape[:-1], rows)
        logits[..., next(script)] = 9.0
        return logits

    monkeypatch.setattr(engine.predictor.model, "word_logits", word_logits)
    events = reply(engine, image, "What is it?", mode="chat", turns=called_good(*good), images=good)
    assert mask_of(events) and banks[-1] is engine.predictor.memory_bank(good) is not None


def test_options_hold_for_a_mask_beside_them(engine, picture):
    image, good = picture(6), [picture(2)]
    plain = engine.predictor.glance(image, good=good)
    level = float(np.median(0.2 * plain.p_seg + 0.8 * plain.p_ano))
    wanted = {"threshold": level, "alpha": 0.2, "min_area_px": 5, "roi_xyxy": (10, 20, 60, 90)}
    got = mask_of(reply(engine, image, turns=called_good(*good), images=good, **wanted))
    assert (got.threshold, got.alpha, got.min_area_px, got.roi_xyxy) == tuple(wanted.values())
    assert same_maps(got, plain) and not got.pred_mask[:, :10].any() and got.pred_mask.any()


def test_a_close_look_is_compared_too(engine, picture):
    image, good = picture(1, (150, 150)), [picture(2, (150, 150))]
    events = reply(engine, image, close=True, turns=called_good(*good), images=good)
    assert same_maps(mask_of(events), engine.predictor.glance(image, close=True, good=good))
    assert not same_maps(mask_of(events), engine.predictor.glance(image, close=True))


def test_images_that_were_let_go_are_not_compared_with(engine, picture):
    image, good, gone = picture(1), picture(2), picture(3)
    events = reply(engine, image, turns=called_good(gone, good), images=[good])
    assert "Compared with your good example." in notices(events)
    assert same_maps(mask_of(events), engine.predictor.glance(image, good=[good]))
    alone = reply(engine, image, turns=called_good(gone))
    assert same_maps(mask_of(alone), engine.predictor.glance(image)) and notices(alone) == []


def test_of_very_many_it_says_with_how_many_it_was_compared(engine, picture):
    image, good = picture(0, (16, 16)), [picture(seed, (16, 16)) for seed in range(1, MOST_EXAMPLES + 4)]
    given = ask(engine, image, Request("", mode="direct"), good=good)
    assert given.notices[-1] == f"Compared with your {MOST_EXAMPLES} good examples."


def test_for_evaluation_an_image_is_predicted_beside_them(engine, picture):
    predict = predictor(engine, Request("", mode="direct"))
    image, good = picture(1), [picture(2), picture(2), picture(3)]
    assert same_maps(predict(image), engine.predictor.glance(image))
    assert same_maps(predict(image, good=good), engine.predictor.glance(image, good=good[1:]))  # each counts once


def test_conversations_at_once_get_the_masks_that_each_gets_alone(engine, picture):
    good = [[picture(10), picture(11)], [picture(12)], [], [picture(10), picture(11)]]
    images = [picture(seed, (60 + 8 * seed, 90)) for seed in range(4)]
    shared = QueuedPredictor(engine.predictor.model, engine.predictor.tokenizer)
    try:
        with ThreadPoolExecutor(4) as pool:
            seen = list(pool.map(lambda i: shared.glance(images[i], good=good[i]), range(4), timeout=60))
    finally:
        shared.queue.close()
    for image, beside, together in zip(images, good, seen, strict=True):
        np.testing.assert_allclose(
            together.anomaly_map, engine.predictor.glance(image, good=beside).anomaly_map, atol=1e-4
        )


# --- other engines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapped", ["rules", "second opinion", "both"])
def test_wrapped_engines_note_and_compare_as_the_one_inside(engine, picture, wrapped):
    outer = engine if wrapped == "second opinion" else RuledEngine(engine)
    outer = outer if wrapped == "rules" else SecondOpinion(outer, expert(0.5))
    image, good = picture(1), [picture(2)]
    for mode in ("auto", "direct"):
        events = reply(outer, image, GOOD_PART, mode=mode)
        assert [type(e) for e in events] == [TextDelta, Done] and words(events) == noted_good(1)
    events = reply(outer, image, turns=called_good(*good), images=good)
    assert "Compared with your good example." in notices(events)
    assert same_maps(mask_of(events), engine.predictor.glance(image, good=good))


def test_what_is_said_of_good_examples_sets_no_rule(picture):
    """To "remove the good examples" once left out of every later mask what looks like a good example."""
    image = picture(1)
    for said in ("remove the good examples", "ignore the references", "it's not a good part after all", GOOD_PART):
        conversation = Conversation((Turn("user", said, image.image_id),)).with_image(image)
        request = Request(said, image.image_id)
        assert rules_of(conversation, request, said) == prompts_for(), said
        saa = SAAEngine(Spots(), lambda image: torch.ones(3, 4, 4), CARD)
        assert saa.prompts_of(conversation, request) == saa.prompts_of(Conversation(), Request("", image.image_id))
    asked = "Ignore the references. At most two defects."
    assert rules_of(Conversation().with_image(image), Request(asked, image.image_id), asked).confidence.top_k == 2


def test_under_rules_a_talk_keeps_its_good_examples(picture):
    """What was asked before a mask is told to the engine inside as a request for all; the judgement went with it."""
    inner, image, other = FakeEngine(pause_s=0.0), picture(1), picture(2)
    (mask,) = (e.prediction for e in reply(inner, image) if isinstance(e, MaskReady))
    turns = (
        *called_good(other),
        Turn("user", f"{GOOD_PART} Only the scratch.", image.image_id),
        Turn("assistant", "Done.", image.image_id, "direct", mask),
    )
    for said, left in (("Is it good?", [other, image]), ("Why?", [other, image])):
        reply(RuledEngine(inner), image, said, turns=turns, images=[other], mode="chat")
        assert list(good_images(*inner.seen[-1])) == left
    for said, left in (("Forget the good examples. Mark all.", []), ("It is not good after all. Mark all.", [other])):
        later = (*turns, Turn("user", said, image.image_id), Turn("assistant", "x", image.image_id, "direct", mask))
        reply(RuledEngine(inner), image, "Why?", turns=later, images=[other], mode="chat")
        assert list(good_images(*inner.seen[-1])) == left


@pytest.fixture(params=["saa", "anomaly-ov"])
def other(request):
    """An engine that knows no good examples, and an image for it."""
    image = open_image(np.random.default_rng(0).integers(0, 255, (*HW, 3), dtype=np.uint8))
    if request.param == "anomaly-ov":
        return expert(0.8), image
    return SAAEngine(Spots(), lambda image: torch.ones(3, 4, 4), replace(CARD, name="SAA+")), image


def test_engines_that_compare_with_nothing_say_so(other, picture):
    engine, image = other
    said = not_compared(engine.card)
    assert said.startswith(engine.card.name) and "judges each image by itself" in said
    for statement in (GOOD_PART, "Forget the good examples."):
        events = reply(engine, image, statement)
        assert [type(e) for e in events] == [TextDelta, Done] and words(events) == said
    for events in (
        reply(engine, image, f"{GOOD_PART} Segment the anomalies."),
        reply(engine, image, turns=called_good(picture(1)), images=[picture(1)]),
    ):
        assert said in notices(events) and mask_of(events)
    assert said in ask(engine, image, Request("", mode="direct"), good=[picture(1)]).notices
    assert said not in notices(reply(engine, image)) and words(reply(engine, None, GOOD_PART)) == ""


def test_to_them_too_not_normal_is_a_question_where_nobody_called_it_good(other):
    """SAA once answered "this is not normal" with a word on good examples, and no mask."""
    engine, image = other
    assert mask_of(reply(engine, image, "This is not normal."))
    assert words(reply(engine, image, "This is not normal.", turns=called_good(image))) == not_compared(engine.card)


class Speaker:
    """Says one word."""

    name, source, memory_mb, weights_hash, max_positions = "Speaker", "somebody/speaker", 0.0, "", None
    device = torch.device("cpu")

    def harmless(self, text):
        return text

    def read(self, messages):
        return {"input_ids": torch.zeros(1, 1)}

    def speak(self, *_):
        yield 1, "Fine."


@pytest.mark.parametrize("mode", ["explain", "describe", "chat"])
def test_who_only_explains_has_its_eyes_compare(engine, picture, mode):
    """The eyes were asked about the image alone, so their mask knew no good examples."""
    image, good = picture(1), [picture(2), picture(3)]
    eyes = FakeEngine(pause_s=0.0)
    reply(ExplainedEngine(eyes, Speaker()), image, "Why?", mode=mode, turns=called_good(*good), images=good)
    assert list(good_images(*eyes.seen[-1])) == good and eyes.seen[-1][1].image_id == image.image_id
    if mode != "chat":
        events = reply(ExplainedEngine(engine, Speaker()), image, mode=mode, turns=called_good(*good), images=good)
        assert same_maps(mask_of(events), engine.predictor.glance(image, good=good))
        assert "Compared with your two good examples." in notices(events)


def test_who_only_explains_lets_the_eyes_note_a_good_part(engine, picture):
    explained, image = ExplainedEngine(engine, Speaker()), picture(1)
    for mode in ("auto", "explain", "chat"):
        assert words(reply(explained, image, GOOD_PART, mode=mode)) == noted_good(1)
        assert words(reply(explained, image, "This is not normal.", mode=mode)) == "Fine."  # nobody called it good
        assert words(
            reply(explained, image, "This is not normal.", mode=mode, turns=called_good(image))
        ) == no_longer_good(0)


def test_a_base_without_a_mask_decoder_promises_no_comparison(make_model, tokenizer, picture, monkeypatch):
    card = {"engine_id": "base", "name": "Base", "device": "cpu", "weights": "UNTRAINED", "trained": False}
    base = AGVASEngine.of(make_model(), tokenizer, **card, speaks_alone=True)
    events = reply(base, picture(1), GOOD_PART)
    assert notices(events) == [NO_DECODER] and words(events) == not_compared(base.card)
    monkeypatch.setattr(base.predictor, "memory_bank", lambda good: pytest.fail("compared") if good else None)
    events = reply(base, picture(1), "What is it?", turns=called_good(picture(2)), images=[picture(2)])
    assert isinstance(events[-1], Done) and not any("Compared" in text for text in notices(events))

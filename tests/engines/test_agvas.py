import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from agvas_core.anchors import ANCHOR_TEXT
from agvas_core.checkpoint import save_checkpoint
from agvas_core.engines import registry
from agvas_core.engines import reply as making
from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.ask import ask
from agvas_core.engines.base import Engine
from agvas_core.engines.own_words import NO_ANCHORS, NO_DIAGNOSIS, NO_IMAGE, UNTRAINED, about_itself
from agvas_core.engines.text_stream import AnchorFilter, TokenText
from agvas_core.findings import measure
from agvas_core.memory import peak_memory_mb
from agvas_core.prompts import DEFAULT_INSTRUCTIONS, DIRECT_ANSWER, ChatTurn, Piece
from agvas_core.regions import place_of, rethreshold
from agvas_core.structures import (
    Conversation,
    Done,
    MaskReady,
    Notice,
    Request,
    Stage,
    TextDelta,
    Turn,
)
from agvas_core.tokenizer import encode_chat, encode_pieces
from agvas_core.wording import at
from agvas_core.writers import verdict_facts

WORDED = ("describe", "describe_plus", "explain", "chat")
MODES = ("direct", *WORDED)
SENTENCE = f"The anomaly is a dark hole, as indicated by {ANCHOR_TEXT}."


def say(monkeypatch, engine, text: str, end: bool = True) -> list[int]:
    """Let the model say these words, and return their tokens; end: then it stops, else it goes on with "x"."""
    predictor = engine.predictor
    chat = encode_chat(predictor.tokenizer, [ChatTurn("assistant", text)])
    tokens = [t for t, said in zip(chat.input_ids, chat.answer_mask, strict=True) if said]
    script = [t for t in tokens if t not in predictor.ids.anchors[1:]]  # ANO and SEG follow NOR by themselves
    more = iter(script if end else script[:-1])
    spare = encode_pieces(predictor.tokenizer, [Piece(" x", False, True)]).input_ids[0]

    def word_logits(hidden: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*hidden.shape[:-1], predictor.model.config.llm.vocab_size)
        logits[..., next(more, predictor.end_id if end else spare)] = 9.0
        return logits

    monkeypatch.setattr(predictor.model, "word_logits", word_logits)
    return tokens[:-1]


def reply(engine, image, *, turns=(), stop=None, **request):
    conversation = Conversation(tuple(turns), {} if image is None else {image.image_id: image})
    request = {"instruction": "", "image_id": image.image_id if image else None, "max_new_tokens": 24} | request
    return list(engine.respond(conversation, Request(**request), stop=stop))


def text_of(events) -> str:
    return "".join(e.text for e in events if isinstance(e, TextDelta))


def mask_of(events):
    return [e.prediction for e in events if isinstance(e, MaskReady)][-1]


def first(events, kind) -> int:
    return next(i for i, e in enumerate(events) if isinstance(e, kind))


# --- the order of events ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [*MODES, "auto"])
@pytest.mark.parametrize("instruction", ["", "Please segment the anomalies.", "Where is the scratch?", "[SEG] <image>"])
def test_every_reply_ends_in_exactly_one_done(engine, picture, mode, instruction):
    events = reply(engine, picture(), mode=mode, instruction=instruction, max_new_tokens=6)
    assert [isinstance(e, Done) for e in events] == [False] * (len(events) - 1) + [True]
    assert isinstance(events[0], Stage)
    done = events[-1]
    assert done.mode == mode if mode != "auto" else done.mode in MODES
    assert not done.stopped
    assert done.tokens <= 6
    assert done.seconds["encode"] > 0
    assert done.peak_memory_mb > 0
    if done.mode != "chat":
        assert any(isinstance(e, MaskReady) for e in events)


def test_the_engine_keeps_to_the_protocol(engine):
    assert isinstance(engine, Engine)
    assert engine.card.trained
    assert engine.card.weights == "made for tests"
    assert engine.card.markdown == "# Made for tests"
    assert engine.card.memory_mb > 1


def test_explain_shows_the_mask_before_any_word(engine, picture, monkeypatch):
    said = "This is a hole. It may let water in."
    say(monkeypatch, engine, said)
    events = reply(engine, picture(), mode="explain")
    assert first(events, MaskReady) < first(events, TextDelta)
    assert sum(isinstance(e, MaskReady) for e in events) == 1
    assert text_of(events) == said


@pytest.mark.parametrize("mode", ["describe", "describe_plus"])
def test_describe_says_words_before_the_mask(engine, picture, monkeypatch, mode):
    say(monkeypatch, engine, SENTENCE)
    events = reply(engine, picture(), mode=mode, normal_description="A clean plate.")
    assert first(events, TextDelta) < first(events, MaskReady)
    assert sum(isinstance(e, MaskReady) for e in events) == 1
    assert not any(isinstance(e, Notice) for e in events)
    assert text_of(events) == "The anomaly is a dark hole, as indicated by the mask."


def test_words_that_read_the_masks_kinds_are_held_to_it(engine, picture, monkeypatch):
    """The bundled model counted "five misprints" where its mask showed four and a pit, and copied shares wrongly."""
    model = engine.predictor.model
    monkeypatch.setattr(
        model, "config", replace(model.config, decoder=replace(model.config.decoder, measured_kinds=True))
    )
    wrong = "I found nine defects: nine pits."
    asked = {"mode": "chat", "instruction": "How many defects are there?", "max_new_tokens": 60}
    said = []
    for threshold in (0.0, 1.0):
        say(monkeypatch, engine, wrong)
        said.append(text_of(reply(engine, picture(), threshold=threshold, **asked)))
    assert said[0] in [f"There is one defect: a {kind}." for kind in ("scratch", "hole")]
    assert said[1] == "I see no defect."
    say(monkeypatch, engine, wrong)
    monkeypatch.setattr(engine, "hold_words", False)
    assert text_of(reply(engine, picture(), threshold=0.0, **asked)) == wrong


def test_a_chat_speaks_of_the_whole_mask_that_was_shown(engine, picture, monkeypatch):
    """A look of its own could differ from the mask above it by a region."""
    image, other = picture(1), mask_of(reply(engine, picture(1), mode="direct", threshold=1.0))
    seen = replace(other, p_seg=np.ones_like(other.p_seg), p_ano=np.ones_like(other.p_ano))
    asked = {"mode": "chat", "instruction": "Where is it?"}
    read = []
    monkeypatch.setattr(making, "measure", lambda prediction: read.append(prediction) or measure(prediction))
    for question in ("segment the anomalies", "segment only the scratch"):
        turns = (
            Turn("user", question, image.image_id),
            Turn("assistant", "Done.", image.image_id, "direct", seen),
        )
        reply(engine, image, turns=turns, **asked)
    assert read[0].pred_mask.all() and not read[1].pred_mask.all()  # a part is not all that there is to tell


def test_a_mistyped_word_is_read_as_it_was_meant_and_a_kind_is_told(engine, picture, monkeypatch):
    """To "segment the crak" it marked everything without a word, and to "wher is it?" the words declined."""
    read = spy_on_reading(engine, monkeypatch)
    events = reply(engine, picture(), instruction="Describe the crak", mode="chat")
    told = [e.text for e in events if isinstance(e, Notice)]
    assert told == ['I read "crak" as crack.'] and "Describe the crack" in read[-1]
    events = reply(engine, picture(), instruction="wher is it?", mode="chat")
    assert not [e for e in events if isinstance(e, Notice)] and "where is it?" in read[-1]


def test_showing_all_again_is_a_request_for_the_whole_mask(engine, picture, monkeypatch):
    image, read = picture(1), spy_on_reading(engine, monkeypatch)
    shown = mask_of(reply(engine, image, mode="direct"))
    turns = [Turn("user", "only the left one", image.image_id)]
    turns.append(Turn("assistant", "Done.", image.image_id, "explain", shown))
    events = reply(engine, image, turns=turns, instruction="put it back", mode="auto")
    assert events[-1].mode == "direct" and mask_of(events) is not None
    assert "Please segment the anomalies in this image." in read[-1] and "put it back" not in read[-1]


def test_a_diagnosis_is_left_to_a_physician(engine, picture, monkeypatch):
    read = spy_on_reading(engine, monkeypatch)
    events = reply(engine, picture(), instruction="is it malignant?", mode="chat")
    assert NO_DIAGNOSIS in [e.text for e in events if isinstance(e, Notice)] and "What do you see?" in read[-1]


def test_direct_shows_the_mask_and_a_short_sentence(engine, picture):
    found = reply(engine, picture(), mode="direct", threshold=0.0)
    assert text_of(found).startswith("Sure, it is marked: 1 region")
    nothing = reply(engine, picture(), mode="direct", threshold=1.0)
    assert mask_of(nothing).verdict == "normal"
    assert text_of(nothing) == "No anomaly found."


def test_an_empty_mask_says_what_came_near_and_where(engine, picture):
    """Beside a sign just below the threshold "No anomaly found" once said nothing of it."""
    image = picture(1)
    seen = mask_of(reply(engine, image, mode="direct"))
    score = float(seen.anomaly_map.max())
    y, x = np.unravel_index(seen.anomaly_map.argmax(), seen.size_hw)
    place = at(place_of(float(y), float(x), *seen.size_hw))

    def told(**request):
        return [e.text for e in reply(engine, image, mode="direct", **request) if isinstance(e, Notice)]

    near = score / 0.9
    assert told(threshold=near) == [
        f"Nothing is clear enough to be marked at the threshold {near:.2f}, but a sign {place} comes near with "
        f"{score:.2f}: please look there, or lower the threshold."
    ]
    assert told(threshold=min(1.0, score / 0.5)) == [] and told(threshold=0.0) == []
    small = told(threshold=score * 0.999, min_area_px=10**6)
    assert small == [f"What is above the threshold {place} is smaller than 1000000 px, so it is not marked."]


def test_chat_needs_no_mask(engine, picture, monkeypatch):
    say(monkeypatch, engine, "It is a metal plate.")
    events = reply(engine, picture(), mode="chat", instruction="What is it?")
    assert not any(isinstance(e, (MaskReady, Notice)) for e in events)
    assert text_of(events) == "It is a metal plate."


def test_a_first_question_about_what_is_wrong_comes_with_the_mask_that_its_answer_speaks_of(
    engine, picture, monkeypatch
):
    image, question = picture(), {"instruction": "Is this part good, and where not?", "mode": "auto", "threshold": 0.0}
    say(monkeypatch, engine, "It is not good.")
    events = reply(engine, image, **question)
    assert events[-1].mode == "chat" and first(events, MaskReady) < first(events, TextDelta)
    assert np.array_equal(mask_of(events).anomaly_map, engine.predictor.glance(image).anomaly_map)
    assert mask_of(events).threshold == 0.0
    shown = (Turn("user", "x", image.image_id), Turn("assistant", "y", image.image_id, prediction=mask_of(events)))
    say(monkeypatch, engine, "It is not good.")
    assert not any(isinstance(e, MaskReady) for e in reply(engine, image, turns=shown, **question))
    for other in ({"mode": "chat"}, {"instruction": "Tell me a joke."}, {"instruction": "What should it look like?"}):
        say(monkeypatch, engine, "No mask is due.")
        assert not any(isinstance(e, MaskReady) for e in reply(engine, image, **(question | other))), other


def test_why_is_asked_of_the_mask_that_is_seen(engine, picture, monkeypatch):
    """After "only the left one" the words once spoke of all regions again."""
    image, lines = picture(), []
    monkeypatch.setattr(making, "measure", lambda prediction: lines.append(prediction) or measure(prediction))
    part = rethreshold(engine.predictor.glance(image), threshold=0.99)
    shown = (Turn("user", "only that", image.image_id), Turn("assistant", "y", image.image_id, prediction=part))
    say(monkeypatch, engine, "Because.")
    reply(engine, image, turns=shown, mode="auto", instruction="Why is that not normal?", threshold=0.0)
    say(monkeypatch, engine, "All of it.")
    reply(engine, image, turns=shown, mode="auto", instruction="What do you see?", threshold=0.0)
    assert lines[0] is part and lines[1].threshold == 0.0


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_how_sure_it_is_is_answered_with_the_maps_own_values(engine, picture, monkeypatch, threshold):
    say(monkeypatch, engine, "Very sure.")
    image = picture()
    events = reply(engine, image, mode="auto", instruction="How sure are you?", threshold=threshold)
    score = engine.predictor.glance(image).pred_score
    assert f"scores {score:.2f} of 1" in text_of(events)
    assert ("nothing is marked" in text_of(events)) == (threshold == 1.0)
    assert "Very sure" not in text_of(events) and events[-1].tokens == 0


def test_how_sure_it_is_of_a_region_is_answered_by_the_region(engine, picture):
    image = picture()
    events = reply(engine, image, mode="auto", instruction="How sure are you about region 1?", threshold=0.0)
    assert text_of(events).startswith("Region 1 scores ") and "its likeliest kind is" in text_of(events)


def test_anchors_in_a_chat_are_decoded_too(engine, picture, monkeypatch):
    say(monkeypatch, engine, SENTENCE)
    events = reply(engine, picture(), mode="chat", instruction="What is it?")
    assert sum(isinstance(e, MaskReady) for e in events) == 1


@pytest.mark.parametrize("mode", ["describe", "describe_plus"])
def test_words_without_anchors_never_end_in_silence(engine, picture, monkeypatch, mode):
    say(monkeypatch, engine, "There is a hole.")
    events = reply(engine, picture(), mode=mode)
    assert [e.text for e in events if isinstance(e, Notice)] == [NO_ANCHORS]
    assert sum(isinstance(e, MaskReady) for e in events) == 1
    assert text_of(events) == "There is a hole."


def test_no_image_is_said(engine):
    for mode in (*MODES, "auto"):
        events = reply(engine, None, mode=mode, instruction="Segment it.")
        assert [type(e) for e in events] == [Notice, Done]
        assert events[0].text == NO_IMAGE
        assert events[0].text.endswith(".")
        assert events[1].mode != "auto"


# --- streaming -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["Größe 12.5 %, 表面有缺陷。", "A 👩‍🔧 says: it's fine…\nNext line  two blanks.", "x", "中" * 9]
)
def test_streamed_equals_unstreamed(engine, picture, monkeypatch, text):
    tokens = say(monkeypatch, engine, text)
    events = reply(engine, picture(), mode="explain", max_new_tokens=200)
    pieces = [e.text for e in events if isinstance(e, TextDelta)]
    assert "".join(pieces) == text == engine.predictor.tokenizer.decode(tokens)
    assert all(pieces)
    assert "\ufffd" not in "".join(pieces)
    assert events[-1].tokens == len(tokens)
    assert len(pieces) > 1 or len(tokens) == 1


def test_a_character_comes_when_it_is_whole(tokenizer):
    stream = TokenText(tokenizer)
    tokens = encode_pieces(tokenizer, [Piece("a🔧b", False, True)]).input_ids
    pieces = [stream.push(t) for t in tokens]
    assert "".join(pieces) + stream.finish() == "a🔧b"
    assert all(p in ("", "a", "🔧", "b") for p in pieces)
    half = TokenText(tokenizer)
    half.push(encode_pieces(tokenizer, [Piece("🔧", False, True)]).input_ids[0])
    assert half.finish() == "\ufffd"  # the bound cut a character: said, not lost


@pytest.mark.parametrize(
    ("before", "shown"), [("It is", "It is the mask."), ("It is ", "It is the mask."), ("", "."), ("  ", ".")]
)
def test_anchors_read_as_words(before, shown):
    visible = AnchorFilter()
    assert visible.push(before) + visible.anchors() + visible.push(".") == shown


def test_stop_before_the_reply(engine, picture):
    for mode in MODES:
        stop = threading.Event()
        stop.set()
        events = reply(engine, picture(), mode=mode, stop=stop)
        assert events[-1].stopped
        assert events[-1].tokens == 0
        assert sum(isinstance(e, Done) for e in events) == 1


@pytest.mark.parametrize("mode", WORDED)
def test_stop_within_the_words(engine, picture, monkeypatch, mode):
    say(monkeypatch, engine, "It is a dark hole near the edge.", end=False)
    stop = threading.Event()
    events = []
    request = Request("", picture().image_id, mode, max_new_tokens=100)
    for event in engine.respond(Conversation().with_image(picture()), request, stop=stop):
        events.append(event)
        if isinstance(event, TextDelta):
            stop.set()
    assert events[-1].stopped
    assert events[-1].tokens <= 2
    assert not any(isinstance(e, Notice) for e in events)


def test_the_bound_on_words_holds(engine, picture, monkeypatch):
    say(monkeypatch, engine, "It", end=False)
    events = reply(engine, picture(), mode="explain", max_new_tokens=5)
    assert events[-1].tokens == 5
    assert not events[-1].stopped


# --- masks -----------------------------------------------------------------------------------------------------------


def test_a_new_direct_question_is_one_pass_of_the_language_model(engine, picture, monkeypatch):
    calls = []
    language_model = engine.predictor.model.lmm.model.language_model
    forward = language_model.forward
    monkeypatch.setattr(language_model, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    reply(engine, picture(), mode="direct", instruction="Please segment the anomalies.")
    assert len(calls) == 1
    reply(engine, picture(), mode="direct", instruction="Please segment the defects.")
    assert len(calls) == 2


def test_token_by_token_decoding_gives_the_mask_of_the_single_pass(engine, picture, monkeypatch):
    predictor, image = engine.predictor, picture(5)
    single = mask_of(reply(engine, image, mode="direct", instruction=DEFAULT_INSTRUCTIONS["direct"]))
    encoded = predictor.set_image(image)
    question = [ChatTurn("user", DEFAULT_INSTRUCTIONS["direct"])]
    prompt = encode_chat(predictor.tokenizer, question, add_generation_prompt=True).input_ids
    prefix = predictor.read(predictor.expand(prompt), encoded)
    tokens = say(monkeypatch, engine, DIRECT_ANSWER)
    said = list(predictor.generate(prefix, encoded, 30))
    assert [token for token, _ in said] == tokens
    states = torch.stack([state for token, state in said if token in predictor.ids.anchors])
    decoded = predictor.decode_states(states[None], encoded)
    for name in ("p_seg", "p_nor", "p_ano"):
        np.testing.assert_allclose(getattr(decoded, name), getattr(single, name), atol=2e-6)
    assert (decoded.pred_mask != single.pred_mask).mean() < 0.001


@pytest.mark.parametrize("mode", ["direct", "describe", "explain"])
def test_threshold_alpha_area_and_region_of_interest_are_honoured(engine, picture, monkeypatch, mode):
    image = picture(6)
    plain = mask_of(reply(engine, image, mode=mode, max_new_tokens=2))
    level = float(np.median(0.2 * plain.p_seg + 0.8 * plain.p_ano))
    wanted = {"threshold": level, "alpha": 0.2, "min_area_px": 5, "roi_xyxy": (10, 20, 60, 90)}
    got = mask_of(reply(engine, image, mode=mode, max_new_tokens=2, **wanted))
    assert (got.threshold, got.alpha, got.min_area_px, got.roi_xyxy) == tuple(wanted.values())
    assert bool(got.pred_mask.any())
    outside = got.pred_mask.copy()
    outside[20:90, 10:60] = False
    assert not bool(outside.any())
    assert all(region.area_px >= 5 for region in got.regions)
    expected = rethreshold(replace(plain, roi_xyxy=got.roi_xyxy), threshold=level, alpha=0.2, min_area_px=5)
    assert (expected.pred_mask != got.pred_mask).mean() < 0.001


def test_the_smallest_area_0_keeps_specks_which_nothing_once_did(engine, picture):
    """Parts below a ten-thousandth of the image were dropped whatever was asked for, and nothing said so."""
    image = picture(6, size_hw=(300, 300))
    everything = mask_of(reply(engine, image, mode="direct", min_area_px=0))
    level = float(np.quantile(everything.anomaly_map, 0.999))
    areas = {}
    for smallest in (None, 0, 1, 50):
        got = mask_of(reply(engine, image, mode="direct", min_area_px=smallest, threshold=level))
        areas[smallest] = got.min_area_px
        if smallest == 0:
            assert np.array_equal(got.pred_mask, got.anomaly_map > level)
    assert areas == {None: 9, 0: 0, 1: 9, 50: 50}


@pytest.mark.parametrize("mode", WORDED)
def test_the_words_read_only_what_the_mask_shows(engine, picture, monkeypatch, mode):
    # describing modes once measured outside the region of interest too
    lines = []
    monkeypatch.setattr(making, "measure", lambda p, m=measure: lines.append((p.threshold, p.roi_xyxy)) or m(p))
    reply(engine, picture(), mode=mode, threshold=0.25, roi_xyxy=(0, 0, 30, 30), max_new_tokens=2)
    assert set(lines) == {(0.25, (0, 0, 30, 30))}


def test_a_wrong_region_of_interest_is_named(engine, picture):
    with pytest.raises(ValueError, match="region of interest"):
        reply(engine, picture(), mode="direct", roi_xyxy=(500, 500, 600, 600))


# --- dialogues -------------------------------------------------------------------------------------------------------


def spy_on_reading(engine, monkeypatch) -> list[str]:
    read, seen = engine.predictor.read, []

    def spying(ids, *rest, **options):
        seen.append(engine.predictor.tokenizer.decode(ids))
        return read(ids, *rest, **options)

    monkeypatch.setattr(engine.predictor, "read", spying)
    return seen


def dialogue(engine, image, other):
    shown = mask_of(reply(engine, image, mode="direct"))
    turns = []
    for n in range(6):
        about = other if n % 3 == 2 else image
        turns.append(Turn("user", f"Question {n}?", about.image_id))
        turns.append(Turn("assistant", f"Answer {n}.", about.image_id, "direct", shown if about is image else None))
    return turns


@pytest.mark.parametrize("mode", MODES)
def test_the_newest_exchanges_about_the_image_are_read(engine, picture, monkeypatch, mode):
    image, other = picture(1), picture(2)
    turns = dialogue(engine, image, other)
    seen = spy_on_reading(engine, monkeypatch)
    events = reply(engine, image, turns=turns, mode=mode, instruction="And now?", max_new_tokens=3)
    assert isinstance(events[-1], Done)
    read = seen[-1]
    assert "Question 3?" in read and "Answer 4." in read  # 5 was about the other image
    assert "Question 5?" not in read and "Question 0?" not in read
    assert read.index("Answer 3.") < read.index("Answer 4.") < read.index("And now?")
    assert read.count("<image>") == engine.predictor.model.config.image_tokens


def test_a_mask_inside_an_ongoing_dialogue_needs_no_cache(engine, picture):
    image, other = picture(1), picture(2)
    turns = dialogue(engine, image, other)
    ask_now = {"turns": turns, "mode": "direct", "instruction": "Please segment it."}
    warm = mask_of(reply(engine, image, **ask_now))
    again = mask_of(reply(engine, image, **ask_now))
    engine.predictor.__init__(engine.predictor.model, engine.predictor.tokenizer)
    cold = mask_of(reply(engine, image, **ask_now))
    for prediction in (again, cold):
        np.testing.assert_allclose(prediction.anomaly_map, warm.anomaly_map, atol=2e-6)


def test_odd_histories_do_no_harm(engine, picture):
    image = picture(1)
    for turns in (
        [Turn("assistant", "Hello", image.image_id)],
        [Turn("user", "One", image.image_id), Turn("user", "Two", image.image_id)],
        [Turn("user", "", image.image_id), Turn("assistant", "", image.image_id)],
        [Turn("user", "[SEG] <image>", image.image_id), Turn("assistant", f"{ANCHOR_TEXT} <region>", image.image_id)],
    ):
        for mode in ("direct", "explain"):
            assert isinstance(reply(engine, image, turns=turns, mode=mode, max_new_tokens=2)[-1], Done)


def test_a_history_beyond_the_models_positions_is_left_out(engine, picture, monkeypatch):
    image = picture(1)
    seen = spy_on_reading(engine, monkeypatch)
    turns = [Turn("user", "\u9f98" * 1500, image.image_id), Turn("assistant", "Long.", image.image_id)]
    turns += [Turn("user", "Short?", image.image_id), Turn("assistant", "Yes.", image.image_id)]
    reply(engine, image, turns=turns, mode="direct")
    assert "Short?" in seen[-1] and "Long." not in seen[-1]


def test_an_earlier_answer_cannot_spell_anchors(engine, picture, monkeypatch):
    image = picture(1)
    seen = spy_on_reading(engine, monkeypatch)
    turns = [Turn("user", "One?", image.image_id), Turn("assistant", f"It is {ANCHOR_TEXT}.", image.image_id)]
    reply(engine, image, turns=turns, mode="direct")
    assert seen[-1].count(ANCHOR_TEXT) == 1  # the direct answer's own


def test_memory_is_told_where_the_system_tells_it(monkeypatch):
    assert peak_memory_mb(torch.device("cpu")) > 1
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert peak_memory_mb(torch.device("cpu")) == 0.0


def test_a_missing_bundled_model_is_said_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "CHECKPOINTS", tmp_path)
    with pytest.raises(FileNotFoundError, match="bundled model is not there.*make train-nano"):
        registry.load_engine("agvas-nano")


def test_ask_collects_a_reply(engine, picture, monkeypatch):
    say(monkeypatch, engine, SENTENCE)
    seen = []
    collected = ask(engine, picture(), Request("", mode="describe"), on_event=seen.append)
    assert collected.text.endswith("as indicated by the mask.")
    assert collected.prediction is not None
    assert collected.done is seen[-1]
    assert collected.notices == ()


# --- which model -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def untrained(make_model, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("untrained")
    save_checkpoint(make_model(use_region_tokens=False), tokenizer, folder, card="", training={})
    return AGVASEngine(folder, engine_id="untrained", name="Untrained")


@pytest.mark.parametrize("mode", MODES)
def test_untrained_weights_are_said_first(untrained, picture, mode):
    assert not untrained.card.trained
    assert untrained.card.weights.startswith("UNTRAINED")
    events = reply(untrained, picture(), mode=mode, max_new_tokens=2)
    assert events[0] == Notice(UNTRAINED)
    assert first(events, Notice) < min((i for i, e in enumerate(events) if isinstance(e, MaskReady)), default=99)
    assert isinstance(events[-1], Done)


def test_untrained_weights_find_nothing(untrained, picture):
    events = reply(untrained, picture(), mode="direct", threshold=0.0)  # everything is one region
    assert not any(isinstance(e, TextDelta) for e in events)
    (prediction,) = (e.prediction for e in events if isinstance(e, MaskReady))
    assert prediction.regions
    facts = verdict_facts(prediction, untrained.card, "direct")
    assert (facts["verdict"], facts["regions"], facts["trained"]) == ("none: untrained weights", [], False)


@pytest.mark.parametrize("mode", WORDED)
def test_a_model_without_region_tokens_answers_too(untrained, picture, mode):
    events = reply(untrained, picture(), mode=mode, threshold=0.0, max_new_tokens=3)  # everything is one region
    assert isinstance(events[-1], Done)


def test_preparing_encodes_ahead(engine, picture):
    engine.prepare(picture(8))
    assert engine.predictor.has_image(picture(8).image_id)


# --- questions that are too long -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("question", "said"), [("\u9f98" * 1950, "makes 5,"), ("long " * 401, "at most 2,000")])
def test_a_question_that_is_too_long_is_refused_in_a_sentence_and_not_cut(engine, picture, mode, question, said):
    """A question was once bounded in characters only: 1,950 Chinese ones are more tokens than there are positions."""
    events = reply(engine, picture(), mode=mode, instruction=question)
    assert [type(e) for e in events if not isinstance(e, Stage)] == [Notice, Done]
    assert said in events[-2].text and "Edit" in events[-2].text
    fits = reply(engine, picture(), mode=mode, instruction="\u9f98" * 300, max_new_tokens=2)
    assert not any("too long" in e.text for e in fits if isinstance(e, Notice))


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        ("What is the IoU?", "That takes a mask drawn by hand"),
        ("how accurate are you?", "That takes a mask drawn by hand"),
        ("what is the accuracy of this?", "That takes a mask drawn by hand"),
        ("Which anchors did you use?", "My masks are read from"),
        ("explain the anchor tokens", "My masks are read from"),
        ("where is the precision hole?", None),
        ("how many anchors are loose?", None),
        ("mark the dice", None),
        ("", None),
    ],
)
def test_questions_about_measures_and_anchors_are_not_answered_from_the_image(words, begins):
    """The words once told of a defect when they were asked for an IoU."""
    said = about_itself(words)
    assert said is None if begins is None else said is not None and said.startswith(begins)


def test_in_a_chat_it_tells_about_itself_without_a_look(checkpoint, picture):
    engine = AGVASEngine(checkpoint, engine_id="test", name="Test")
    asked = ask(engine, picture(), Request("What is the IoU?"))
    assert asked.text == about_itself("What is the IoU?") and asked.prediction is None

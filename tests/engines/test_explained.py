"""Masks by one engine, words by a large model of somebody else's class."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

from agvas_core.engines.base import Engine
from agvas_core.engines.explained import CROPS, ExplainedEngine, contradicts, measured_verdict
from agvas_core.engines.speaker import Message, Speaker
from agvas_core.processing import open_image
from agvas_core.regions import make_prediction
from agvas_core.structures import Conversation, Done, MaskReady, Notice, Request, Stage, TextDelta, Turn
from tests.demo.pictures import spotted
from tests.engines.speakers import save_idefics3, save_onevision
from tests.fakes import FakeEngine, untrained_engine

WORDED = ("describe", "describe_plus", "explain", "chat")
MAKERS = {"onevision": save_onevision, "idefics3": save_idefics3}


@pytest.fixture(scope="module", params=list(MAKERS))
def speaker(request, tmp_path_factory):
    """A tiny random model of each class, loaded from its folder."""
    return Speaker(str(MAKERS[request.param](tmp_path_factory.mktemp(request.param) / "tiny-speaker")))


@pytest.fixture(scope="module")
def onevision(tmp_path_factory):
    return Speaker(str(save_onevision(tmp_path_factory.mktemp("one") / "tiny-onevision")))


@pytest.fixture
def photo():
    return open_image(spotted(2), name="part.png")


@pytest.fixture
def engine(onevision):
    return ExplainedEngine(FakeEngine(pause_s=0.0), onevision)


def reply(engine, image, *, turns=(), stop=None, **request):
    conversation = Conversation(tuple(turns), {image.image_id: image})
    request = {"instruction": "", "image_id": image.image_id, "max_new_tokens": 8} | request
    return list(engine.respond(conversation, Request(**request), stop=stop))


def first(events, kind) -> int:
    return next(i for i, e in enumerate(events) if isinstance(e, kind))


def notices(events) -> str:
    return " ".join(e.text for e in events if isinstance(e, Notice))


def listen(engine, monkeypatch) -> list[list[Message]]:
    """Return a list that fills with what the speaker reads."""
    heard: list[list[Message]] = []
    read = engine.speaker.read
    monkeypatch.setattr(engine.speaker, "read", lambda messages: heard.append(messages) or read(messages))
    return heard


def let_say(engine, monkeypatch, words: str) -> None:
    monkeypatch.setattr(engine.speaker, "speak", lambda *a: iter([(1, w + " ") for w in words.split()]))


# --- modes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["direct", *WORDED, "auto"])
def test_every_mode_answers_with_any_class(speaker, photo, mode):
    engine = ExplainedEngine(FakeEngine(pause_s=0.0), speaker)
    assert isinstance(engine, Engine)
    events = reply(engine, photo, mode=mode, instruction="Please segment the anomalies and explain.")
    assert [isinstance(e, Done) for e in events] == [False] * (len(events) - 1) + [True]
    done = events[-1]
    assert done.mode == ("explain" if mode == "auto" else mode) and not done.stopped
    assert sum(isinstance(e, MaskReady) for e in events) == (mode != "chat")
    if mode == "direct":
        assert done.tokens == 0 and "was not asked" in notices(events)
        return
    assert 0 < done.tokens <= 8 and any(isinstance(e, TextDelta) for e in events)
    assert f"Seen and measured by Fake engine, put into words by {speaker.name}." in notices(events)
    if mode != "chat":
        assert (first(events, MaskReady) < first(events, TextDelta)) == (mode in ("explain", "auto"))


def test_the_card_says_who_sees_and_who_speaks(engine):
    card = engine.card
    assert card.name == "Fake engine sees, tiny-onevision speaks"
    assert "masks: none: a fixed rule" in card.weights and card.memory_mb > 0 and card.trained


def test_the_speaker_sees_the_photo_the_crops_and_the_facts(engine, photo, monkeypatch):
    heard = listen(engine, monkeypatch)
    events = reply(engine, photo, mode="describe_plus", instruction="What is wrong?", normal_description="Even metal.")
    prediction = next(e.prediction for e in events if isinstance(e, MaskReady))
    (message,) = heard[-1]
    assert len(message.pictures) == 1 + min(CROPS, len(prediction.regions))
    assert np.array_equal(np.asarray(message.pictures[0]), photo.rgb)
    assert measured_verdict(prediction) in message.text and "2 regions are marked" in message.text
    for region in prediction.regions:
        left, top, right, bottom = region.box_xyxy
        fact = f"Region {region.index} (picture {region.index + 1}): {region.place}"
        assert fact in message.text and f"{right - left} x {bottom - top} px" in message.text
    assert "probably a stain" in message.text and "perhaps a hole" in message.text
    assert "How it normally looks: Even metal." in message.text and message.text.endswith("Question: What is wrong?")


def test_a_normal_photo_is_said_to_be_normal(engine, monkeypatch):
    heard = listen(engine, monkeypatch)
    reply(engine, open_image(spotted(0)), mode="explain")
    (message,) = heard[-1]
    assert "Verdict: normal: no anomaly was found" in message.text and len(message.pictures) == 1


def test_earlier_turns_are_read_and_the_pictures_stand_first(engine, photo, monkeypatch):
    heard = listen(engine, monkeypatch)
    shown = next(e.prediction for e in reply(engine, photo, mode="direct") if isinstance(e, MaskReady))
    asked = len(engine.eyes.seen)
    turns = [
        Turn("user", "Where is it?", photo.image_id),
        Turn("assistant", "In the corner.", photo.image_id, "explain", shown),
        Turn("user", "Of another image?", "x"),
        Turn("assistant", "Yes.", "x"),
    ]
    reply(engine, photo, mode="chat", instruction="And why?", turns=turns)
    assert [m.role for m in heard[-1]] == ["user", "assistant", "user"]
    assert [len(m.pictures) for m in heard[-1]] == [3, 0, 0]
    assert heard[-1][0].text.endswith("Where is it?") and heard[-1][1].text == "In the corner."
    assert "2 regions are marked" in heard[-1][2].text and "another image" not in str([m.text for m in heard[-1]])
    assert len(engine.eyes.seen) == asked  # the mask that was shown is talked about


def test_words_that_single_something_out_reach_the_eyes_and_others_do_not(engine, photo):
    reply(engine, photo, mode="explain", instruction="segment only the scratch")
    assert engine.eyes.seen[-1][1].instruction == "segment only the scratch"
    reply(engine, photo, mode="explain", instruction="Tell me a story about it", threshold=0.3, roi_xyxy=(0, 0, 50, 50))
    request = engine.eyes.seen[-1][1]
    assert request.instruction == "Please segment the anomalies in this image." and request.mode == "direct"
    assert (request.threshold, request.roi_xyxy) == (0.3, (0, 0, 50, 50))


def test_untrained_eyes_measure_nothing_for_the_speaker(onevision, photo, monkeypatch):
    engine = ExplainedEngine(untrained_engine(), onevision)
    heard = listen(engine, monkeypatch)
    reply(engine, photo, mode="explain")
    assert "No measured facts" in heard[-1][0].text and len(heard[-1][0].pictures) == 1
    assert not engine.card.trained


# --- safety ----------------------------------------------------------------------------------------------------------


def test_users_cannot_type_the_speakers_control_tokens(speaker, photo):
    tokenizer = speaker.processor.tokenizer
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)

    def count(words: str) -> int:
        inputs = speaker.read([Message("user", speaker.harmless(words), (spotted(1, size_hw=(20, 20)),))])
        return sum(int(i) in special for i in inputs["input_ids"][0])

    plain = count("hello")
    tokens = [str(t) for t in tokenizer.added_tokens_decoder.values()]
    for token in [t for t in tokens if not t.startswith("<row_") or t.endswith("_col_6>")]:
        wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in token)
        for words in (
            token,
            f"a{token}b",
            token * 2,
            token[:3] + token + token[3:],
            token.upper(),
            wide,
            " ".join(token),
        ):
            assert count(words) == plain, words


def test_what_was_said_earlier_cannot_spell_control_tokens(engine, photo, monkeypatch):
    heard = listen(engine, monkeypatch)
    turns = [Turn("user", "<video> <|im_end|>", photo.image_id), Turn("assistant", "<image>", photo.image_id)]
    reply(engine, photo, mode="chat", instruction="<image>", turns=turns)
    assert not any(t in m.text for m in heard[-1] for t in ("<image>", "<video>", "<|im_end|>"))


@pytest.mark.parametrize("mode", WORDED)
def test_stop_ends_the_words_within_two_tokens(engine, photo, mode):
    stop, events, tokens = threading.Event(), [], 0
    request = Request("", photo.image_id, mode, max_new_tokens=400)
    for event in engine.respond(Conversation().with_image(photo), request, stop=stop):
        events.append(event)
        if isinstance(event, TextDelta) and not stop.is_set():
            tokens = 400
            stop.set()
    assert stop.is_set() and events[-1].stopped and events[-1].tokens <= 12 < tokens
    assert not [t for t in threading.enumerate() if t.name == "agvas-speaker"]


def test_no_more_than_two_tokens_are_made_after_a_stop(onevision):
    made = []
    model = onevision.model
    hook = model.register_forward_hook(lambda *a: made.append(1))
    stop = threading.Event()
    inputs = onevision.read([Message("user", "hello", (spotted(1, size_hw=(20, 20)),))])
    for n, _ in enumerate(onevision.speak(inputs, 300, stop)):
        if n == 5:
            stop.set()
            at_stop = 6
    hook.remove()
    assert len(made) <= at_stop + 3  # two may be under way, and one forward pass read the prompt


def test_a_listener_who_leaves_ends_the_thread(engine, photo):
    events = engine.respond(
        Conversation().with_image(photo), Request("", photo.image_id, "explain", max_new_tokens=400)
    )
    for event in events:
        if isinstance(event, TextDelta):
            break
    events.close()
    assert not [t for t in threading.enumerate() if t.name == "agvas-speaker"]


def test_what_the_model_raises_is_raised_here(onevision, monkeypatch):
    monkeypatch.setattr(onevision.model, "generate", lambda **k: (_ for _ in ()).throw(RuntimeError("out of memory")))
    with pytest.raises(RuntimeError, match="out of memory"):
        list(onevision.speak({}, 5, threading.Event()))


def test_streamed_words_equal_the_unstreamed_ones(speaker):
    inputs = speaker.read([Message("user", "hello", (spotted(1, size_hw=(20, 20)),))])
    whole = speaker.model.generate(**inputs, max_new_tokens=20, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    pieces = list(speaker.speak(inputs, 20, threading.Event()))
    decode = speaker.processor.tokenizer.decode
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    assert "".join(text for _, text in pieces) == decode(whole, **options).lstrip()
    assert sum(n for n, _ in pieces) == len(whole)


# --- words and mask --------------------------------------------------------------------------------------------------


def prediction(found: bool):
    score = np.zeros((20, 20), np.float32)
    score[4:9, 4:9] = 0.9 * found
    return make_prediction(image_id="x", p_seg=score, p_nor=1 - score, p_ano=score)


@pytest.mark.parametrize(
    ("found", "words", "wrong"),
    [
        (True, "The part looks normal.", True),
        (True, "There are no visible defects in this image.", True),
        (True, "没有发现异常。", True),
        (True, "There is a scratch in the upper left. There is no damage elsewhere.", False),
        (True, "The first region is dark and round.", False),
        (False, "There is a deep scratch on the left.", True),
        (False, "I see two cracks.", True),
        (False, "发现一条划痕。", True),
        (False, "There is no scratch and no stain. It looks fine.", False),
        (False, "A scratch would show as a thin bright line.", False),
        (False, "The surface is even.", False),
    ],
)
def test_a_plain_contradiction_is_noticed(found, words, wrong):
    assert contradicts(words, prediction(found)) == wrong


def test_words_never_contradict_the_mask_in_silence(engine, photo, monkeypatch):
    let_say(engine, monkeypatch, "The part looks normal.")
    events = reply(engine, photo, mode="explain")
    assert "Words and mask disagree: 2 regions are marked" in notices(events)
    assert next(e.prediction for e in events if isinstance(e, MaskReady)).verdict == "anomaly"
    let_say(engine, monkeypatch, "There are two dark stains.")
    assert "disagree" not in notices(reply(engine, photo, mode="explain"))


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_left_out_oldest_first_and_at_last_said(tmp_path, photo, monkeypatch):
    speaker = Speaker(str(save_onevision(tmp_path, max_positions=1000)))
    engine = ExplainedEngine(FakeEngine(pause_s=0.0), speaker)
    heard = listen(engine, monkeypatch)
    turns = [Turn("user", "earlier " * 120, photo.image_id), Turn("assistant", "Yes.", photo.image_id)]
    reply(engine, photo, mode="chat", instruction="why?", turns=turns)
    assert len(heard[0]) == 3 and len(heard[-1]) == 1 and "earlier" not in heard[-1][0].text
    events = reply(engine, photo, mode="explain", instruction="\u9f98" * 600)
    assert "too long for" in notices(events) and events[-1].tokens == 0
    assert any(isinstance(e, MaskReady) for e in events)  # what could be done is shown
    events = reply(engine, photo, mode="explain", instruction="x" * 2001)
    assert "at most 2,000" in notices(events)


def test_words_that_end_at_the_limit_say_so(engine, photo, monkeypatch):
    let_say(engine, monkeypatch, "one two three")
    assert "3 tokens are the limit" in notices(reply(engine, photo, mode="explain", max_new_tokens=3))
    assert "limit" not in notices(reply(engine, photo, mode="explain", max_new_tokens=4))


# --- loading ---------------------------------------------------------------------------------------------------------


def refused(name) -> str:
    with pytest.raises((FileNotFoundError, ValueError)) as error:
        Speaker(str(name))
    assert "\n" not in str(error.value) and str(error.value).endswith(".")
    return str(error.value)


def test_a_model_that_is_not_there_is_said_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    said = refused("nobody/no-such-model")
    assert "nobody/no-such-model is not on this machine" in said and "hf download" in said
    assert "does not hold a whole model" in refused(tmp_path) or "cannot be the explainer" in refused(tmp_path)


def test_what_cannot_be_an_explainer_is_refused(tmp_path):
    text_only = Qwen2ForCausalLM(Qwen2Config(hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                                             num_attention_heads=1, num_key_value_heads=1, vocab_size=50))  # fmt: skip
    text_only.save_pretrained(tmp_path / "text")
    assert "does not answer in words about images" in refused(tmp_path / "text")
    folder = save_onevision(tmp_path / "holes")
    weights = load_file(folder / "model.safetensors")
    del weights[next(name for name in weights if "projector" in name)]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "1 of its weights are missing" in refused(folder)


def test_a_model_without_a_template_is_refused(tmp_path):
    folder = save_onevision(tmp_path / "silent")
    (folder / "chat_template.jinja").unlink()
    assert "no chat template" in refused(folder)


# --- ways in ---------------------------------------------------------------------------------------------------------


def test_predict_takes_an_explainer(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    import agvas_core
    from agvas_core.cli.app import app

    monkeypatch.setitem(vars(agvas_core), "load_engine", lambda name: FakeEngine(pause_s=0.0))
    folder = save_onevision(tmp_path / "tiny")
    spotted(2).save(tmp_path / "part.png")
    words = ["predict", str(tmp_path / "part.png"), "--mode", "explain", "--explainer", str(folder), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["verdict"] == "anomaly" and facts["engine"] == f"fake+{folder}"
    assert "put into words by tiny" in " ".join(facts["notices"])


def test_the_page_offers_the_engine_with_the_explainer_and_alone(tmp_path, monkeypatch):
    import agvas_core
    import demo

    loaded, desks = [], []
    monkeypatch.setitem(vars(agvas_core), "load_engine", lambda name: loaded.append(name) or FakeEngine(pause_s=0.0))
    monkeypatch.setattr(demo, "launch", lambda desk, **k: desks.append(desk))
    folder = save_onevision(tmp_path / "tiny")
    demo.serve("agvas-nano", explainer=str(folder))
    (desk,) = desks
    assert loaded == [] and desk.default == f"agvas-nano + {folder}"
    assert desk.engine_ids[0] == desk.default and "agvas-nano" in desk.engine_ids  # alone, too
    explained = desk.get()
    assert explained.card.name == "Fake engine sees, tiny speaks" and explained.eyes is desk.get("agvas-nano")
    assert loaded == ["agvas-nano"]


def test_an_explainer_that_is_missing_is_said_in_the_reply(tmp_path, photo, monkeypatch):
    import agvas_core
    import demo
    from demo.handlers import Settings, ask
    from demo.session import FileStore, Session

    desks = []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setitem(vars(agvas_core), "load_engine", lambda name: FakeEngine(pause_s=0.0))
    monkeypatch.setattr(demo, "launch", lambda desk, **k: desks.append(desk))
    demo.serve("agvas-nano", explainer="nobody/no-such-model")
    spotted(1).save(tmp_path / "part.png")
    session = Session(FileStore(tmp_path / "cache"))
    for _ in ask(session, desks[0], "segment", [str(tmp_path / "part.png")], Settings()):
        pass
    assert "nobody/no-such-model is not on this machine" in session.exchanges[0].reply.errors[0]


def test_no_image_is_said_by_the_eyes(engine):
    events = list(engine.respond(Conversation(), replace(Request("Segment it."), mode="explain")))
    assert isinstance(events[-1], Done) and not any(isinstance(e, (MaskReady,)) for e in events)
    assert all(isinstance(e, (Stage, Notice, TextDelta, Done)) for e in events)

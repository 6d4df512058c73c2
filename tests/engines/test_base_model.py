import json

import pytest
from typer.testing import CliRunner

from agvas_core import list_engines, load_engine
from agvas_core.cli.app import app
from agvas_core.config import PRESETS
from agvas_core.engines import base_model
from agvas_core.engines.base_model import BASES, parse_base_name
from agvas_core.engines.own_words import NO_DECODER
from agvas_core.engines.registry import is_engine
from agvas_core.structures import MODES, Conversation, Done, MaskReady, Notice, Request, Stage, TextDelta, Turn
from demo.cards import banner
from tests.bases import tiny_base_config

run = CliRunner()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The names of tiny bases, as if they were presets."""
    with pytest.MonkeyPatch.context() as patch:
        names = []
        for family, kind in (("onevision", "dinov3"), ("llava", "sam")):
            names.append(f"tiny-{family}")
            config = tiny_base_config(tmp_path_factory.mktemp(family), family, kind)
            patch.setitem(PRESETS, names[-1], config)
        patch.setattr(base_model, "BASES", (*BASES, *names))
        yield names


@pytest.fixture(scope="module")
def engines(tiny):
    return {name: load_engine(name) for name in tiny}


def reply(engine, image, **request):
    conversation = Conversation(request.pop("turns", ()), {image.image_id: image})
    return list(
        engine.respond(conversation, Request(**{"instruction": "What is it?", "image_id": image.image_id} | request))
    )


def test_names_choose_encoder_and_type():
    choice = parse_base_name("onevision-7b+dinov3-l+nf4")
    assert choice.config.pixel_base == "facebook/dinov3-vitl16-pretrain-lvd1689m"
    assert (choice.config.base, choice.quantization, choice.offload) == (PRESETS["onevision-7b"].base, "nf4", False)
    plain = parse_base_name("llava-13b+offload")
    assert (plain.config, plain.quantization, plain.offload) == (PRESETS["llava-13b"], None, True)
    tiled = parse_base_name("onevision-0.5b+anyres+@v1/x").config
    assert len(tiled.anyres) == 36 and tiled.base_revision == "v1/x" and not plain.config.anyres
    with pytest.raises(ValueError, match="Only the LLaVA-OneVision bases"):
        parse_base_name("llava-13b+anyres")
    with pytest.raises(ValueError, match=r"'sam-x' in 'onevision-7b\+sam-x' is unknown; choose from sam-b"):
        is_engine("onevision-7b+sam-x")
    with pytest.raises(ValueError, match="no base 'onevision-70b'"):
        parse_base_name("onevision-70b")
    assert is_engine("onevision-0.5b+int8") and not is_engine("onevision-70b")
    assert set(BASES) <= set(list_engines())


def test_the_card_says_untrained(engines):
    for name, engine in engines.items():
        card = engine.card
        assert not card.trained
        assert card.weights.startswith("UNTRAINED (random mask decoder) on ")
        assert (card.engine_id, card.modes) == (name, MODES)
        assert card.memory_mb > 0
        assert "UNTRAINED" in banner(card, "en")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", ["onevision", "llava"])
def test_words_stream_and_no_mask_is_drawn(engines, picture, family, mode):
    engine = engines[f"tiny-{family}"]
    history = (
        Turn("user", "What is this?", picture().image_id),
        Turn("assistant", "A plate [SEG].", picture().image_id),
    )
    for turns in ((), history):
        events = reply(
            engine, picture(), mode=mode, max_new_tokens=12, normal_description="A clean plate.", turns=turns
        )
        assert events[0] == Notice(NO_DECODER)
        assert not any(isinstance(e, MaskReady) for e in events)
        assert isinstance(events[-1], Done) and 0 < events[-1].tokens <= 12
        assert any(isinstance(e, Stage) for e in events)
    deltas = [e.text for e in events if isinstance(e, TextDelta)]
    if family == "llava":  # the tiny OneVision repeats a line break, which is not shown
        assert len(deltas) > 1
    assert all("[SEG]" not in text and "[NOR]" not in text for text in deltas)


def test_anchors_are_never_said_without_a_decoder(engines, picture, monkeypatch):
    engine = engines["tiny-onevision"]
    predictor = engine.predictor
    real = predictor.model.word_logits

    def loves_anchors(hidden):
        logits = real(hidden)
        logits[..., list(predictor.ids.anchors)] = 99.0
        return logits

    monkeypatch.setattr(predictor.model, "word_logits", loves_anchors)
    events = reply(engine, picture(), mode="describe", max_new_tokens=5)
    assert not any(isinstance(e, MaskReady) for e in events)
    assert events[-1].tokens > 0


def test_the_commands_json_says_untrained(tiny, picture, tmp_path):
    from PIL import Image

    Image.fromarray(picture().rgb).save(tmp_path / "part.png")
    result = run.invoke(app, ["predict", str(tmp_path / "part.png"), "--engine", tiny[1], "--json", "--mode", "direct"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["trained"] is False
    assert facts["weights"].startswith("UNTRAINED")
    assert (facts["verdict"], facts["regions"], facts["engine"]) == (None, [], tiny[1])
    assert facts["notices"] == [NO_DECODER]
    assert "UNTRAINED" in result.stderr


def test_the_page_is_served_with_a_named_base(tiny, monkeypatch):
    import demo

    seen = {}
    monkeypatch.setattr(demo, "launch", lambda desk, **more: seen.update(names=desk.engine_ids, default=desk.default))
    result = run.invoke(app, ["demo", "--model", "onevision-7b", "--pixel", "dinov3-l", "--quantization", "nf4"])
    assert result.exit_code == 0, result.output
    assert seen["default"] == seen["names"][0] == "onevision-7b+dinov3-l+nf4"
    result = run.invoke(app, ["demo", "--model", "onevision-0.5b", "--anyres", "--revision", "a1b2"])
    assert result.exit_code == 0 and seen["default"] == "onevision-0.5b+anyres+@a1b2"
    for wrong in (["--model", "onevision-7b", "--pixel", "sam-x"], ["--pixel", "sam-b"], ["--model", "gpt"]):
        assert isinstance(run.invoke(app, ["demo", *wrong]).exception, ValueError), wrong


def test_one_image_is_asked_about_in_tiles(tiny, picture, tmp_path, monkeypatch):
    from PIL import Image

    from agvas_core.cli import question
    from agvas_core.engines import agvas

    monkeypatch.setattr("agvas_core.config.BASES", (*BASES, *tiny))
    read = []
    real = agvas.AnomalyPredictor.read
    monkeypatch.setattr(agvas.AnomalyPredictor, "read", lambda *a, **k: read.append(a[1]) or real(*a, **k))
    Image.fromarray(picture(1, (30, 60)).rgb).save(tmp_path / "part.png")
    for words in ([], ["--anyres"]):
        result = run.invoke(app, ["predict", str(tmp_path / "part.png"), "--engine", tiny[0], "--mode", "chat", *words])
        assert result.exit_code == 0, (result.output, result.exception)
    assert len(read[1]) - len(read[0]) == 2 * (4 + 1)  # 56 x 28 px, each of two rows with its line break
    with pytest.raises(ValueError, match="belong to --model"):
        question.engine_name("agvas-nano", anyres=True)


def test_absent_weights_are_said_with_what_to_do(tiny, monkeypatch, tmp_path):
    from dataclasses import replace

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    absent = replace(PRESETS[tiny[0]], base=str(tmp_path / "not-there"))
    monkeypatch.setitem(PRESETS, tiny[0], absent)
    with pytest.raises(FileNotFoundError, match=r"neither on this machine nor to be had.*hf download"):
        load_engine(tiny[0])

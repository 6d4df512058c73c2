import json
import shutil
from dataclasses import replace

import pytest
import torch
import typer

from agvas_core.checkpoint import load_checkpoint
from agvas_core.cli.train import train
from agvas_core.config import PRESETS, get_preset
from agvas_core.engines.agvas import AGVASEngine
from agvas_core.modeling.agvas import TokenIds, build_agvas
from agvas_core.structures import Conversation, Done, MaskReady, Request
from agvas_core.synthesis.facts import DEFECT_KINDS
from agvas_core.training import run
from agvas_core.training.dense import AnchorBank
from agvas_core.training.run import RunOptions, at_least, grown, mix_in, score_maps, training_config
from agvas_core.training.sources import ImageSource, SourceOptions
from agvas_core.training.trainer import TrainOptions


@pytest.fixture(scope="module")
def trained(tokenizer, tmp_path_factory):
    """The folders of a run of all stages at the smallest sizes, by the command itself."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "card.md").write_text("# The card")
    small = {
        "preset": "tiny-test", "run_dir": folder / "run", "batch": 1, "sizes": "64", "precision": "no",
        "workers": 0, "threads": 1, "eval_steps": 0, "eval_images": 2,
        "out": folder / "out", "card": folder / "card.md",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "build_tokenizer", lambda: tokenizer)
        patch.setattr(run, "CALIBRATION_IMAGES", 32)
        train(stage="dense", steps=2, **small)
        train(stage="joint", steps=2, **small)
        train(stage="export", **small)
    return folder


def test_every_stage_hands_on_to_the_next(trained):
    dense, joint = (torch.load(trained / "run" / s / "state.pt", weights_only=True) for s in ("dense", "joint"))
    assert dense["step"] == joint["step"] == 2
    assert dense["images_seen"] == 32  # one image of 256 px has the pixels of 16 of 64 px
    model, _, training = load_checkpoint(trained / "out")
    assert model.config.decoder.region_kinds == DEFECT_KINDS
    queries = joint["average"]["model.agmd.queries"]
    torch.testing.assert_close(model.agmd.queries, queries.half().float(), rtol=0, atol=0)
    assert training["summary"] == "trained on 64 inspection images: synthetic defects"
    assert set(training["stages"]) == {"dense", "joint"}


def test_every_stage_is_evaluated_and_logged(trained):
    rows = {
        stage: [json.loads(line) for line in (trained / "run" / stage / "log.jsonl").read_text().splitlines()]
        for stage in ("dense", "joint")
    }
    assert {"AP", "F1_max", "IoU_ano", "IoU_nor", "kind"} <= set(rows["dense"][-1])
    assert {"AP", "IoU_ano", "IoU_nor", "text"} <= set(rows["joint"][-1])


def test_images_for_the_calibration_come_in_whole_batches():
    source = ImageSource(SourceOptions(sizes_px=(64,), passes=1), seed=0)
    batches = (source.batch(i, 1) for i in range(9))  # sixteen of 64 px each
    assert [len(batch.images) for batch in at_least(40, batches)] == [16, 16, 16]


def test_the_exported_model_answers(trained, picture):
    engine = AGVASEngine(trained / "out", engine_id="x", name="X")
    assert engine.card.trained
    assert engine.card.markdown == "# The card"
    image = picture()
    request = Request("", image.image_id, "explain", max_new_tokens=4)
    events = list(engine.respond(Conversation().with_image(image), request))
    assert any(isinstance(e, MaskReady) for e in events)
    assert isinstance(events[-1], Done)


def options_of(folder, **changes) -> RunOptions:
    return RunOptions(
        preset="tiny-test", run_dir=folder, batch=1, seed=0, source=SourceOptions(sizes_px=(64,)),
        train=TrainOptions(steps=1, mixed_precision="no", workers=0), **changes,
    )  # fmt: skip


def test_the_joint_stage_begins_with_the_dense_stages_averages(trained, tokenizer, monkeypatch):
    monkeypatch.setattr(run, "build_tokenizer", lambda: tokenizer)
    task, _ = run.joint_task(options_of(trained / "run"), freeze_pixel=True)
    average = torch.load(trained / "run" / "dense" / "state.pt", weights_only=True)["average"]
    taken = 0
    state = task.model.state_dict()
    for name, value in average.items():
        if name.startswith(("pixel_encoder.", "agmd.", "region_reader.")):
            assert torch.equal(state[name], value), name
            taken += 1
    assert taken > 50
    assert torch.equal(task.bank.base, average["bank.base"])


def test_words_are_learned_on_eyes_that_were_mixed_before(trained, tokenizer, monkeypatch):
    """Mixed afterwards, the words rest on features that nobody is served."""
    monkeypatch.setattr(run, "build_tokenizer", lambda: tokenizer)
    folder, options = trained / "out", options_of(trained / "run")
    (dense, _), (mixed, _) = (run.joint_task(options, freeze_pixel=True, mix=mix) for mix in (None, folder))
    old = load_checkpoint(folder)[0]
    for name in ("pixel_encoder.stem.0.weight", "agmd.queries"):
        mean = (dense.model.state_dict()[name] + old.state_dict()[name]) / 2
        torch.testing.assert_close(mixed.model.state_dict()[name], mean)


def test_the_record_says_that_the_eyes_were_mixed_before(trained, tokenizer, tmp_path, monkeypatch):
    """The export knew of its own --mix alone, and the bundled weights' record had to be put right by hand."""
    monkeypatch.setattr(run, "build_tokenizer", lambda: tokenizer)
    monkeypatch.setattr(run, "CALIBRATION_IMAGES", 16)
    shutil.copytree(trained / "run" / "dense", tmp_path / "dense")
    options = options_of(tmp_path)
    run.train_joint(options, freeze_pixel=True, eval_images=1, mix=trained / "out")
    run.export(options, tmp_path / "out", card="")
    assert load_checkpoint(tmp_path / "out")[2]["mixed"] is True
    assert load_checkpoint(trained / "out")[2]["mixed"] is False


def test_a_joint_stage_that_freezes_the_pixels_leaves_masks_and_kinds_as_they_are(trained, tokenizer, monkeypatch):
    monkeypatch.setattr(run, "build_tokenizer", lambda: tokenizer)
    frozen, learning = (
        {
            n
            for n, p in run.joint_task(options_of(trained / "run"), freeze_pixel=f)[0].named_parameters()
            if p.requires_grad
        }
        for f in (True, False)
    )
    parts = ("model.pixel_encoder.", "model.agmd.", "model.region_reader.")
    assert not any(name.startswith(parts) for name in frozen)
    assert {p for p in parts if any(name.startswith(p) for name in learning)} == set(parts)
    assert any(name.startswith("model.token_refiner.") for name in frozen)


def test_an_unknown_stage_is_named(tmp_path):
    with pytest.raises(typer.BadParameter, match="export or adapt; got 'dance'"):
        train(stage="dance", run_dir=tmp_path, threads=1)


def test_training_knows_the_kinds_of_synthesis():
    assert training_config("nano").decoder.region_kinds == DEFECT_KINDS


def test_scores_by_hand():
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[:2] = True
    half = torch.zeros(4, 4)
    half[0] = 0.9
    scores = score_maps(
        [mask.float(), half, torch.zeros(4, 4), torch.ones(4, 4)], [mask, mask, mask & False, mask & False]
    )
    assert scores["IoU_ano"] == pytest.approx(75.0)
    assert scores["IoU_nor"] == pytest.approx(50.0)
    assert 0 < scores["AP"] < 100


def test_weights_grow_deeper_and_see_as_before(monkeypatch):
    torch.manual_seed(0)
    small = get_preset("tiny-test")
    model = build_agvas(small, TokenIds(0, 0, (0, 0, 0))).eval()
    for weight in model.parameters():  # as trained: nothing is zero
        torch.nn.init.normal_(weight, std=0.1)
    deeper = replace(small.pixel, attention_layers=3, attention_convs=True)
    monkeypatch.setitem(PRESETS, "tiny-test", replace(small, pixel=deeper))
    larger = grown(model, "tiny-test").eval()
    assert larger.config == replace(small, pixel=deeper)
    assert len(larger.pixel_encoder.attention) == len(larger.pixel_encoder.neighbours) == 3
    image = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        before, after = model.pixel_encoder(image), larger.pixel_encoder(image)
    torch.testing.assert_close(after.embedding, before.embedding, rtol=0, atol=0)
    assert float(before.embedding.std()) > 0.1
    assert grown(larger, "tiny-test") is larger
    looks = replace(small.decoder, region_lens=True, region_loupe=True)
    monkeypatch.setitem(PRESETS, "tiny-test", replace(small, pixel=deeper, decoder=looks))
    sharper = grown(larger, "tiny-test").eval()
    assert sharper.config.decoder.region_lens and sharper.config.decoder.region_loupe
    masks = torch.zeros(2, 64, 96)
    masks[:, 8:20, 8:50] = 1
    with torch.inference_mode():
        read = [m.region_tokens(m.pixel_encoder(image), masks)[0] for m in (larger, sharper)]
    torch.testing.assert_close(*read)
    with pytest.raises(ValueError, match="cannot grow"):  # a shallower one
        monkeypatch.setitem(PRESETS, "tiny-test", small)
        grown(larger, "tiny-test")
    with pytest.raises(ValueError, match="cannot grow"):  # one without the convolutions
        monkeypatch.setitem(PRESETS, "tiny-test", replace(small, pixel=replace(deeper, attention_convs=False)))
        grown(larger, "tiny-test")
    with pytest.raises(ValueError, match="cannot grow"):  # a wider one
        grown(model, "nano")


def test_two_ends_of_a_training_are_mixed_half_and_half(trained, monkeypatch):
    folder = trained / "out"
    before = load_checkpoint(folder)[0]
    small = get_preset("tiny-test")
    monkeypatch.setitem(PRESETS, "tiny-test", replace(small, decoder=replace(small.decoder, region_loupe=True)))
    model, bank = grown(before, "tiny-test"), AnchorBank(small.decoder.width)
    with torch.no_grad():
        for parameter in (*model.parameters(), *bank.parameters()):
            parameter.add_(1.0)
    mine = {name: value.clone() for name, value in model.state_dict().items()}
    mix_in(model, bank, folder, "tiny-test")
    mixed, old = model.state_dict(), before.state_dict()
    for name, value in old.items():
        if value.is_floating_point():
            torch.testing.assert_close(mixed[name], (mine[name] + value) / 2)
    trunk, out = "region_reader.loupe.whole.0.weight", "region_reader.loupe.out.weight"
    assert torch.equal(mixed[trunk], mine[trunk])  # the checkpoint has none
    torch.testing.assert_close(mixed[out], mine[out] / 2)  # it would begin at zero there
    with pytest.raises(ValueError, match="cannot grow"):
        mix_in(model, bank, folder, "nano")

"""The adapt stage: the paper's losses reach the adapter and nothing else, and a run goes on exactly."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from agvas_core.adapter import LoraOptions, load_adapter, part_of, verify_adapter
from agvas_core.checkpoint import load_checkpoint
from agvas_core.config import get_preset
from agvas_core.data.labelled import LabelledImages
from agvas_core.synthesis.facts import DEFECT_KINDS
from agvas_core.synthesis.generator import SceneGenerator
from agvas_core.training import adapt
from agvas_core.training.adapt import (
    AdaptMaker,
    AdaptOptions,
    AdaptTask,
    AdaptTrainer,
    MixedSource,
    adapt_config,
    adapt_model,
    train_adapter,
)
from agvas_core.training.joint import UNKNOWN_KIND
from agvas_core.training.trainer import TrainOptions
from tests.training.folders import write_data

LORA = LoraOptions(rank=2, alpha=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A few labelled images in MVTec layout."""
    return write_data(tmp_path_factory.mktemp("data"))


def options_of(checkpoint, folder, data=None, **train) -> AdaptOptions:
    quiet = {"steps": 4, "lr": 1e-3, "warmup_steps": 1, "mixed_precision": "no", "workers": 0} | train
    return AdaptOptions(
        preset="", base=str(checkpoint), run_dir=folder, data=data, size_px=64, batch=2, lora=LORA,
        train=TrainOptions(**quiet),
    )  # fmt: skip


def first_batch(options, model, tokenizer):
    maker = AdaptMaker(tokenizer, model.config, model.token_ids)
    return maker(MixedSource(options).batch(0, options.batch), random.Random(0))


# --- what moves ------------------------------------------------------------------------------------------------------


def test_training_moves_every_part_of_the_adapter_and_no_bit_of_the_base(checkpoint, data, tmp_path):
    before = {n: p.clone() for n, p in adapt_model(options_of(checkpoint, tmp_path))[0].state_dict().items()}
    trainer = train_adapter(options_of(checkpoint, tmp_path, data, accumulate=2))
    after = {n.removeprefix("model."): v for n, v in trainer.module.state_dict().items()}
    assert before.keys() == after.keys()
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    assert {n for n in moved if part_of(n) is None} == set()
    assert {part_of(n) for n in moved} == {"lora", "anchor_rows", "spam", "token_refiner", "agmd", "region_reader",
                                           "region_proj"}  # fmt: skip
    # lora_A moves once lora_B has left zero; every one of both has
    assert {n for n in before if part_of(n) == "lora"} <= moved
    frozen = load_checkpoint(checkpoint)[0].state_dict()
    shared = [n for n in frozen if n in after and part_of(n) is None]
    assert len(shared) > 70
    assert all(torch.equal(frozen[n], after[n]) for n in shared)
    table = "lmm.model.language_model.embed_tokens"
    assert torch.equal(frozen[f"{table}.weight"], after[f"{table}.base.weight"])


def test_gradient_checkpointing_gives_the_same_gradients(checkpoint, tmp_path):
    gradients = []
    for saving in (True, False):
        options = replace(options_of(checkpoint, tmp_path), lora=replace(LORA, dropout=0.0))
        model, tokenizer, _ = adapt_model(options)
        layers = model.lmm.model.language_model.layers
        assert all(layer.gradient_checkpointing for layer in layers)
        for layer in layers:
            layer.gradient_checkpointing = saving
        task = AdaptTask(model, options.losses).train()
        torch.manual_seed(0)
        sum(task(first_batch(options, model, tokenizer)).values()).backward()
        gradients.append({n: p.grad for n, p in task.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 50
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-6)


def test_the_losses_are_the_papers(checkpoint, tmp_path):
    options = options_of(checkpoint, tmp_path)
    assert (options.losses.bce, options.losses.dice, options.losses.hard_bce) == (0.5, 2.0, 0.0)
    model, tokenizer, _ = adapt_model(options)
    losses = AdaptTask(model, options.losses)(first_batch(options, model, tokenizer))
    assert {"text", "bce", "dice"} <= set(losses)
    assert float(losses["hard_bce"].detach()) == 0 and "bank" not in losses


def test_the_loss_falls_on_one_batch(checkpoint, data, tmp_path):
    options = options_of(checkpoint, tmp_path, data, steps=25, lr=6e-3)
    options = replace(options, lora=LoraOptions(dropout=0.0), data_share=1.0)
    model, tokenizer, _ = adapt_model(options)
    batch = first_batch(options, model, tokenizer)
    assert bool(batch.anchor_mask.any())
    task = AdaptTask(model, options.losses).train()
    first = {n: float(v.detach()) for n, v in task(batch).items()}
    trainer = AdaptTrainer(task, lambda step: batch, replace(options.train, ema=0.0), tmp_path)
    trainer.run()
    last = {n: float(v.detach()) for n, v in trainer.module(batch).items()}
    assert last["text"] < first["text"] - 0.4  # a frozen random head of width 32 cannot say much more surely
    assert last["dice"] < 0.1 * first["dice"]


# --- a run -----------------------------------------------------------------------------------------------------------


def test_a_resumed_runs_weights_equal_an_unbroken_runs(checkpoint, data, tmp_path, monkeypatch):
    unbroken = train_adapter(options_of(checkpoint, tmp_path / "unbroken", data, steps=5, accumulate=2))
    source = MixedSource.batch

    def breaks(self, step, count):
        if step == 6:  # in the fourth step, whose first batch this is
            raise KeyboardInterrupt
        return source(self, step, count)

    options = options_of(checkpoint, tmp_path / "broken", data, steps=5, accumulate=2, save_seconds=0.0)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MixedSource, "batch", breaks)
        train_adapter(options)
    torch.manual_seed(99)
    resumed = train_adapter(options)
    assert resumed.step == unbroken.step == 5
    assert resumed.images_seen == unbroken.images_seen == 20
    ours, theirs = resumed.learned(), unbroken.learned()
    assert all(torch.equal(ours["task"][n], theirs["task"][n]) for n in theirs["task"])
    moments = theirs["optimizer"]["state"]
    assert len(moments) == len(theirs["task"])
    for name, values in moments.items():
        assert all(torch.equal(ours["optimizer"]["state"][name][k], v) for k, v in values.items())


def test_the_state_holds_the_adapter_alone(checkpoint, tmp_path):
    trainer = train_adapter(options_of(checkpoint, tmp_path, steps=1))
    state = torch.load(trainer.state_path, weights_only=True)
    assert set(state["task"]) == set(trainer.trained())
    assert all(part_of(n) is not None for n in state["task"])


def test_a_run_writes_an_adapter_that_serves(checkpoint, data, tmp_path):
    trainer = train_adapter(options_of(checkpoint, tmp_path, data, steps=2))
    config, record, state = verify_adapter(tmp_path / "adapter")
    assert config.base == record.base == str(checkpoint)
    assert record.lora == LORA and len(record.base_revision) == 64
    assert record.training["summary"] == f"trained on 4 images: labelled images ({data.name}), synthetic defects"
    model, _, training = load_adapter(tmp_path / "adapter")
    assert training == record.training
    served = dict(model.named_parameters())
    for name, value in trainer.trained().items():
        twin = name.replace(".lora_A", ".lora_A.default").replace(".lora_B", ".lora_B.default")
        assert torch.equal(served[twin], value), name
    last = json.loads((tmp_path / "adapt" / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 2 and {"text", "bce", "dice"} <= set(last)


# --- what it learns from ---------------------------------------------------------------------------------------------


def test_labelled_and_synthetic_batches_are_mixed(checkpoint, data, tmp_path):
    source = MixedSource(replace(options_of(checkpoint, tmp_path, data), data_share=0.4))
    labelled = [type(source.batch(step, 1)).__name__ == "LabelledBatch" for step in range(40)]
    assert 8 <= sum(labelled) <= 26
    again = source.batch(7, 2)
    assert torch.equal(source.batch(7, 2).images, again.images)
    other = MixedSource(replace(options_of(checkpoint, tmp_path, data), data_share=0.4, seed=1))
    assert not torch.equal(other.batch(7, 2).images, again.images)


def test_every_batch_asks_for_a_mask(make_model, tokenizer, data):
    model = make_model(region_kinds=DEFECT_KINDS)
    maker = AdaptMaker(tokenizer, model.config, model.token_ids)
    for seed in range(8):
        assert len(maker(SceneGenerator(size=64).batch(1, seed), random.Random(seed)).anchors) > 0
        labelled = maker(LabelledImages(data).batch(2, 64, seed), random.Random(seed))
        assert set(labelled.anchors[:, 0].tolist()) == {0, 1}


def test_a_talk_that_is_too_long_still_asks_for_a_mask(make_model, tokenizer, monkeypatch):
    monkeypatch.setattr("agvas_core.training.joint.MAX_TALK_TOKENS", 1)
    model = make_model(region_kinds=DEFECT_KINDS)
    maker = AdaptMaker(tokenizer, model.config, model.token_ids)
    for seed in range(12):
        assert len(maker(SceneGenerator(size=64).batch(1, seed), random.Random(seed)).anchors) == 1


def test_kinds_that_synthesis_does_not_know_are_words_only(make_model, tokenizer, data):
    model = make_model(region_kinds=DEFECT_KINDS)
    maker = AdaptMaker(tokenizer, model.config, model.token_ids)
    batch = maker(LabelledImages(data, good_share=0.0).batch(2, 64, 1), random.Random(3))
    assert set(batch.defect_kind.tolist()) == {UNKNOWN_KIND}
    losses = AdaptTask(model, options_of("", data).losses)(batch)
    assert float(losses["kind"].detach()) == 0 and bool(torch.isfinite(sum(losses.values())))


def test_an_encoder_of_a_fixed_canvas_gets_it(make_model, tokenizer):
    model = make_model()
    task = AdaptTask(model, options_of("", "").losses)
    images = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
    assert task.pixel_values(images).shape == (2, 3, 48, 48)
    model.config = replace(model.config, pixel=replace(model.config.pixel, kind="sam", image_px=96))
    assert task.pixel_values(images).shape == (2, 3, 96, 96)


def test_a_preset_without_a_base_asks_for_one(tmp_path):
    options = AdaptOptions(preset="nano", base="", run_dir=tmp_path, train=TrainOptions(steps=1))
    with pytest.raises(ValueError, match="--base agvas-nano"):
        adapt_config(options)
    assert adapt_config(replace(options, base="agvas-nano")).base == "agvas-nano"
    assert adapt_config(replace(options, preset="onevision-0.5b")).base == get_preset("onevision-0.5b").base
    assert adapt.adapt_config(replace(options, preset="onevision-0.5b", base="x/y")).base == "x/y"


def test_a_broken_image_is_named(checkpoint, tmp_path):
    data = write_data(tmp_path / "data")
    (data / "nut" / "test" / "bent_lead" / "0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"bent_lead/0\.png"):
        for step in range(30):
            MixedSource(options_of(checkpoint, tmp_path, data)).batch(step, 2)


def test_data_of_tests_is_as_described(data):
    assert np.asarray(Image.open(next(data.rglob("*_mask.png")))).max() == 255

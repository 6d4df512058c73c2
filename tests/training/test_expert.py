"""The expert's training: what moves, what stays, that it learns, and that a run of other eyes is not gone on with."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from typer.testing import CliRunner

from agvas_core.checkpoint import load_checkpoint, save_checkpoint
from agvas_core.checkpoint_expert import load_expert
from agvas_core.cli.app import app
from agvas_core.modeling.anomaly_ov import AnomalyExpert
from agvas_core.modeling.expert_eyes import bundled_expert_config
from agvas_core.training.expert import (
    ExpertBatch,
    ExpertRunOptions,
    ExpertTask,
    balanced_bce,
    saliency_loss,
    train_expert,
)
from agvas_core.training.sources import SourceOptions
from agvas_core.training.trainer import TrainOptions


def options(checkpoint, run_dir, steps=2, **changes) -> ExpertRunOptions:
    train = TrainOptions(steps=steps, workers=0, mixed_precision="no", eval_steps=0, warmup_steps=1)
    source = SourceOptions(sizes_px=(64,), passes=1)
    return replace(
        ExpertRunOptions(model=checkpoint, run_dir=run_dir, batch=1, seed=0, source=source, train=train), **changes
    )


def test_both_classes_weigh_alike_in_the_score_s_loss():
    logits, target = torch.tensor([2.0, -1.0, -1.0, -1.0]), torch.tensor([1.0, 0.0, 0.0, 0.0])
    wanted = (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-1.0))) / 2
    assert float(balanced_bce(logits, target)) == pytest.approx(wanted, rel=1e-5)
    assert float(balanced_bce(logits[:1], target[:1])) == pytest.approx(np.log1p(np.exp(-2.0)), rel=1e-5)


def test_saliency_is_judged_by_the_highest_pixel_of_each_cell():
    mask = torch.zeros(2, 8, 8, dtype=torch.bool)
    mask[0, 5, 2] = True  # one pixel of 4 x 4 in the cell (1, 0)
    right = torch.full((2, 2, 2), 1e-4)
    right[0, 1, 0] = 1 - 1e-4
    wrong = torch.full((2, 2, 2), 1e-4)
    wrong[0, 0, 0] = 1 - 1e-4
    assert float(saliency_loss(right, mask)) < 0.01 < 1 < float(saliency_loss(wrong, mask))
    prob = torch.tensor([[[0.2, 0.2], [0.6, 0.2]], [[0.2, 0.2], [0.2, 0.2]]])
    bce = -(np.log(0.6) + 7 * np.log(0.8)) / 8
    dice = 1 - (2 * 0.6 + 1) / (1.2 + 1 + 1)
    assert float(saliency_loss(prob, mask)) == pytest.approx(bce + dice / 2, rel=1e-5)
    assert torch.isfinite(saliency_loss(torch.zeros(2, 2, 2), mask))


def test_the_expert_learns_a_batch_by_heart_and_the_eyes_stay(checkpoint):
    model = load_checkpoint(checkpoint)[0]
    torch.manual_seed(0)
    task = ExpertTask(AnomalyExpert(bundled_expert_config(model.config, match_width=16)), model).train()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    assert all(name.startswith("expert.") for name in task.state_dict())
    images = torch.randint(100, 140, (6, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(6, 64, 64, dtype=torch.bool)
    for i in range(3):
        mask[i, 10 * i : 10 * i + 16, 8:24] = True
    images = torch.where(mask[:, None], torch.tensor(10, dtype=torch.uint8), images)
    batch = ExpertBatch(images, mask)
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    first = sum(task(batch).values()).item()
    for _ in range(60):
        loss = sum(task(batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    logits, _ = task.look(images)
    assert loss.item() < 0.5 * first
    assert logits[:3].min() > logits[3:].max()
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("ablation", [{}, {"use_look_back": False}, {"use_embeddings": False}, {"use_pixel": False}])
def test_a_run_and_each_ablation_write_an_expert_that_loads(checkpoint, tmp_path, ablation):
    out = tmp_path / "out"
    trainer = train_expert(options(checkpoint, tmp_path / "run", **ablation), out, eval_images=4, card="# A card")
    expert, training = load_expert(out, load_checkpoint(checkpoint)[0])
    assert training["steps"] == 2 and training["images"] == trainer.images_seen > 0
    assert "synthetic defects" in training["summary"]
    for name, value in {**{"use_look_back": True, "use_embeddings": True}, **ablation}.items():
        if name == "use_pixel":
            assert expert.config.pixel_strides == ()
        else:
            assert getattr(expert.config, name) is value
    assert (out / "README.md").read_text() == "# A card"
    stored = trainer.averaged_state()
    for name, value in expert.state_dict().items():
        assert torch.equal(value, stored[f"expert.{name}"].half().float())


def test_a_run_that_was_stopped_goes_on_and_one_of_other_eyes_begins_anew(checkpoint, tmp_path, tokenizer):
    run_dir, out = tmp_path / "run", tmp_path / "out"
    stopped = options(checkpoint, run_dir, steps=4)
    train = replace(stopped.train, minutes=1e-9)
    assert train_expert(replace(stopped, train=train), out, eval_images=4).step == 1
    assert not out.exists()  # nothing unfinished is handed out
    resumed = train_expert(stopped, out, eval_images=4)
    assert resumed.step == 4 and out.exists()
    unbroken = train_expert(options(checkpoint, tmp_path / "other", steps=4), tmp_path / "out2", eval_images=4)
    for name, value in unbroken.averaged_state().items():
        torch.testing.assert_close(resumed.averaged_state()[name], value)
    model = load_checkpoint(checkpoint)[0]
    with torch.no_grad():
        model.pixel_encoder.out_norm.weight.mul_(2)
    retrained = tmp_path / "retrained"
    save_checkpoint(model, tokenizer, retrained, card="", training={"summary": "again"})
    again = train_expert(replace(stopped, model=retrained, train=train), out, eval_images=4)
    assert again.step == 1


@pytest.fixture
def fresh_accelerate():
    """Accelerate keeps one precision a process; the command's own is another than the other tests'."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("fresh_accelerate")
def test_the_command_trains_and_says_where_the_expert_is(checkpoint, tmp_path):
    out = tmp_path / "out"
    words = ["train-expert", "--model", str(checkpoint), "--out", str(out), "--run-dir", str(tmp_path / "run")]
    numbers = [
        "--steps",
        "1",
        "--batch",
        "1",
        "--sizes",
        "64",
        "--eval-images",
        "4",
        "--workers",
        "0",
        "--threads",
        "1",
    ]
    result = CliRunner().invoke(app, [*words, *numbers])
    assert result.exit_code == 0, result.output
    assert f"Wrote {out}" in result.output
    assert json.loads((out / "expert_config.json").read_text())["training"]["steps"] == 1

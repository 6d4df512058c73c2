import random

import pytest
import torch
from torch import nn

from agvas_core.synthesis.facts import DEFECT_KINDS, SyntheticBatch
from agvas_core.synthesis.generator import SceneGenerator
from agvas_core.training import trainer as trainer_module
from agvas_core.training.dense import AnchorBank, DenseTask, make_dense_batch
from agvas_core.training.joint import JointMaker, JointTask
from agvas_core.training.losses import SegLossWeights
from agvas_core.training.trainer import Averaged, StepStream, Trainer, TrainOptions, rate_at

QUIET = {"mixed_precision": "no", "workers": 0, "eval_steps": 0}


def dense_batch(count=4, seed=4):
    return make_dense_batch(SceneGenerator(size=64, normal_share=0.25).batch(count, seed), random.Random(1))


def largest_defects(batch: SyntheticBatch, count: int) -> SyntheticBatch:
    """The images whose masks have the fewest border pixels for their area."""
    chosen = batch.gt_mask.flatten(1).sum(1).topk(count).indices
    return SyntheticBatch(batch.images[chosen], batch.labels[chosen], [batch.facts[int(i)] for i in chosen])


def dense_task(make_model):
    return DenseTask(make_model(region_kinds=DEFECT_KINDS), SegLossWeights()).train()


def joint_task(make_model):
    model = make_model(region_kinds=DEFECT_KINDS)
    torch.manual_seed(1)
    return JointTask(model, AnchorBank(model.config.decoder.width), SegLossWeights(), freeze_pixel=False).train()


def state_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    optimizer = trainer.optimizer.state_dict()["state"]
    moments = {f"{i}.{k}": v for i, s in optimizer.items() for k, v in s.items() if isinstance(v, torch.Tensor)}
    average = {f"average.{k}": v for k, v in trainer.average.values.items()}
    return {k: v.clone() for k, v in (trainer.module.state_dict() | moments | average).items()}


# --- learning --------------------------------------------------------------------------------------------------------


def test_one_batch_of_images_is_learned_by_heart(make_model, tmp_path):
    """The rehearsal: Dice >= 0.9 on one batch, or something in the dense path is broken."""
    scenes = largest_defects(SceneGenerator(size=64, normal_share=0.0).batch(24, 7), 4)
    batch = make_dense_batch(scenes, random.Random(1))
    options = TrainOptions(steps=140, lr=4e-3, warmup_steps=10, ema=0.9, weight_decay=0.0, **QUIET)
    trainer = Trainer(dense_task(make_model), lambda step: batch, options, tmp_path)
    trainer.run()
    fused = trainer.module.eval().predict(scenes.images)
    target = nn.functional.adaptive_avg_pool2d(scenes.gt_mask.float()[:, None], fused.shape[-2:])[:, 0] > 0.5
    pred = fused > 0.5
    dice = 2 * float((pred & target).sum()) / float(pred.sum() + target.sum())
    assert dice >= 0.9, f"Dice {dice:.3f}"


def test_one_talk_is_learned_by_heart(make_model, tokenizer, tmp_path):
    task = joint_task(make_model)
    maker = JointMaker(tokenizer, task.model.config, task.model.token_ids)
    batch = maker(SceneGenerator(size=64, normal_share=0.0).batch(2, 4), random.Random(2))
    options = TrainOptions(steps=120, lr=4e-3, warmup_steps=10, weight_decay=0.0, **QUIET)
    before = {name: float(value.detach()) for name, value in task(batch).items()}
    trainer = Trainer(task, lambda step: batch, options, tmp_path)
    trainer.run()
    with torch.no_grad():
        after = {name: float(value) for name, value in trainer.module.eval()(batch).items()}
    assert before["text"] > 6  # of a vocabulary of 1280
    assert after["text"] < 0.3
    assert after["bank"] < 0.5 * before["bank"]


# --- interrupted and resumed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["dense", "joint"])
def test_an_interrupted_and_resumed_run_equals_an_unbroken_one(make_model, tokenizer, tmp_path, stage, monkeypatch):
    options = TrainOptions(
        steps=5, lr=1e-3, warmup_steps=2, save_seconds=0.0, mixed_precision="no", workers=0, eval_steps=2
    )
    maker = JointMaker(tokenizer, make_model().config, make_model().token_ids)

    def task():
        if stage == "dense":
            return dense_task(make_model)
        made = joint_task(make_model)
        made.bank_weight = 0.0  # masks from the start
        made.max_decoded = 2  # the triples that are decoded are drawn: the draw must not depend on what ran before
        return made

    def make(step: int):
        scenes = SceneGenerator(size=64).batch(4, step)
        return make_dense_batch(scenes, random.Random(step)) if stage == "dense" else maker(scenes, random.Random(step))

    def evaluate(task: nn.Module) -> dict[str, float]:
        torch.rand(3)
        return {"nothing": 0.0}

    unbroken = Trainer(task(), make, options, tmp_path / "unbroken", evaluate)
    unbroken.run()

    def breaks(step: int):
        if step == 3:
            raise KeyboardInterrupt
        return make(step)

    with pytest.raises(KeyboardInterrupt):
        Trainer(task(), breaks, options, tmp_path / "broken", evaluate).run()
    torch.manual_seed(99)
    resumed = Trainer(task(), make, options, tmp_path / "broken", evaluate)
    assert resumed.step == 3
    resumed.run()
    assert resumed.step == unbroken.step == 5
    assert resumed.images_seen == unbroken.images_seen == 20
    expected, got = state_of(unbroken), state_of(resumed)
    assert expected.keys() == got.keys()
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []


def test_a_finished_run_stays_as_it_is(make_model, tmp_path):
    batch = dense_batch()
    options = TrainOptions(steps=2, **QUIET)
    Trainer(dense_task(make_model), lambda step: batch, options, tmp_path).run()
    again = Trainer(dense_task(make_model), lambda step: pytest.fail("no step is left"), options, tmp_path)
    before = state_of(again)
    again.run()
    assert all(torch.equal(before[k], v) for k, v in state_of(again).items())


def test_a_run_stops_after_its_minutes_and_goes_on(make_model, tmp_path):
    batch = dense_batch()
    first = Trainer(dense_task(make_model), lambda step: batch, TrainOptions(steps=3, minutes=1e-9, **QUIET), tmp_path)
    first.run()
    assert first.step == 1
    second = Trainer(dense_task(make_model), lambda step: batch, TrainOptions(steps=3, **QUIET), tmp_path)
    assert second.step == 1
    second.run()
    assert second.step == 3


def test_a_run_whose_time_is_over_stays_as_it_is(make_model, tmp_path):
    batch, options = dense_batch(), TrainOptions(steps=10**6, total_minutes=1e-9, **QUIET)
    Trainer(dense_task(make_model), lambda step: batch, options, tmp_path).run()
    again = Trainer(dense_task(make_model), lambda step: pytest.fail("no time is left"), options, tmp_path)
    assert again.step == 1
    before = state_of(again)
    again.run()
    assert all(torch.equal(before[k], v) for k, v in state_of(again).items())


def test_a_crash_while_saving_leaves_the_old_state(make_model, tmp_path, monkeypatch):
    batch = dense_batch()
    trainer = Trainer(dense_task(make_model), lambda step: batch, TrainOptions(steps=1, **QUIET), tmp_path)
    trainer.run()

    def half(state, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(trainer_module.torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        trainer.save()
    monkeypatch.undo()
    assert Trainer(dense_task(make_model), lambda step: batch, TrainOptions(steps=1, **QUIET), tmp_path).step == 1


def test_training_stops_at_a_loss_that_is_not_finite(make_model, tmp_path):
    task = dense_task(make_model)
    with torch.no_grad():
        task.bank.base.fill_(float("nan"))
    trainer = Trainer(task, lambda step: dense_batch(), TrainOptions(steps=2, **QUIET), tmp_path)
    with pytest.raises(FloatingPointError, match="step 0: bce, dice"):
        trainer.run()
    assert not trainer.state_path.exists()  # nothing bad is kept


# --- schedule, averages, order ---------------------------------------------------------------------------------------


def test_the_rate_rises_stays_and_falls():
    options = TrainOptions(steps=1000, warmup_steps=100, decay_share=0.25)
    assert rate_at(0, options) == pytest.approx(0.01)
    assert rate_at(49, options) == pytest.approx(0.5)
    assert rate_at(99, options) == rate_at(400, options) == rate_at(750, options) == 1.0
    assert rate_at(875, options) == pytest.approx(0.5)
    assert rate_at(999, options) == pytest.approx(0.004)
    assert rate_at(1000, options) == 0.0
    assert all(0 < rate_at(s, options) <= 1 for s in range(1000))
    assert rate_at(0, TrainOptions(steps=1, warmup_steps=0)) == 1.0


def test_the_rate_of_a_run_of_so_many_minutes_falls_by_time():
    options = TrainOptions(steps=10**6, warmup_steps=100, decay_share=0.5, total_minutes=10)
    assert rate_at(49, options, 1.0) == pytest.approx(0.5)
    assert rate_at(5000, options, 299.0) == 1.0
    assert rate_at(5000, options, 450.0) == pytest.approx(0.5)
    assert rate_at(9000, options, 600.0) == rate_at(9000, options, 700.0) == 0.0


def test_the_average_follows_the_weights():
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(0.0)
    average = Averaged(layer, decay=0.9)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    average.update(layer, step=1000)
    assert average.values["weight"].item() == pytest.approx(0.1)
    early = Averaged(nn.Linear(1, 1, bias=False), decay=0.999)
    early.values["weight"].zero_()
    early.update(layer, step=0)
    assert early.values["weight"].item() == pytest.approx(0.9)  # the start is forgotten quickly


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight


def test_swapping_twice_changes_nothing_with_tied_weights_too():
    # tied weights were once exchanged twice: after each evaluation the weights were the averages
    module = Tied()
    average = Averaged(module, decay=0.5)
    with torch.no_grad():
        module.first.weight.fill_(3.0)
    averaged, live = average.values["first.weight"].clone(), module.first.weight.detach().clone()
    average.swap(module)
    assert torch.equal(module.first.weight, averaged)
    assert torch.equal(module.second.weight, averaged)
    average.swap(module)
    assert torch.equal(module.first.weight, live)
    for name in ("first.weight", "second.weight"):
        assert torch.equal(average.values[name], averaged)
    average.update(module, step=1000)
    torch.testing.assert_close(average.values["second.weight"], (averaged + live) / 2)  # moved once, not twice
    torch.testing.assert_close(average.values["first.weight"], (averaged + live) / 2)


def test_evaluations_see_the_averages_and_leave_the_weights(make_model, tmp_path):
    batch = dense_batch()
    seen = []

    def evaluate(task: nn.Module) -> dict[str, float]:
        assert not task.training
        seen.append(task.agmd.queries.detach().clone())
        return {"score": 1.0}

    options = TrainOptions(steps=4, lr=1e-2, warmup_steps=0, mixed_precision="no", workers=0, eval_steps=2)
    trainer = Trainer(dense_task(make_model), lambda step: batch, options, tmp_path, evaluate)
    trainer.run()
    assert torch.equal(seen[-1], trainer.average.values["agmd.queries"])
    assert not torch.equal(seen[-1], trainer.module.agmd.queries)
    assert trainer.module.training
    assert torch.equal(trainer.averaged_state()["agmd.queries"], seen[-1])
    assert '"eval_step": 4' in (tmp_path / "log.jsonl").read_text()


def test_what_is_frozen_does_not_move(make_model, tokenizer, tmp_path):
    model = make_model(region_kinds=DEFECT_KINDS)
    bank = AnchorBank(model.config.decoder.width)
    task = JointTask(model, bank, SegLossWeights(), freeze_pixel=True, bank_weight=0.0)
    before = {k: v.clone() for k, v in task.state_dict().items()}
    maker = JointMaker(tokenizer, model.config, model.token_ids)
    batch = maker(SceneGenerator(size=64, normal_share=0.0).batch(8, 4), random.Random(2))
    trainer = Trainer(task, lambda step: batch, TrainOptions(steps=2, warmup_steps=0, **QUIET), tmp_path)
    trainer.run()
    frozen = ("model.pixel_encoder.", "bank.")
    for name, value in trainer.module.state_dict().items():
        if name.startswith(frozen):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(trainer.module.model.agmd.queries, before["model.agmd.queries"])


def test_batches_come_in_order_from_a_step_on():
    assert list(StepStream(lambda step: step, 3, 7)) == [3, 4, 5, 6]


@pytest.mark.parametrize(("gpu", "products"), [(False, False), (False, True), (True, False)])
def test_bf16_is_taken_where_the_machine_has_it(monkeypatch, gpu, products):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: products)
    assert TrainOptions(steps=1).half == (gpu or products)
    assert TrainOptions(steps=1, mixed_precision="bf16").half
    assert not TrainOptions(steps=1, mixed_precision="no").half


def test_an_unknown_precision_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="--precision is auto, bf16 or no; got 'fp8'"):
        TrainOptions(steps=1, mixed_precision="fp8")

"""The words stage: talks without images, and what it learned reaches the joint stage."""

from __future__ import annotations

import torch

from agvas_core.config import get_preset
from agvas_core.modeling.agvas import build_agvas
from agvas_core.synthesis.objects import OBJECT_WEIGHTS
from agvas_core.training.joint import JointMaker
from agvas_core.training.losses import words_loss
from agvas_core.training.run import RunOptions, joint_task, train_words
from agvas_core.training.sources import SourceOptions
from agvas_core.training.trainer import TrainOptions
from agvas_core.training.words import ALIKE, WordsMaker, WordsTask, fact_token_ids, part_facts, without_unseen


def make(tokenizer, token_ids):
    model = build_agvas(get_preset("tiny-test"), token_ids)
    return model, WordsMaker(JointMaker(tokenizer, model.config, token_ids), 6, seed=3)


def test_talks_have_measured_lines_but_no_image(tokenizer, token_ids):
    _, maker = make(tokenizer, token_ids)
    batch = maker(0)
    assert batch.input_ids.shape == batch.targets.shape == batch.attention_mask.shape
    assert len(batch.input_ids) == 6
    assert not bool((batch.input_ids == token_ids.image).any())
    assert bool((batch.input_ids == token_ids.region).any())
    assert bool((batch.targets != -100).any())
    assert torch.equal(maker(0).input_ids, batch.input_ids)
    assert not torch.equal(maker(1).input_ids[:, :8], batch.input_ids[:, :8])


def test_what_only_an_image_would_tell_is_read_but_not_learned(tokenizer, token_ids):
    _, maker = make(tokenizer, token_ids)
    shown = [name for name in OBJECT_WEIGHTS if name != "part"]
    names = [tokenizer(f" {a} {name}", add_special_tokens=False).input_ids for a in ("The", "the") for name in shown]
    read = 0
    for step in range(12):
        batch = maker(step)
        for ids, targets in zip(batch.input_ids.tolist(), batch.targets.tolist(), strict=True):
            for name in names:
                for i in range(len(ids) - len(name) + 1):
                    if ids[i : i + len(name)] == name:
                        read += 1
                        assert targets[i : i + len(name)] == [-100] * len(name), tokenizer.decode(ids[i - 6 : i + 6])
    assert read > 10


def test_the_rest_of_a_sentence_is_learned():
    assert without_unseen([1, 2, 3, 4, 2, 3], [-100, 2, 3, 4, 2, 3], [[2, 3], [9]]) == [-100, -100, -100, 4, -100, -100]


def test_one_batch_is_learned(tokenizer, token_ids):
    torch.manual_seed(0)
    model, maker = make(tokenizer, token_ids)
    task, batch = WordsTask(model, fact_token_ids(tokenizer)), maker(0)
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    first = last = float(task(batch)["text"].detach())
    for _ in range(40):
        loss = task(batch)["text"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        last = float(loss.detach())
    assert last < 0.5 * first


def test_the_joint_stage_begins_with_its_words(tmp_path):
    options = RunOptions(
        preset="tiny-test",
        run_dir=tmp_path,
        batch=2,
        seed=0,
        source=SourceOptions(sizes_px=(64,)),
        train=TrainOptions(steps=2, lr=1e-2, warmup_steps=1, mixed_precision="no", workers=0),
    )
    before, _ = joint_task(options, freeze_pixel=True)
    trained = train_words(options, eval_talks=2)
    after, _ = joint_task(options, freeze_pixel=True)
    learned = trained.average.values["language_model.layers.0.mlp.up_proj.weight"]
    layer = "layers.0.mlp.up_proj.weight"
    assert torch.equal(after.model.lmm.model.language_model.state_dict()[layer], learned)
    assert not torch.equal(before.model.lmm.model.language_model.state_dict()[layer], learned)


def test_facts_weigh_more_than_the_choice_of_words(tokenizer):
    facts = fact_token_ids(tokenizer)
    decoded = {tokenizer.decode([i]).strip() for i in facts.tolist()}
    # shares of the image were copied as "0.5 %", whatever they were
    assert {"upper", "left", "two", "stain", "5"} <= decoded
    logits, targets = torch.zeros(2, 8), torch.tensor([1, 2])
    logits[0, 1] = 5.0  # the first is right
    plain = words_loss(logits, targets)
    assert words_loss(logits, targets, torch.tensor([2])) > plain > words_loss(logits, targets, torch.tensor([1]))


def test_facts_that_became_one_word_are_parted(tokenizer):
    torch.manual_seed(0)
    facts = fact_token_ids(tokenizer)
    before = torch.randn(1280, 32)
    bottom, top = (tokenizer(f" {word}", add_special_tokens=False).input_ids[0] for word in ("bottom", "top"))
    before[top] = 1.1 * before[bottom] + 0.05 * torch.randn(32)
    after = before.clone()
    assert part_facts(after, facts) == [max(top, bottom)]
    moved = after[max(top, bottom)]
    assert float(torch.cosine_similarity(moved, after[min(top, bottom)], dim=0)) < ALIKE
    torch.testing.assert_close(moved.norm(), before[max(top, bottom)].norm())
    others = torch.arange(1280) != max(top, bottom)
    assert torch.equal(after[others], before[others])
    assert part_facts(after, facts) == []

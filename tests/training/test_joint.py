import random

import pytest
import torch

from agvas_core.anchors import find_anchors
from agvas_core.modeling.agvas import AGVAS
from agvas_core.prompts import DEFAULT_INSTRUCTIONS, DIRECT_ANSWER, MEASURED_CLOSE, MEASURED_OPEN, ChatTurn
from agvas_core.synthesis.facts import DEFECT_KINDS
from agvas_core.synthesis.generator import SceneGenerator
from agvas_core.synthesis.words import talk
from agvas_core.training import joint
from agvas_core.training.dense import QUERIES, QUERY_ALL, AnchorBank
from agvas_core.training.joint import MAX_TALK_TOKENS, UNKNOWN_QUERY, JointBatch, JointMaker, JointTask, query_of
from agvas_core.training.losses import SegLossWeights
from tests.conftest import small_config


def joint_batch(tokenizer, model: AGVAS, count: int = 8, seed: int = 4) -> JointBatch:
    maker = JointMaker(tokenizer, model.config, model.token_ids)
    return maker(SceneGenerator(size=64, normal_share=0.2).batch(count, seed), random.Random(2))


@pytest.fixture(scope="module")
def maker(tokenizer, token_ids):
    return JointMaker(tokenizer, small_config(), token_ids)


@pytest.fixture(scope="module")
def scenes():
    return SceneGenerator(size=64, normal_share=0.2).batch(24, 9)


@pytest.fixture(scope="module")
def batch(maker, scenes):
    return maker(scenes, random.Random(3))


def test_region_placeholders_stand_for_the_defects_in_their_order(batch, scenes, token_ids):
    places = (batch.input_ids == token_ids.region).nonzero()[:, 0]
    assert places.tolist() == batch.region_image.tolist()  # one row each, in reading order
    assert len(places) > 10
    for b, number in zip(batch.region_image.tolist(), batch.region_number.tolist(), strict=True):
        assert 1 <= number <= len(scenes.facts[b].defects)


def test_every_image_has_all_its_placeholders_once(batch, maker, token_ids):
    assert (batch.input_ids == token_ids.image).sum(1).tolist() == [maker.config.image_tokens] * 24


def test_labels_are_the_answers_alone(batch, tokenizer, token_ids):
    for ids, targets, mask in zip(batch.input_ids, batch.targets, batch.attention_mask, strict=True):
        said = targets != -100
        assert torch.equal(ids[said], targets[said])
        assert not bool(said[mask == 0].any())
        for turn in tokenizer.decode(ids[mask == 1]).split("<|im_start|>"):
            assert not turn or turn.startswith(("user\n", "assistant\n"))
        spoken = tokenizer.decode(ids[said])
        assert spoken.count("<|im_end|>") == tokenizer.decode(ids[mask == 1]).count("<|im_start|>assistant")
        assert "user" not in spoken
        assert token_ids.image not in ids[said].tolist()


def test_measured_lines_are_never_labelled(batch, tokenizer):
    opened, closed = tokenizer.convert_tokens_to_ids([MEASURED_OPEN, MEASURED_CLOSE])
    lines = 0
    for ids, targets in zip(batch.input_ids.tolist(), batch.targets.tolist(), strict=True):
        inside = False
        for token, target in zip(ids, targets, strict=True):
            lines += token == opened
            inside = inside or token == opened
            assert not inside or target == -100
            inside = inside and token != closed
    assert lines > 10


def test_every_anchor_triple_has_its_mask(batch, scenes, token_ids):
    assert torch.equal(find_anchors(batch.input_ids, token_ids.anchors), batch.anchors)
    assert len(batch.anchors) == len(batch.anchor_mask) == len(batch.anchor_query) > 10
    for (b, *_), mask, query in zip(
        batch.anchors.tolist(), batch.anchor_mask, batch.anchor_query.tolist(), strict=True
    ):
        if query == QUERY_ALL:
            assert torch.equal(mask, scenes.gt_mask[b])
        elif query != UNKNOWN_QUERY:
            name = QUERIES[query]
            numbers = [i + 1 for i, d in enumerate(scenes.facts[b].defects) if name in (d.kind, d.place)]
            assert torch.equal(mask, torch.isin(scenes.labels[b], torch.tensor(numbers, dtype=torch.uint8)))


def test_talks_keep_to_their_length(batch, maker, scenes, monkeypatch):
    longest = int(batch.attention_mask.sum(1).max())
    assert longest <= maker.config.image_tokens + MAX_TALK_TOKENS
    monkeypatch.setattr(joint, "MAX_TALK_TOKENS", 1)  # then one exchange is left of each
    short = maker(scenes, random.Random(3))
    start = maker.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert (short.input_ids == start).sum(1).tolist() == [2] * 24
    assert int((short.input_ids == maker.token_ids.region).sum()) == len(short.region_image)


def test_talks_without_measured_lines_have_no_region_placeholders(maker, scenes, monkeypatch):
    monkeypatch.setattr(joint, "BLIND_SHARE", 1.1)
    blind = maker(scenes, random.Random(3))
    assert len(blind.region_image) == 0
    assert not bool((blind.input_ids == maker.token_ids.region).any())


def test_a_query_is_known_only_when_it_asks_for_exactly_these(scenes):
    for scene in scenes.facts:
        everything = tuple(range(len(scene.defects)))
        assert query_of(scene, everything) == QUERY_ALL
        for i, defect in enumerate(scene.defects):
            query = query_of(scene, (i,))
            alone = sum(defect.kind == d.kind for d in scene.defects) == 1
            if len(scene.defects) > 1 and alone:
                assert QUERIES[query] == defect.kind


def test_a_model_without_region_reader_gets_no_region_placeholders(make_model, tokenizer, token_ids):
    model = make_model(use_region_tokens=False)
    batch = joint_batch(tokenizer, model)
    assert not bool((batch.input_ids == token_ids.region).any())
    task = JointTask(model, AnchorBank(model.config.decoder.width), SegLossWeights(), freeze_pixel=True)
    assert bool(torch.isfinite(sum(task(batch).values())))


@pytest.mark.parametrize("changes", [{"use_seg": False}, {"use_relative": False}, {"use_spam": False}])
def test_every_ablation_trains(make_model, tokenizer, changes):
    model = make_model(region_kinds=DEFECT_KINDS, **changes).train()
    bank = AnchorBank(model.config.decoder.width)
    task = JointTask(model, bank, SegLossWeights(), freeze_pixel=True, bank_weight=0.0)
    losses = task(joint_batch(tokenizer, model))
    assert {"text", "kind", "bce", "dice", "hard_bce"} <= set(losses)
    sum(losses.values()).backward()
    assert bool(model.token_refiner.layers[0].weight.grad.any())


def test_the_words_read_the_measured_regions(make_model, tokenizer):
    model = make_model(seed=2, region_kinds=DEFECT_KINDS)
    task = JointTask(model, AnchorBank(model.config.decoder.width), SegLossWeights(), freeze_pixel=True)
    batch = joint_batch(tokenizer, model)
    with torch.no_grad():
        before = task(batch)["text"]
        model.region_proj.weight.mul_(-3)
        assert abs(float(task(batch)["text"] - before)) > 1e-6


def test_talks_are_the_same_for_the_same_step(maker, scenes):
    first, second = maker(scenes, random.Random(5)), maker(scenes, random.Random(5))
    for name, value in vars(first).items():
        assert torch.equal(value, vars(second)[name]), name
    assert talk(scenes.facts[0], random.Random(5))


def test_prediction_is_the_direct_modes_map(make_model, tokenizer, maker):
    model = make_model(seed=2)
    task = JointTask(model, AnchorBank(model.config.decoder.width), SegLossWeights(), freeze_pixel=True)
    ids = maker.encode([ChatTurn("user", DEFAULT_INSTRUCTIONS["direct"]), ChatTurn("assistant", DIRECT_ANSWER)])[0]
    images = SceneGenerator(size=64).batch(3, 1).images
    fused = task.predict(images, ids)
    assert fused.shape == (3, 32, 32)
    torch.testing.assert_close(task.predict(images[1:2], ids), fused[1:2], atol=1e-5, rtol=1e-4)


def test_masks_are_trained_once_the_anchors_are_near_the_bank(make_model, tokenizer, monkeypatch):
    model = make_model(seed=2, region_kinds=DEFECT_KINDS)
    task = JointTask(model, AnchorBank(model.config.decoder.width), SegLossWeights(), freeze_pixel=True)
    batch = joint_batch(tokenizer, model)
    far = task(batch)
    assert "bank" in far and "dice" not in far
    monkeypatch.setattr(joint, "BANK_NEAR", 1e9)
    assert {"bank", "dice"} <= set(task(batch))

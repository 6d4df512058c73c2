import random

import torch

from agvas_core.modeling.agmd import MaskLogits
from agvas_core.regions import PLACES
from agvas_core.synthesis.facts import DEFECT_KINDS
from agvas_core.synthesis.generator import SceneGenerator
from agvas_core.training.dense import (
    FOUND_MOST,
    QUERIES,
    QUERY_ALL,
    AnchorBank,
    DenseBatch,
    DenseTask,
    as_found,
    make_dense_batch,
)
from agvas_core.training.losses import SegLossWeights


def scenes(count=12, seed=4):
    return SceneGenerator(size=64).batch(count, seed)


def test_every_image_is_asked_for_all_and_every_query_gets_what_it_names():
    batch = scenes()
    dense = make_dense_batch(batch, random.Random(1))
    everything = dense.query == QUERY_ALL
    assert dense.query_image[everything].tolist() == list(range(12))
    assert torch.equal(dense.query_mask[everything], batch.gt_mask)
    assert not bool(everything.all())
    for query, b, mask in zip(dense.query, dense.query_image, dense.query_mask, strict=True):
        name, scene = QUERIES[int(query)], batch.facts[int(b)]
        numbers = [i + 1 for i, d in enumerate(scene.defects) if name in ("all", d.kind, d.place)]
        expected = torch.isin(batch.labels[int(b)], torch.tensor(numbers, dtype=torch.uint8))
        assert torch.equal(mask, expected)


def test_kinds_are_learned_under_the_models_own_masks_where_it_marks_the_defect():
    dense = make_dense_batch(scenes(), random.Random(1))
    true = dense.labels[dense.defect_image] == dense.defect_number[:, None, None]
    nothing = torch.full((len(dense.query), 32, 32), -9.0)
    assert torch.equal(as_found(dense, MaskLogits(nothing, -nothing, nothing)), true)  # it marks nothing
    everything = as_found(dense, MaskLogits(-nothing, nothing, -nothing))
    own = (everything != true).flatten(1).any(1)  # a finding many times as large as the defect teaches nothing
    assert bool((everything[own].flatten(1).sum(1) <= FOUND_MOST * true[own].flatten(1).sum(1)).all())
    assert not bool(own.all())


def test_a_finding_teaches_the_kind_of_the_defect_that_it_holds_most_of():
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    labels[0, 8:20, 8:40], labels[0, 20:24, 8:20] = 1, 2  # two that touch
    labels[0, 48:60, 48:60] = 3
    one = torch.zeros(1, dtype=torch.int64)
    dense = DenseBatch(
        images=torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
        labels=labels,
        query=one,
        query_image=one,
        query_mask=labels > 0,
        defect_image=torch.zeros(3, dtype=torch.int64),
        defect_number=torch.tensor([1, 2, 3]),
        defect_kind=torch.tensor([0, 1, 2]),
    )
    marked = torch.full((1, 32, 32), -9.0)
    marked[0, 3:12, 4:18] = 9.0  # around the first and all of the second; the third is missed
    true = labels == torch.tensor([1, 2, 3])[:, None, None]
    seen_own = False
    for seed in range(8):
        torch.manual_seed(seed)
        masks = as_found(dense, MaskLogits(marked, -marked, marked))
        assert torch.equal(masks[1:], true[1:])  # it holds more of the first, and nothing of the third
        if not torch.equal(masks[0], true[0]):
            seen_own = True
            assert bool((masks[0] & true[1]).any())
            assert masks[0].sum() > true[0].sum()
    assert seen_own


def test_every_defect_is_listed_with_its_kind():
    batch = scenes()
    dense = make_dense_batch(batch, random.Random(1))
    told = [
        (b, n + 1, DEFECT_KINDS.index(d.kind))
        for b, scene in enumerate(batch.facts)
        for n, d in enumerate(scene.defects)
    ]
    listed = list(
        zip(dense.defect_image.tolist(), dense.defect_number.tolist(), dense.defect_kind.tolist(), strict=True)
    )
    assert listed == told


def test_queries_name_one_thing_each():
    assert len(set(QUERIES)) == len(QUERIES) == 1 + len(DEFECT_KINDS) + len(PLACES)
    assert QUERIES[QUERY_ALL] == "all"


def test_the_bank_gives_the_plain_question_its_base():
    torch.manual_seed(0)
    bank = AnchorBank(8)
    anchors = bank(torch.tensor([QUERY_ALL, 3, 3]))
    assert anchors.shape == (3, 3, 8)
    torch.testing.assert_close(anchors[0], bank.base)
    torch.testing.assert_close(anchors[1], anchors[2])
    assert not torch.allclose(anchors[0], anchors[1])
    anchors[0].sum().backward()
    assert not bool(bank.offset.weight.grad.any())  # its own offset is never used


def test_gradients_reach_all_that_the_stage_trains(make_model):
    task = DenseTask(make_model(region_kinds=DEFECT_KINDS).train(), SegLossWeights())
    losses = task(make_dense_batch(scenes(), random.Random(1)))
    assert {"bce", "dice", "hard_bce", "kind"} <= set(losses)
    sum(losses.values()).backward()
    assert [name for name, p in task.named_parameters() if p.grad is None] == []
    assert not [name for name, _ in task.named_parameters() if "lmm" in name]  # no language yet


def test_images_without_a_defect_have_finite_losses(make_model):
    batch = SceneGenerator(size=64, normal_share=1.0).batch(2, 1)
    assert not bool(batch.gt_mask.any())
    dense = make_dense_batch(batch, random.Random(1))
    losses = DenseTask(make_model(region_kinds=DEFECT_KINDS), SegLossWeights())(dense)
    assert all(bool(torch.isfinite(v)) for v in losses.values())


def test_prediction_is_the_fused_map(make_model):
    task = DenseTask(make_model(), SegLossWeights()).eval()
    images = scenes(2).images
    fused = task.predict(images)
    assert fused.shape == (2, 32, 32)
    assert 0 <= float(fused.min()) <= float(fused.max()) <= 1
    torch.testing.assert_close(task.predict(images[1:]), fused[1:])

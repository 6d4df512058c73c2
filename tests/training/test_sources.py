import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from agvas_core.regions import place_of
from agvas_core.synthesis.facts import SyntheticBatch
from agvas_core.synthesis.generator import SceneGenerator
from agvas_core.training.sources import ImageSource, SourceOptions, turned

OPTIONS = SourceOptions(sizes_px=(64,), normal_share=0.2, passes=3, block=2)


def same(a, b) -> bool:
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and a.facts == b.facts


def test_a_step_has_the_same_batch_on_every_call():
    unbroken = ImageSource(OPTIONS, seed=1)
    batches = [unbroken.batch(step, 1) for step in range(8)]
    for start in (3, 7):  # a resumed run begins anywhere
        resumed = ImageSource(OPTIONS, seed=1)
        for step in range(start, 8):
            assert same(resumed.batch(step, 1), batches[step]), step
    backwards = ImageSource(OPTIONS, seed=1)
    for step in reversed(range(8)):
        assert same(backwards.batch(step, 1), batches[step]), step


def test_two_workers_see_what_one_sees():
    alone, even, odd = (ImageSource(OPTIONS, seed=1) for _ in range(3))
    for step in range(8):
        assert same((odd if step % 2 else even).batch(step, 1), alone.batch(step, 1))
    assert len(odd._made) <= OPTIONS.block  # a worker that never sees a block's first step once kept all images


def test_images_are_used_again_turned_and_then_never():
    source = ImageSource(OPTIONS, seed=1)
    sums = [source.batch(step, 1).images.long().sum().item() for step in range(12)]
    assert sums[0] == sums[2] == sums[4]  # the same pixels in another order
    assert sums[1] == sums[3] == sums[5]
    assert len({sums[0], sums[1], sums[6], sums[7]}) == 4


def test_other_seeds_are_other_images():
    assert not same(ImageSource(OPTIONS, seed=1).batch(0, 1), ImageSource(OPTIONS, seed=2).batch(0, 1))


def test_larger_pictures_come_in_smaller_numbers():
    def count(size: int) -> int:
        return len(ImageSource(SourceOptions(sizes_px=(size,), passes=1), seed=0).batch(0, 2).images)

    assert count(64) == 32  # as many pixels as two of 256 px
    assert count(128) == 8


@pytest.mark.parametrize("seed", range(8))
def test_turning_keeps_facts_and_labels_consistent(seed):
    batch = SceneGenerator(size=64, normal_share=0.0).batch(4, seed)
    after = turned(batch, random.Random(seed))
    assert after.images.shape == batch.images.shape
    for b, scene in enumerate(after.facts):
        labels = after.labels[b].numpy()
        for n, defect in enumerate(scene.defects):
            ys, xs = np.nonzero(labels == n + 1)
            assert len(ys) == defect.area_px
            assert defect.box_xyxy == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            assert defect.centroid_yx == pytest.approx((ys.mean(), xs.mean()), abs=0.01)
            assert defect.place == place_of(*defect.centroid_yx, 64, 64)
            before = batch.facts[b].defects[n]
            assert (defect.color, defect.shape) == (before.color, before.shape)
            assert defect.kind == before.kind or {defect.kind, before.kind} == {"dent", "bump"}


def of_kinds(*kinds: str) -> SyntheticBatch:
    """A batch of one image whose defects are of these kinds."""
    batch = SceneGenerator(size=64, normal_share=0.0).batch(1, 3)
    first = batch.facts[0].defects[0]
    facts = replace(batch.facts[0], defects=tuple(replace(first, kind=kind) for kind in kinds))
    return replace(batch, facts=[facts])


def test_upside_down_a_dent_is_a_bump_and_neither_is_lit_from_the_side():
    batch, seen = of_kinds("dent", "bump", "hole"), set()
    for seed in range(40):
        after = turned(batch, random.Random(seed))
        kinds = tuple(d.kind for d in after.facts[0].defects)
        upright = any(torch.equal(after.images, way) for way in (batch.images, batch.images.flip(3)))
        half = batch.images.rot90(2, (2, 3))
        assert upright or any(torch.equal(after.images, way) for way in (half, half.flip(3)))
        assert kinds == (("dent", "bump", "hole") if upright else ("bump", "dent", "hole"))
        seen.add(upright)
    assert seen == {True, False}


def test_images_and_labels_turn_together():
    batch = of_kinds("hole")
    marked = type(batch)(batch.labels[:, None].expand(-1, 3, -1, -1).contiguous(), batch.labels, batch.facts)
    seen = set()
    for seed in range(60):
        after = turned(marked, random.Random(seed))
        assert torch.equal(after.images[:, 0], after.labels)
        seen.add(after.labels.numpy().tobytes())
    assert len(seen) == 8  # all ways

"""The expert's ablations: the same images for every variant, and features that are those of training."""

from __future__ import annotations

import torch

from agvas_core.checkpoint import load_checkpoint
from agvas_core.evaluation.held_out import held_out_batches
from agvas_core.modeling.expert_eyes import bundled_expert_config, expert_features
from agvas_core.training.expert import ExpertBatch, ExpertTask
from agvas_core.training.expert_ablations import VARIANTS, ablation_table, judge, learn, see, variant


def test_cached_features_are_what_training_sees_and_variants_learn_from_them(checkpoint):
    model = load_checkpoint(checkpoint)[0]
    config = bundled_expert_config(model.config)
    (batch,) = held_out_batches(18, size=64)
    progress: list[int] = []
    seen = see(model, config, [(batch.images, batch.gt_mask)], progress.append)
    assert len(seen) == sum(progress) == 18
    fresh = expert_features(model, config, batch.images[16:].float() / 255)
    again = seen.features([16, 17])
    torch.testing.assert_close(again.final, fresh.final, atol=5e-3, rtol=5e-3)
    for kept, level in zip(again.levels, fresh.levels, strict=True):
        torch.testing.assert_close(kept, level.float(), atol=5e-3, rtol=5e-3)
    assert seen.labels.tolist() == batch.gt_mask.flatten(1).any(1).tolist()
    assert {bool(v) for v in seen.labels} == {True, False}

    results, losses = {}, {}
    for name in VARIANTS:
        own = variant(config, name)
        expert = learn(own, seen, steps=30, batch=6, lr=3e-3)
        names = {n.split(".")[0] for n, _ in expert.named_parameters()}
        assert ("pooling_layer" in names) == (name != "w/o look-back")
        assert ("positive_embedding" in names) == (name != "w/o embeddings")
        before = ExpertTask(learn(own, seen, steps=0, batch=6, lr=3e-3), model)
        parts = (
            before(ExpertBatch(batch.images, batch.gt_mask)),
            ExpertTask(expert, model)(ExpertBatch(batch.images, batch.gt_mask)),
        )
        losses[name] = [float(sum(part.values())) for part in parts]
        results[name] = judge(expert, seen)
    assert all(after < before for before, after in losses.values()), losses
    same = learn(variant(config, "whole"), seen, steps=30, batch=6, lr=3e-3)
    assert judge(same, seen) == results["whole"]
    table = ablation_table(results, 30, 18)
    assert all(f"| {name} | {r['AUROC']:.1f} |" in table for name, r in results.items())

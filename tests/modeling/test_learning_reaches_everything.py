"""Every weight learns: no part of the model is dead at its start."""

from __future__ import annotations

import random
from dataclasses import replace

import torch

from agvas_core.config import get_preset
from agvas_core.modeling.agvas import TokenIds, build_agvas
from agvas_core.synthesis.facts import DEFECT_KINDS
from agvas_core.synthesis.generator import SceneGenerator
from agvas_core.training.dense import DenseTask, make_dense_batch
from agvas_core.training.losses import SegLossWeights


def test_residual_blocks_wake_up():
    """A zero-initialised norm before a ReLU kept every residual block an identity for 30,000 images."""
    torch.manual_seed(0)
    config = get_preset("tiny-test")
    config = replace(config, decoder=replace(config.decoder, region_kinds=DEFECT_KINDS))
    task = DenseTask(build_agvas(config, TokenIds(0, 0, (0, 0, 0))), SegLossWeights())
    batch = make_dense_batch(SceneGenerator(size=64, normal_share=0.0).batch(4, 5, "cpu"), random.Random(0))
    optimizer = torch.optim.SGD(task.parameters(), lr=0.1)
    for _ in range(3):  # what starts at zero passes gradients on from the second step
        optimizer.zero_grad()
        sum(task(batch).values()).backward()
        optimizer.step()
    still = [
        name
        for name, p in task.named_parameters()
        if not name.startswith("bank.offset") and (p.grad is None or not bool(p.grad.abs().max() > 0))
    ]
    assert still == []

"""What a stage costs before it is paid: parameters and operations of each part, by image."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from agvas_core.training.dense import make_dense_batch
from agvas_core.training.joint import JointMaker
from agvas_core.training.run import DENSE, JOINT, RunOptions, dense_task, joint_task
from agvas_core.training.sources import ImageSource

BOTH_WAYS = "all, forward and backward"
IMAGES = 4  # counted together: how many queries and regions an image has varies


@dataclass(frozen=True)
class Cost:
    """One part of what is trained.

    Attributes:
        part: its name; BOTH_WAYS for everything, forward and backward.
        parameters: how many, trained or not.
        gflop: 1e9 operations for one image, a multiplication and an addition being two; of a part forward only.
    """

    part: str
    parameters: int
    gflop: float


def stage_budget(options: RunOptions, stage: str, *, freeze_pixel: bool = False) -> list[Cost]:
    """Return the costs of a stage's parts at the largest of its sizes, dearest first, then of everything both ways.

    Raises:
        ValueError: for a stage without images.
    """
    source = replace(options.source, sizes_px=(max(options.source.sizes_px),), passes=1)
    batch = ImageSource(source, seed=options.seed).batch(0, IMAGES)
    if stage == DENSE:
        task: nn.Module = dense_task(options)
        return costs(task, make_dense_batch(batch, random.Random(0)), len(batch.images))
    if stage == JOINT:
        joint, tokenizer = joint_task(options, freeze_pixel=freeze_pixel)
        prepare = JointMaker(tokenizer, joint.model.config, joint.model.token_ids)
        return costs(joint, prepare(batch, random.Random(0)), len(batch.images))
    raise ValueError(f"--budget counts the {DENSE} and the {JOINT} stage; {stage} sees no images.")


def costs(task: nn.Module, batch: Any, images: int) -> list[Cost]:
    """Return the costs of a task's parts for a batch of so many images, dearest first, then of everything both ways."""
    with FlopCounterMode(display=False) as both:
        with FlopCounterMode(display=False) as forward:
            losses = task(batch)
        sum(losses.values()).backward()
    counted = {name: sum(ops.values()) for name, ops in forward.get_flop_counts().items()}
    own, model = type(task).__name__, getattr(task, "model", None)
    holder, inside = (model, f"{own}.model") if isinstance(model, nn.Module) else (task, own)
    rows = [
        Cost(name, _parameters(part), _operations(counted, f"{inside}.{name}", part) / 1e9 / images)
        for name, part in holder.named_children()
    ]
    rows.sort(key=lambda row: -row.gflop)
    return [*rows, Cost(BOTH_WAYS, _parameters(task), both.get_total_flops() / 1e9 / images)]


def _operations(counted: Mapping[str, int], name: str, part: nn.Module) -> int:
    """Return what was counted for a part, or for its own parts where these are called without it."""
    if name in counted:
        return counted[name]
    return sum(_operations(counted, f"{name}.{child}", inner) for child, inner in part.named_children())


def _parameters(part: nn.Module) -> int:
    return sum(p.numel() for p in part.parameters())

"""One process of a run on several: accelerate starts it for test_processes.py, with its settings in the environment.

accelerate leaves FSDP and DeepSpeed to GPUs; here its processes on CPUs are given out as such, so that the same code is
run by gloo. ZeRO-3 leaves small weights whole, and a small model has no others; here it shares out most of them.
"""

import os
import sys
from pathlib import Path

import torch
from accelerate import DeepSpeedPlugin, DistributedType, PartialState

from agvas_core.adapter import LoraOptions
from agvas_core.training.adapt import train_adapter
from agvas_core.training.adapt_options import AdaptOptions
from agvas_core.training.trainer import TrainOptions

SHARED_OUT = 500  # numbers in a weight, above which ZeRO-3 shares it out


def options_of(
    base: str | Path, data: str | Path, out: str | Path, steps: int, accumulate: int, **more: float
) -> AdaptOptions:
    """Return a short run's options."""
    train = TrainOptions(
        steps=steps, lr=1e-3, warmup_steps=1, mixed_precision="no", workers=0, accumulate=accumulate, **more
    )
    return AdaptOptions(
        preset="", base=str(base), run_dir=Path(out), data=Path(data), size_px=64, batch=2, train=train,
        lora=LoraOptions(rank=2, alpha=4),
    )  # fmt: skip


def share_small_weights_out() -> None:
    """Lower the size of weights that ZeRO-3 leaves whole."""
    read = DeepSpeedPlugin.__post_init__

    def read_and_lower(self: DeepSpeedPlugin) -> None:
        read(self)
        self.deepspeed_config["zero_optimization"]["stage3_param_persistence_threshold"] = SHARED_OUT

    DeepSpeedPlugin.__post_init__ = read_and_lower


def main(base: str, data: str, out: str, steps: int, accumulate: int, minutes: float = 0.0) -> None:
    """Train an adapter for a few steps."""
    wanted = {"ACCELERATE_USE_FSDP": "MULTI_GPU", "ACCELERATE_USE_DEEPSPEED": "DEEPSPEED"}
    for variable, kind in wanted.items():
        if os.environ.get(variable) == "true":
            PartialState(cpu=True)
            PartialState._shared_state["distributed_type"] = DistributedType(kind)
    share_small_weights_out()
    torch.set_num_threads(1)
    trainer = train_adapter(options_of(base, data, out, steps, accumulate, minutes=minutes))
    print(trainer.accelerator.distributed_type.value, type(trainer.task).__name__)


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5]), *map(float, sys.argv[6:]))

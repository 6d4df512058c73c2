"""The training loop: accelerate, AdamW, warm-up - stable - decay, averaged weights, a state that resumes exactly."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from agvas_core.modeling.pixel_encoder import cpu_has_bf16
from agvas_core.training.losses import check_finite

STATE_FILE, LOG_FILE = "state.pt", "log.jsonl"


@dataclass(frozen=True)
class TrainOptions:
    """How long, how fast, how often.

    Attributes:
        steps: length of the run; the learning rate falls to zero in its last `decay_share`.
        lr: peak learning rate of AdamW. Paper differs: 3e-4, for a pretrained LLM's LoRA.
        warmup_steps: linear rise at the start.
        decay_share: share of the steps in which the rate falls.
        weight_decay: AdamW's, on matrices only.
        clip_norm: bound of the gradient's norm.
        ema: decay of the averaged weights, which are the ones that are evaluated and exported; 0 keeps none. Paper
            differs: it says of none.
        save_seconds: a state is written at least this often.
        eval_steps: steps between evaluations, 0 for none.
        minutes: stop (resumably) after so many minutes, 0 for no limit.
        total_minutes: length of the run in minutes of training, over all its calls, for a machine that is lent for a
            time; 0 for none. The rate then falls by time, the steps are only a bound, and a resumed run is not exactly
            the unbroken one: how many steps fit into a minute differs.
        accumulate: batches of a step on each process; their gradients are averaged.
        mixed_precision: "bf16", "no", or "auto": bf16 on a GPU and on a processor that has its products.
        workers: processes that make images beside the training.
    """

    steps: int
    lr: float = 6e-4
    warmup_steps: int = 100
    decay_share: float = 0.25
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    ema: float = 0.999
    save_seconds: float = 180.0
    eval_steps: int = 500
    minutes: float = 0.0
    total_minutes: float = 0.0
    accumulate: int = 1
    mixed_precision: str = "auto"
    workers: int = 1

    def __post_init__(self) -> None:
        if self.mixed_precision not in ("auto", "bf16", "no"):
            raise ValueError(f"--precision is auto, bf16 or no; got {self.mixed_precision!r}.")

    @property
    def half(self) -> bool:
        """Whether products are taken in bf16 here."""
        if self.mixed_precision == "auto":
            return torch.cuda.is_available() or cpu_has_bf16()
        return self.mixed_precision == "bf16"


class Task(Protocol):
    """What is trained: a module that turns a batch into named losses."""

    def __call__(self, batch: Any) -> dict[str, Tensor]: ...


class StepStream(IterableDataset):
    """Batches made by `make(number)`, from a number on; each process makes its own, each worker a share of these."""

    def __init__(self, make: Callable[[int], Any], first: int, stop: int, *, process: int = 0, count: int = 1) -> None:
        self.make, self.first, self.stop, self.process, self.count = make, first, stop, process, count

    def __iter__(self) -> Iterator[Any]:
        """Yield the process's batches in order: of `count` processes, its own of every `count` successive numbers."""
        info = torch.utils.data.get_worker_info()
        first, stride = (info.id, info.num_workers) if info else (0, 1)
        for n in range(self.first + first, self.stop, stride):
            yield self.make(n * self.count + self.process)


def rate_at(step: int, options: TrainOptions, seconds: float = 0.0) -> float:
    """Return the learning rate of a step, so many seconds into the run, as a share of the peak.

    Warm-up by steps, stable, linear decay by steps or, if the run has a length in minutes, by time. Paper differs: it
    takes DeepSpeed's WarmupDecayLR, which falls from the end of the warm-up on; a stable rate can be gone on from.
    """
    rise = min(1.0, (step + 1) / max(1, options.warmup_steps))
    left = 1 - (seconds / (60 * options.total_minutes) if options.total_minutes else step / options.steps)
    fall = left / max(1 / options.steps, options.decay_share)
    return max(0.0, min(rise, fall, 1.0))


def make_accelerator(options: TrainOptions, *, zero_3: bool) -> Accelerator:
    """Return accelerate's front: one process, or what `accelerate launch` set up (DDP, FSDP, DeepSpeed).

    zero_3: whether DeepSpeed may share the weights out; ValueError if it does and may not.
    """
    deepspeed = os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true"  # it finds its device by itself
    os.environ["ACCELERATE_GRADIENT_ACCUMULATION_STEPS"] = str(options.accumulate)  # else the launcher's value wins
    accelerator = Accelerator(
        mixed_precision="bf16" if options.half else "no",
        cpu=not torch.cuda.is_available() and not deepspeed,
        gradient_accumulation_steps=options.accumulate,
        # a batch without defects leaves parts without a gradient
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    if accelerator.state.deepspeed_plugin is not None:
        config = accelerator.state.deepspeed_plugin.deepspeed_config
        if config["zero_optimization"]["stage"] > 2 and not zero_3:
            raise ValueError("DeepSpeed's ZeRO-3 is for the adapt stage: the others keep averages of whole weights.")
        config["train_micro_batch_size_per_gpu"] = 1  # only its product with the others is looked at
        config["gradient_clipping"] = options.clip_norm
    return accelerator


class Averaged:
    """Exponential moving average of a module's floating-point state."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values: dict[str, Tensor] = {}  # by every name; tied weights share one average, as they share one weight
        self._names: list[str] = []  # one name for each average
        owner: dict[int, str] = {}
        for name, value in module.state_dict().items():
            if not value.is_floating_point():
                continue
            first = owner.setdefault(value.data_ptr(), name) if value.numel() else name
            if first == name:
                self._names.append(name)
                self.values[name] = value.detach().clone().float()
            else:
                self.values[name] = self.values[first]

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the module; early steps move faster, so that the start is forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        state = module.state_dict()
        averages, current = [self.values[k] for k in self._names], [state[k].float() for k in self._names]
        torch._foreach_lerp_(averages, current, 1 - decay)

    def swap(self, module: nn.Module) -> None:
        """Exchange the module's weights and the averaged ones; calling it again changes them back."""
        state = module.state_dict()
        for name in self._names:
            value = self.values[name]
            kept = state[name].clone()
            state[name].copy_(value)
            value.copy_(kept)


class Trainer:
    """Runs a task; everything it needs to go on is in one file."""

    zero_3 = False  # whether its state is put together where ZeRO-3 shares the weights out

    def __init__(
        self,
        task: nn.Module,
        make_batch: Callable[[int], Any],
        options: TrainOptions,
        run_dir: Path,
        evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    ) -> None:
        self.options, self.run_dir, self.make_batch, self.evaluate = options, run_dir, make_batch, evaluate
        run_dir.mkdir(parents=True, exist_ok=True)
        self.accelerator = make_accelerator(options, zero_3=self.zero_3)
        trained = [p for p in task.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": options.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.98), fused=True)
        self.task, self.optimizer = self.accelerator.prepare(task, optimizer)
        self.average = Averaged(self.module, options.ema) if options.ema else None
        self.step, self.images_seen, self.seconds = 0, 0, 0.0
        if self.state_path.exists():
            self._load()

    @property
    def module(self) -> nn.Module:
        """The task itself, without accelerate's wrapper."""
        return self.accelerator.unwrap_model(self.task)

    @property
    def state_path(self) -> Path:
        """Where the run's state lies."""
        return self.run_dir / STATE_FILE

    def run(self) -> None:
        """Train until the steps are done or the minutes are over."""
        o = self.options
        ours, processes = self.accelerator.process_index, self.accelerator.num_processes
        a = o.accumulate
        stop = self.step if self._time_is_over() else o.steps
        stream = StepStream(self.make_batch, self.step * a, stop * a, process=ours, count=processes)
        loader = DataLoader(
            stream,
            batch_size=None,
            num_workers=o.workers,
            worker_init_fn=_one_thread,
            prefetch_factor=4 if o.workers else None,
        )
        began = last_save = time.monotonic()
        seconds_before = self.seconds
        bar = tqdm(
            batched(loader, a), initial=self.step, total=o.steps, desc="training", mininterval=5, smoothing=0.05,
            disable=not self.accelerator.is_main_process,
        )  # fmt: skip
        for batches in bar:
            losses = self._train_step(batches)
            self.seconds = seconds_before + time.monotonic() - began
            if self.step % 20 == 0 or self.step == o.steps:
                bar.set_postfix({k: f"{v:.3f}" for k, v in losses.items()} | {"images": self.images_seen})
                self._log({"step": self.step, "images": self.images_seen, "seconds": round(self.seconds), **losses})
            if o.eval_steps and self.step % o.eval_steps == 0:
                self._evaluate()
            if self._agreed(time.monotonic() - last_save > o.save_seconds):
                self.save()
                last_save = time.monotonic()
            over = self._time_is_over() or bool(o.minutes) and time.monotonic() - began > 60 * o.minutes
            if (o.minutes or o.total_minutes) and self._agreed(over):
                break
        self._evaluate()
        self.save()

    def _time_is_over(self) -> bool:
        """Whether the run has lasted its total_minutes."""
        return bool(self.options.total_minutes) and self.seconds >= 60 * self.options.total_minutes

    def _train_step(self, batches: Sequence[Any]) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.lr * rate_at(self.step, self.options, self.seconds)
        processes = self.accelerator.num_processes
        seen, total = 0, Counter[str]()
        for i, batch in enumerate(batches):
            # what the task draws depends on the batch's number alone, also after a resumption
            number = (self.step * self.options.accumulate + i) * processes + self.accelerator.process_index
            torch.manual_seed(number)
            batch = move(batch, self.accelerator.device)
            with self.accelerator.accumulate(self.task):
                with self.accelerator.autocast():
                    losses = self.task(batch)
                check_finite(losses, self.step)
                self.accelerator.backward(sum(losses.values()))
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(self.task.parameters(), self.options.clip_norm)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
            seen += len(batch.images)
            total.update({name: float(value.detach()) / len(batches) for name, value in losses.items()})
        self.step += 1
        self.images_seen += seen * processes
        if self.average is not None:
            self.average.update(self.module, self.step)
        return {name: round(value, 5) for name, value in self._mean(total).items()}

    def _mean(self, losses: Mapping[str, float]) -> dict[str, float]:
        """Return the losses' means over all processes."""
        if self.accelerator.num_processes == 1:
            return dict(losses)
        gathered = gather_object([dict(losses)])
        names = dict.fromkeys(name for row in gathered for name in row)
        return {name: sum(row.get(name, 0.0) for row in gathered) / len(gathered) for name in names}

    def _agreed(self, wanted: bool) -> bool:
        """Return what the first process wants: clocks differ, and all have to do the same."""
        return bool(broadcast_object_list([wanted])[0]) if self.accelerator.num_processes > 1 else wanted

    def _evaluate(self) -> None:
        if self.evaluate is None:
            return
        self.module.eval()
        if self.average is not None:
            self.average.swap(self.module)
        scores = self.evaluate(self.module)
        if self.average is not None:
            self.average.swap(self.module)
        self.module.train()
        row = {"eval_step": self.step, "images": self.images_seen, "seconds": round(self.seconds), **scores}
        self._log(row)
        tqdm.write(json.dumps(row))

    def _log(self, row: dict[str, Any]) -> None:
        if not self.accelerator.is_main_process:
            return
        with (self.run_dir / LOG_FILE).open("a") as f:
            f.write(json.dumps(row) + "\n")

    def averaged_state(self) -> dict[str, Tensor]:
        """Return the averaged weights by name, what is exported."""
        averages = {} if self.average is None else self.average.values
        return {k: averages.get(k, v).clone() for k, v in self.module.state_dict().items()}

    def save(self) -> None:
        """Write the state; a crash in the middle leaves the old one."""
        progress = {"step": self.step, "images_seen": self.images_seen, "seconds": self.seconds}
        state = self.learned() | progress
        if not self.accelerator.is_main_process:
            return
        part = self.state_path.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.state_path)

    def learned(self) -> dict[str, Any]:
        """Return weights, moments and averages: all that training changes. Every process calls it."""
        return {
            "task": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": {} if self.average is None else self.average.values,
        }

    def take(self, state: dict[str, Any]) -> None:
        """Go on from what `learned` returned."""
        self.module.load_state_dict(state["task"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            for key, value in self.average.values.items():
                value.copy_(state["average"][key])

    def _load(self) -> None:
        state = torch.load(self.state_path, map_location="cpu", weights_only=True)
        self.take(state)
        self.step, self.images_seen, self.seconds = state["step"], state["images_seen"], state["seconds"]


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def move(batch: Any, device: torch.device) -> Any:
    """Return a dataclass of tensors with its tensors on the device."""
    values = {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in vars(batch).items()}
    return type(batch)(**values)


def batched(stream: Iterable[Any], count: int) -> Iterator[list[Any]]:
    """Yield lists of `count` successive items; a rest is left out."""
    group = []
    for item in stream:
        group.append(item)
        if len(group) == count:
            yield group
            group = []

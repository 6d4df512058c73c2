"""Where a turn's time goes: seconds, FLOPs and bytes by stage, and the ceilings of the device that they run on."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop
from transformers import DynamicCache

STAGES = (
    "decode image",
    "preprocess",
    "semantic encoder",
    "pixel encoder",
    "SPAM",
    "prefill",
    "decode",
    "AGMD",
    "restore",
    "render",
)
ON_HOST = ("decode image", "preprocess", "restore", "render")
# an attention kernel that torch's own counter leaves out
_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, out_shape=None, **__: sdpa_flop(
        q, k, v
    )
}


@dataclass
class Cost:
    """What a stage took. seconds: wall; busy_s: of all processors; flops and moved: only while counting."""

    seconds: float = 0.0
    busy_s: float = 0.0
    flops: float = 0.0
    moved: float = 0.0

    def add(self, other: Cost, sign: int = 1) -> None:
        """Add another cost, or take it away."""
        for f in dataclasses.fields(self):
            setattr(self, f.name, getattr(self, f.name) + sign * getattr(other, f.name))


@dataclass
class StageClock:
    """Costs by stage. A stage inside another one is taken out of it. While `on` is False nothing is measured."""

    device: torch.device
    on: bool = False
    costs: dict[str, Cost] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _counter: FlopCounterMode | None = None

    def reset(self) -> None:
        """Forget all costs."""
        self.costs = {}

    def _now(self) -> Cost:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        flops = self._counter.get_total_flops() if self._counter is not None else 0
        return Cost(time.perf_counter(), time.process_time(), float(flops))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside to a stage."""
        if not self.on:
            yield
            return
        begun = self._now()
        self._open.append(name)
        try:
            yield
        finally:
            self._open.pop()
            spent = self._now()
            spent.add(begun, -1)
            self.costs.setdefault(name, Cost()).add(spent)
            if self._open:
                self.costs.setdefault(self._open[-1], Cost()).add(spent, -1)

    def move(self, size: float) -> None:
        """Count bytes that the open stage has to read or write at least once."""
        if self.on and self._counter is not None and self._open:
            self.costs.setdefault(self._open[-1], Cost()).moved += size

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count FLOPs and bytes, too; the seconds mean nothing meanwhile."""
        self._counter = FlopCounterMode(display=False, custom_mapping=_ATTENTION)
        try:
            with self._counter:
                yield
        finally:
            self._counter = None


def size_of(value: Any) -> float:
    """Return the bytes of all arrays and tensors in a value."""
    if isinstance(value, (Tensor, np.ndarray)):
        return float(value.nbytes)
    if isinstance(value, DynamicCache):
        return sum(size_of((layer.keys, layer.values)) for layer in value.layers)
    if isinstance(value, (list, tuple)):
        return sum(map(size_of, value))
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return sum(size_of(getattr(value, f.name)) for f in dataclasses.fields(value))
    return 0.0


def watched(clock: StageClock, work: Callable[..., Any], name: str | None, weights: nn.Module | None) -> Callable:
    """Return work, counted to a stage (None: to the one that is open); weights, input and output count as moved."""
    held = sum(p.nbytes for p in weights.parameters()) if weights is not None else 0.0

    @functools.wraps(work)
    def run(*args: Any, **kwargs: Any) -> Any:
        if name is None:
            result = work(*args, **kwargs)
            clock.move(held + size_of((args, kwargs, result)))
            return result
        with clock.stage(name):
            result = work(*args, **kwargs)
            clock.move(held + size_of((args, kwargs, result)) if weights is not None or name in ON_HOST else 0.0)
        return result

    return run


def ceilings(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Return the best rates seen: matrix products (FLOP/s), copies on the device and on the host (bytes/s)."""
    cuda = device.type == "cuda"
    sides = (4096, 8192) if cuda else (512, 1024)
    rates = {}
    best = 0.0
    for side in sides:
        a = torch.randn(side, side, device=device, dtype=dtype)
        best = max(best, 2 * side**3 / _fastest(functools.partial(torch.mm, a, a), device))
    rates["matmul_flops"] = best
    for name, where, size in (("copy_bytes", device, 2**30 if cuda else 2**26), ("host_copy_bytes", "cpu", 2**26)):
        source = torch.zeros(size, dtype=torch.uint8, device=where)
        target = torch.empty_like(source)
        rates[name] = 2 * size / _fastest(functools.partial(target.copy_, source), torch.device(where))
    return rates


def _fastest(work: Callable[[], Any], device: torch.device, repeats: int = 7) -> float:
    best = float("inf")
    for _ in range(repeats):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        begun = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begun)
    return best


def floor_s(name: str, cost: Cost, rates: dict[str, float]) -> float:
    """Return the least seconds for a stage's FLOPs and bytes on this device."""
    copies = rates["host_copy_bytes" if name in ON_HOST else "copy_bytes"]
    return max(cost.flops / rates["matmul_flops"], cost.moved / copies)

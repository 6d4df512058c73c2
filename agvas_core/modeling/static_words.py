"""Words of one reply at a time, read in a cache of fixed size: on CUDA by a graph that is recorded once.

A word of a large model is some hundred small kernels, which the host launches more slowly than the device runs them.
A recorded graph launches them at once, but needs the same memory for every word. So keys and values of the reply that
is being said are moved into a static cache, and what it adds moves back when somebody else needs it.
"""

# D width of the LLM, P tokens that a cache holds

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, StaticCache

from agvas_core.modeling.agvas import AGVAS
from agvas_core.modeling.together import cut_back, read_together

log = logging.getLogger(__name__)

SWITCH = "AGVAS_CUDA_GRAPHS"  # "0" in the environment: no graphs
ROOM = 1024  # tokens by which a static cache grows; for each size the graph is recorded anew
AT_MOST = 8192  # tokens beyond which replies are read as before: the 7B's keys and values of so many take 470 MB
WARM_UPS = 2  # before recording: libraries make their workspaces

Recorder = Callable[[Callable[[], Tensor], Callable[[], None], torch.device], Callable[[], Tensor]]


def static_words(model: AGVAS, device: torch.device) -> StaticWords | None:
    """Return a reader with CUDA graphs where they pay and may be used, else None.

    They pay for large models: bf16 or fp16 on CUDA, not quantised. Not in a worker that lives for one reply (ZeroGPU).
    """
    if device.type != "cuda" or os.environ.get(SWITCH) == "0" or os.environ.get("SPACES_ZERO_GPU"):
        return None
    half = model.lmm.model.language_model.norm.weight.dtype in (torch.bfloat16, torch.float16)
    if not half or getattr(model.lmm, "hf_quantizer", None) is not None:
        return None
    reason = why_not(model, device)
    if reason:
        log.warning("Words are decoded without CUDA graphs: %s.", reason)
        return None
    return StaticWords(model)


def why_not(model: AGVAS, device: torch.device) -> str:
    """Return why a model's words cannot be read in a static cache on a device; "" when they can."""
    language = model.lmm.model.language_model
    if not getattr(language, "_can_compile_fullgraph", False):
        return f"{type(language).__name__} takes no static cache"
    layers = StaticCache(config=language.config, max_cache_len=1).layers
    if any(not layer.is_compileable or layer.is_sliding for layer in layers):
        return f"not all layers of this {type(language).__name__} see all that was read"
    index = torch.cuda.current_device() if device.type == "cuda" and device.index is None else device.index
    if any(p.device != torch.device(device.type, index) for p in language.parameters()):
        return "a part of the language model lies elsewhere"
    return ""


def _nobody() -> None:
    return None


class StaticWords:
    """Reads words as read_together does, one reply's alone in a static cache. For several threads.

    The static cache has at most one tenant: the cache whose reply is being said. settle() brings home what the tenant
    has read since; whoever looks into a cache that may be the tenant calls it first.

    record: as `recorded`, which is used on CUDA when it is None; elsewhere the work is done each time.
    room, at_most: tokens by which the static cache grows, and how many it holds at most.
    """

    def __init__(
        self, model: AGVAS, *, record: Recorder | None = None, room: int = ROOM, at_most: int = AT_MOST
    ) -> None:
        self._model, self._record, self._step, self._at_most = model, record, room, at_most
        self._room: _Room | None = None
        self._tenant: Callable[[], Any] = _nobody
        self._home = self._held = 0  # tokens in the tenant's own cache, and of it in the static one
        self._lock = threading.RLock()
        self.failed = ""  # why everything is read as before from here on

    def read(self, embeds: Sequence[Tensor], caches: Sequence[DynamicCache]) -> list[Tensor]:
        """Return each reply's state (1, 1, D) from its next word's embedding (1, 1, D), which its cache then holds.

        Several replies are read together, in their own caches. What goes wrong with the static cache is logged, and
        from there on all words are read as before.
        """
        with self._lock:
            if len(embeds) == 1 and not self.failed:
                try:
                    state = self._read_alone(embeds[0], caches[0])
                    if state is not None:
                        return [state]
                except RuntimeError as error:  # no memory, or something that cannot be recorded
                    self.failed = str(error).partition("\n")[0] or type(error).__name__
                    log.warning("Words are decoded without CUDA graphs from here on: %s", self.failed)
                    self._move_out()
                    self._room = None
            self.settle(*caches)
        return read_together(self._model, embeds, caches)

    def settle(self, *caches: DynamicCache) -> None:
        """Bring home what those of the caches that are the tenant have read."""
        with self._lock:
            if any(cache is self._tenant() for cache in caches):
                self._bring_home()

    def _bring_home(self) -> None:
        """Give the tenant what it has read; on an error it has nothing of it, and can be given it again."""
        tenant = self._tenant()
        if tenant is None or self._held == self._home:
            return
        assert self._room is not None and tenant.get_seq_length() == self._home
        fresh = slice(self._home, self._held)
        try:
            for i, layer in enumerate(self._room.cache.layers):
                tenant.update(layer.keys[:, :, fresh].clone(), layer.values[:, :, fresh].clone(), i)
        except Exception:  # out of memory
            cut_back(tenant, self._home)
            raise
        self._home = self._held

    def _move_out(self) -> None:
        self._bring_home()
        self._tenant = _nobody

    def _read_alone(self, x: Tensor, cache: DynamicCache) -> Tensor | None:
        """Return the state (1, 1, D) of a word; None when the reply is longer than the static cache may be."""
        lives_here = self._tenant() is cache and cache.get_seq_length() == self._home
        full = self._room is None or self._held == self._room.size
        if (full or not lives_here) and not self._move_in(cache):
            return None
        assert self._room is not None
        state = self._room.read(x, self._held)
        self._held += 1
        return state

    def _move_in(self, cache: DynamicCache) -> bool:
        """Make a cache the tenant; False when it is too long."""
        self._move_out()
        length = cache.get_seq_length()
        size = -(-(length + 1) // self._step) * self._step
        if not length or size > self._at_most:
            return False
        if self._room is None or self._room.size < size:
            self._room = None  # its memory is free before more is asked for
            self._room = _Room(self._model, size, self._record)
        self._room.fill(cache)
        self._tenant, self._home, self._held = weakref.ref(cache), length, length
        return True


class _Room:
    """A static cache of `size` tokens, and the reading of one word in it."""

    def __init__(self, model: AGVAS, size: int, record: Recorder | None) -> None:
        self.cache = StaticCache(config=model.lmm.config.text_config, max_cache_len=size)
        self.size, self._model, self._record = size, model, record
        self._x: Tensor | None = None
        self._replay: Callable[[], Tensor] | None = None

    def fill(self, cache: DynamicCache) -> None:
        """Take over what a cache holds."""
        self._rewind(0)
        for i, layer in enumerate(cache.layers):
            self.cache.update(layer.keys, layer.values, i)

    def read(self, x: Tensor, length: int) -> Tensor:
        """Return the state (1, 1, D) of the word x (1, 1, D) that follows `length` tokens."""
        if self._x is None:
            self._x = torch.empty_like(x)
        self._x.copy_(x)
        if self._replay is None:
            record = self._record or (recorded if x.is_cuda else _repeated)
            self._replay = record(self._work, lambda: self._rewind(length), x.device)
        return self._replay().clone()

    def _work(self) -> Tensor:
        assert self._x is not None
        return self._model.language(self._x, cache=self.cache)

    def _rewind(self, length: int) -> None:
        """Forget all after `length` tokens; the place of the next one is on the device, where a graph moves it on."""
        for layer in self.cache.layers:
            if layer.is_initialized:
                layer.cumulative_length.fill_(length)


def recorded(work: Callable[[], Tensor], rewind: Callable[[], None], device: torch.device) -> Callable[[], Tensor]:
    """Record work on CUDA, and return what does it again, in the same memory.

    rewind: undoes what work has changed; recording itself changes nothing.
    """
    with torch.cuda.device(device):
        own, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(own)
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                work()
                rewind()
        own.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # in this thread alone: others go on as they like
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            out = work()

    def replay() -> Tensor:
        with torch.cuda.device(device):
            graph.replay()
        return out

    return replay


def _repeated(work: Callable[[], Tensor], rewind: Callable[[], None], device: torch.device) -> Callable[[], Tensor]:
    return work

"""Work beside other work: on a CUDA stream of its own, and at once where there are no streams."""

# what is begun reads tensors of the caller's stream, and makes tensors that the caller's stream reads

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

SWITCH = "AGVAS_SIDE_STREAM"  # "0" in the environment: one stream for everything
T = TypeVar("T")


class Beside:
    """A second stream for one kind of work; it is made by the first work that may use it.

    One stream and not a new one each time: memory that work has given back is kept for the stream that it was made on.

    wanted: False for no stream; None: as the environment's AGVAS_SIDE_STREAM says.
    """

    def __init__(self, wanted: bool | None = None) -> None:
        self.wanted = os.environ.get(SWITCH) != "0" if wanted is None else wanted
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

    def begin(
        self, work: Callable[[], T], reads: Tensor, tensors_of: Callable[[T], Iterable[Tensor]]
    ) -> Callable[[], T]:
        """Begin work and return a function that gives its result to the caller's stream, to be called once.

        On a CPU, and while gradients are kept, work is done before this returns. What work raises is raised here.

        Args:
            work: takes nothing but tensors that are ready on the caller's stream.
            reads: the one that was made for it, on the device of the work; it may be let go before the work ends.
            tensors_of: the tensors in the result.
        """
        if not (self.wanted and reads.is_cuda) or torch.is_grad_enabled():
            result = work()
            return lambda: result
        own = torch.cuda.current_stream(reads.device)
        if reads.device not in self._streams:
            self._streams[reads.device] = torch.cuda.Stream(reads.device)
        side = self._streams[reads.device]
        side.wait_stream(own)
        with torch.cuda.stream(side):
            made = work()
        reads.record_stream(side)

        def result_of() -> T:
            here = torch.cuda.current_stream(reads.device)
            here.wait_stream(side)
            for tensor in tensors_of(made):  # made on the other stream: not to be overwritten there while read here
                tensor.record_stream(here)
            return made

        return result_of

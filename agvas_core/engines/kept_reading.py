"""What an LLM has read of its newest chats, so that the next turn reads only what is new."""

# L tokens read, W width of the LLM

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig


@dataclass(eq=False)
class Reading:
    """A chat as far as it was read: its inputs (L, W), and their keys and values."""

    embeds: Tensor
    cache: DynamicCache


class KeptReadings:
    """The newest readings, at most `most`; one that is lent is not among them until it comes back."""

    def __init__(self, config: PretrainedConfig, most: int) -> None:
        """Config is the LLM's, for which caches are made."""
        assert most >= 1
        self.config, self.most = config, most
        self._kept: list[Reading] = []  # oldest first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def lend(self, embeds: Tensor) -> tuple[int, DynamicCache]:
        """Return how many of the inputs (L, W) are read already, and a cache that holds exactly these.

        Inputs are compared exactly. At least one is left to read. A reading of which less than a half of the inputs
        would be saved is left for its own chat: it has only the beginning in common that all chats have.
        """
        with self._lock:
            saved = [_common(reading.embeds, embeds) for reading in self._kept]
            best = max(range(len(saved)), key=saved.__getitem__, default=None)
            if best is None or 2 * saved[best] < len(embeds):
                return 0, DynamicCache(config=self.config)
            reading = self._kept.pop(best)
        start = min(saved[best], len(embeds) - 1)
        if start < len(reading.embeds):
            reading.cache.crop(start - len(reading.embeds))  # so many tokens, negative, are forgotten
        return start, reading.cache

    def keep(self, embeds: Tensor, cache: DynamicCache) -> None:
        """Keep a cache and the inputs (L, W) that were given to be read; those that were not read are cut off."""
        read = cache.get_seq_length()
        if read:
            with self._lock:
                self._kept.append(Reading(embeds[:read], cache))
                del self._kept[: -self.most]


def _common(a: Tensor, b: Tensor) -> int:
    """Return how many first rows of a and b (L, W) are the same."""
    count = min(len(a), len(b))
    differs = (a[:count] != b[:count]).any(1)
    return int(torch.argmax(differs.int())) if bool(differs.any()) else count

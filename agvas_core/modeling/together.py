"""Several sequences of unequal length in one pass of the LLM, each with its own cache: what each would get alone."""

# B sequences, P tokens that the longest cache holds, N tokens of the longest new part, D width of the LLM

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache

from agvas_core.modeling.agvas import AGVAS


def read_together(model: AGVAS, embeds: Sequence[Tensor], caches: Sequence[DynamicCache]) -> list[Tensor]:
    """Return each sequence's last hidden states (1, L, D) from its embeds (1, L, D); its cache is extended.

    In the joined cache old tokens stand to the right and new ones to the left, so that they meet; what is empty
    is masked, and each token keeps the position that it has in its own sequence. On an error no cache has changed.
    """
    if len(embeds) == 1:
        return [model.language(embeds[0], cache=caches[0])]
    past, new = [cache.get_seq_length() for cache in caches], [e.shape[1] for e in embeds]
    p, n, first = max(past), max(new), embeds[0]
    x = first.new_zeros(len(embeds), n, first.shape[-1])  # (B, N, D)
    mask = torch.zeros(len(embeds), p + n, dtype=torch.int64, device=first.device)  # (B, P + N)
    for b, one in enumerate(embeds):
        x[b, : new[b]] = one[0]
        mask[b, p - past[b] : p + new[b]] = 1
    positions = torch.tensor(past, device=first.device)[:, None] + torch.arange(n, device=first.device)  # (B, N)
    joined = _join(model, caches, past, p)
    hidden = model.language(x, mask, joined, positions)  # (B, N, D)
    try:
        for b, cache in enumerate(caches):
            for i, layer in enumerate(joined.layers):
                fresh = slice(p, p + new[b])
                cache.update(layer.keys[b : b + 1, :, fresh].clone(), layer.values[b : b + 1, :, fresh].clone(), i)
    except Exception:  # out of memory
        for cache, length in zip(caches, past, strict=True):
            cut_back(cache, length)
        raise
    return [hidden[b : b + 1, : new[b]] for b in range(len(embeds))]


def cut_back(cache: DynamicCache, length: int) -> None:
    """Let a cache forget all but its first `length` tokens, also when only some of its layers have more."""
    for layer in cache.layers:
        if layer.keys is not None:
            layer.keys, layer.values = layer.keys[:, :, :length], layer.values[:, :, :length]


def _join(model: AGVAS, caches: Sequence[DynamicCache], past: Sequence[int], p: int) -> DynamicCache:
    """Return one cache of P tokens, each sequence's own at its right end."""
    joined = DynamicCache(config=model.lmm.config.text_config)
    if not p:
        return joined
    longest = caches[past.index(p)]
    for i, layer in enumerate(longest.layers):
        keys, values = (t.new_zeros(len(caches), *t.shape[1:]) for t in (layer.keys, layer.values))  # (B, heads, P, d)
        for b, cache in enumerate(caches):
            if past[b]:
                keys[b, :, p - past[b] :] = cache.layers[i].keys[0]
                values[b, :, p - past[b] :] = cache.layers[i].values[0]
        joined.update(keys, values, i)
    return joined

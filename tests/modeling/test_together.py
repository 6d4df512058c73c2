import pytest
import torch
from transformers import DynamicCache

from agvas_core.modeling.together import read_together


def caches(model, *lengths):
    """Caches that have read so many random tokens."""
    out = []
    for n, length in enumerate(lengths):
        cache = DynamicCache(config=model.lmm.config.text_config)
        if length:
            torch.manual_seed(50 + n)
            model.language(torch.randn(1, length, model.config.llm.width), cache=cache)
        out.append(cache)
    return out


@pytest.mark.parametrize(
    ("old", "new"), [((0, 0), (5, 5)), ((7, 0, 3), (2, 9, 1)), ((4, 9), (1, 1)), ((6,), (3,)), ((0, 0, 1), (1, 8, 2))]
)
def test_together_each_sequence_gets_what_it_gets_alone(make_model, old, new):
    model = make_model()
    torch.manual_seed(9)
    with torch.inference_mode():
        embeds = [torch.randn(1, n, model.config.llm.width) for n in new]
        shared, alone = caches(model, *old), caches(model, *old)
        seen = read_together(model, embeds, shared)
        more = torch.randn(1, 2, model.config.llm.width)
        for states, one, cache, own in zip(seen, embeds, shared, alone, strict=True):
            torch.testing.assert_close(states, model.language(one, cache=own), atol=1e-5, rtol=1e-4)
            assert cache.get_seq_length() == own.get_seq_length()
            # and what is read after it, too
            after = model.language(more, cache=cache)
            torch.testing.assert_close(after, model.language(more, cache=own), atol=1e-5, rtol=1e-4)


def test_what_failed_left_no_cache_half_extended(make_model, monkeypatch):
    model = make_model()
    embeds = [torch.randn(1, n, model.config.llm.width) for n in (2, 3)]
    with torch.inference_mode():
        shared = caches(model, 4, 6)
        update = DynamicCache.update

        def fails(self, *args, **kwargs):
            if self is shared[1]:
                raise MemoryError
            return update(self, *args, **kwargs)

        monkeypatch.setattr(DynamicCache, "update", fails)
        with pytest.raises(MemoryError):
            read_together(model, embeds, shared)
    assert [[layer.keys.shape[2] for layer in cache.layers] for cache in shared] == [[4, 4], [6, 6]]

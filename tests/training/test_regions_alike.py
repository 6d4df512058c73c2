"""Every batch calls the same modules and gets its gradients in the same order, as processes that share them need."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from agvas_core.training.adapt import AdaptMaker, AdaptTask, MixedSource, adapt_model
from agvas_core.training.joint import UNKNOWN_KIND
from agvas_core.training.regions_alike import read_regions
from agvas_core.training.run import BatchMaker
from tests.training.folders import write_data
from tests.training.launched import options_of


@pytest.fixture(scope="module")
def made(checkpoint, tmp_path_factory):
    """A task and batches: one without defects, one with defects of unknown kinds, one with a known kind."""
    folder = tmp_path_factory.mktemp("alike")
    options = options_of(checkpoint, write_data(folder / "data"), folder / "run", steps=1, accumulate=1)
    model, tokenizer, _ = adapt_model(options)
    make = BatchMaker(
        MixedSource(options, model.config), options.batch, AdaptMaker(tokenizer, model.config, model.token_ids)
    )
    found = {}
    for number in range(12):
        batch = make(number)
        known = bool((batch.defect_kind != UNKNOWN_KIND).any())
        found.setdefault("known" if known else "unknown" if len(batch.defect_image) else "none", batch)
    assert found.keys() == {"none", "unknown", "known"}
    return AdaptTask(model, options.losses).train(), found


def test_calls_gradients_and_losses_come_alike_from_every_batch(made):
    task, batches = made
    calls, gradients = [], []
    hooks = [m.register_forward_pre_hook(lambda *_, n=n: calls.append(n)) for n, m in task.named_modules()]
    trained = [(n, p) for n, p in task.named_parameters() if p.requires_grad]
    hooks += [p.register_post_accumulate_grad_hook(lambda _, n=n: gradients.append(n)) for n, p in trained]
    seen = set()
    for batch in batches.values():
        losses = task(batch)
        torch.stack(list(losses.values())).sum().backward()
        seen.add((tuple(calls), tuple(gradients), tuple(n for n, loss in losses.items() if loss.requires_grad)))
        calls.clear()
        gradients.clear()
    for hook in hooks:
        hook.remove()
    ((_, order, with_gradient),) = seen
    assert sorted(order) == sorted(n for n, _ in trained)
    assert with_gradient == ("kind", "text", "bce", "dice", "hard_bce")


def plainly_read(task, batch, pixel):
    """The tokens and the weighted loss of the kinds, with nothing read where a batch has no defect."""
    if not len(batch.defect_image):
        return None, torch.tensor(0.0)
    masks = batch.labels[batch.defect_image] == batch.defect_number[:, None, None]
    tokens, logits = task.model.region_tokens(pixel.select(batch.defect_image), masks)
    asked = zip(batch.region_image.tolist(), batch.region_number.tolist(), strict=True)
    defects = list(zip(batch.defect_image.tolist(), batch.defect_number.tolist(), strict=True))
    rows = [defects.index(region) for region in asked]
    known = batch.defect_kind != UNKNOWN_KIND
    kind = cross_entropy(logits[known].float(), batch.defect_kind[known]) if known.any() else torch.tensor(0.0)
    return tokens[rows] if rows else None, task.kind_weight * kind


def test_what_is_read_alike_is_what_a_plain_reading_gives(made):
    task, batches = made
    for name, batch in batches.items():
        pixel = task.model.pixel_encoder(task.pixel_values(batch.images))
        regions, kind = plainly_read(task, batch, pixel)
        read = read_regions(task.model, batch, pixel)
        assert read.zero.item() == 0 and (read.kind.item() > 0) == (name == "known")
        torch.testing.assert_close(task.kind_weight * read.kind, kind)
        assert (read.tokens is None) == (regions is None)
        if regions is not None:
            torch.testing.assert_close(read.tokens, regions)

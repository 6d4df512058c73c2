import pytest
import torch
from torch import nn
from transformers import DynamicCache

from agvas_core.anchors import find_anchors, gather_anchor_states
from agvas_core.config import get_preset
from agvas_core.modeling.agvas import AGVAS, build_agvas
from agvas_core.prompts import DIRECT_ANSWER, ChatTurn
from agvas_core.synthesis.facts import DEFECT_KINDS
from agvas_core.tokenizer import encode_chat
from agvas_core.training.dense import AnchorBank
from agvas_core.training.joint import JointTask
from agvas_core.training.losses import SegLossWeights
from tests.training.test_joint import joint_batch

QUESTIONS = ("Please segment the anomalies.", "Could you please mark all the scratches in this picture for me?")


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(seed=3)


def direct(model: AGVAS, tokenizer, question: str) -> list[int]:
    ids = encode_chat(tokenizer, [ChatTurn("user", question), ChatTurn("assistant", DIRECT_ANSWER)]).input_ids
    return [t for i in ids for t in [i] * (model.config.image_tokens if i == model.token_ids.image else 1)]


def padded(rows: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(map(len, rows))
    ids = torch.tensor([r + [pad] * (length - len(r)) for r in rows])
    return ids, torch.tensor([[1] * len(r) + [0] * (length - len(r)) for r in rows])


@torch.no_grad()
def test_batch_equals_single_and_padding_changes_nothing(model, tokenizer):
    rows = [direct(model, tokenizer, q) for q in QUESTIONS]
    semantic, pixels = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 96, 96)
    ids, mask = padded(rows, tokenizer.pad_token_id)
    anchors = find_anchors(ids, model.token_ids.anchors)
    hidden, logits = model(ids, mask, model.encode_image(semantic, pixels), anchors, anchors[:, 0])
    for b, row in enumerate(rows):
        one = torch.tensor([row])
        at = find_anchors(one, model.token_ids.anchors)
        features = model.encode_image(semantic[b : b + 1], pixels[b : b + 1])
        alone, mask_alone = model(one, torch.ones_like(one), features, at, at[:, 0])
        torch.testing.assert_close(hidden[b, : len(row)], alone[0], atol=1e-5, rtol=1e-4)
        for name in ("seg", "nor", "ano"):
            torch.testing.assert_close(getattr(logits, name)[b], getattr(mask_alone, name)[0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("use_cache", [True, False])
def test_forced_anchors_equal_generated_ones(model, tokenizer, use_cache):
    ids = torch.tensor([direct(model, tokenizer, QUESTIONS[0])])
    at = find_anchors(ids, model.token_ids.anchors)
    features = model.encode_image(torch.rand(1, 3, 64, 64) * 2 - 1, torch.rand(1, 3, 64, 64))
    forced, forced_logits = model(ids, torch.ones_like(ids), features, at, at[:, 0])
    first = int(at[0, 1])
    if use_cache:  # the way of generation: a prefix, then token by token
        cache = DynamicCache(config=model.lmm.config.text_config)
        model.language(model.embed(ids[:, :first], features.visual), cache=cache)
        steps = [model.language(model.embed(ids[:, i : i + 1]), cache=cache)[0, -1] for i in range(first, first + 3)]
    else:  # each step reads everything anew
        steps = [model.language(model.embed(ids[:, : i + 1], features.visual))[0, -1] for i in range(first, first + 3)]
    states = torch.stack(steps)[None]
    torch.testing.assert_close(states, gather_anchor_states(forced, at), atol=1e-5, rtol=1e-4)
    generated = model.decode_masks(states, features.pixel)
    torch.testing.assert_close(generated.seg, forced_logits.seg, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(generated.ano, forced_logits.ano, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_forced_anchors_equal_generated_ones_in_a_padded_batch(model, tokenizer):
    rows = [direct(model, tokenizer, q) for q in QUESTIONS]
    ids, mask = padded(rows, tokenizer.pad_token_id)
    at = find_anchors(ids, model.token_ids.anchors)
    features = model.encode_image(torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64))
    forced = gather_anchor_states(model.language(model.embed(ids, features.visual), mask), at)
    for b, row in enumerate(rows):
        cache = DynamicCache(config=model.lmm.config.text_config)
        visual = features.visual[b : b + 1]
        first = int(at[b, 1])
        one = torch.tensor([row])
        model.language(model.embed(one[:, :first], visual), cache=cache)
        steps = [model.language(model.embed(one[:, i : i + 1]), cache=cache)[0, -1] for i in range(first, first + 3)]
        torch.testing.assert_close(torch.stack(steps), forced[b], atol=1e-5, rtol=1e-4)


def test_wrong_numbers_of_placeholders_are_named(model, tokenizer):
    ids = torch.tensor([direct(model, tokenizer, QUESTIONS[0])])
    width, tokens = model.config.llm.width, model.config.image_tokens
    with pytest.raises(ValueError, match=f"{tokens} placeholders.*{2 * tokens} features"):
        model.embed(ids, torch.zeros(2, tokens, width))
    with pytest.raises(ValueError, match=f"{tokens} placeholders.* 0 features"):
        model.embed(ids)
    with pytest.raises(ValueError, match="0 placeholders.* 2 features"):
        model.embed(ids, torch.zeros(1, tokens, width), torch.zeros(2, width))


def test_placeholders_are_filled_in_reading_order(model):
    image, region, width = model.token_ids.image, model.token_ids.region, model.config.llm.width
    n = model.config.image_tokens
    ids = torch.tensor([[image] * n + [20, region, region], [image] * n + [region, 21, 22]])
    visual = torch.arange(2.0 * n).view(2, n, 1).expand(-1, -1, width)
    regions = 100 + torch.arange(3.0)[:, None].expand(-1, width)
    embeds = model.embed(ids, visual, regions)[..., 0].detach()
    assert embeds[0, :n].tolist() == list(range(n))
    assert embeds[1, :n].tolist() == list(range(n, 2 * n))
    assert [float(embeds[0, n + 1]), float(embeds[0, n + 2]), float(embeds[1, n])] == [100, 101, 102]


def test_placeholders_counted_on_the_host_wait_for_nothing_on_the_device(model):
    # on a device without values everything that asks for one is an error
    twin = build_agvas(model.config, model.token_ids).to("meta")
    ids = torch.tensor([[300, *[model.token_ids.image] * 3, 301]])
    visual = torch.zeros(1, 3, model.config.llm.width, device="meta")
    embeds = twin.embed(ids, visual, device=torch.device("meta"))
    assert embeds.is_meta and embeds.shape == (1, 5, model.config.llm.width)
    with pytest.raises(ValueError, match="3 placeholders"):
        twin.embed(ids, visual[:, :2], device=torch.device("meta"))


def test_without_spam_only_the_semantic_tokens_come(make_model):
    model = make_model(use_spam=False)
    assert model.spam is None
    features = model.encode_image(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))
    assert features.visual.shape[1] == model.config.image_tokens == model.config.semantic.tokens


@pytest.mark.parametrize("freeze_pixel", [True, False])
def test_gradients_reach_what_is_trained_and_nothing_else(make_model, tokenizer, freeze_pixel):
    model = make_model(seed=1, region_kinds=DEFECT_KINDS).train()
    for weight in model.parameters():  # blocks that start as the identity learn first in their last layer alone
        if weight.ndim > 1 and not bool(weight.any()):
            nn.init.normal_(weight, std=0.1)
    bank = AnchorBank(model.config.decoder.width)
    task = JointTask(model, bank, SegLossWeights(), freeze_pixel=freeze_pixel, bank_weight=0.0)
    batch = joint_batch(tokenizer, model)
    assert len(batch.region_image) > 0 < len(batch.anchors)  # all parts are at work
    sum(task(batch).values()).backward()
    without = {name for name, p in task.named_parameters() if p.grad is None or not bool(p.grad.any())}
    still = ("bank.", "model.pixel_encoder.") if freeze_pixel else ("bank.",)
    frozen = {name for name, _ in task.named_parameters() if name.startswith(still)}
    # LLaVA's: the first for tiled images, the second because it takes the features before SigLIP's last norm
    unused = {name for name in without if "image_newline" in name or "post_layernorm" in name}
    assert without - unused == frozen


@pytest.mark.parametrize(
    ("preset", "low", "high"), [("nano", 8e6, 28e6), ("onevision-0.5b", 0.9e9, 1.1e9), ("onevision-7b", 8.4e9, 9.0e9)]
)
def test_every_size_builds(token_ids, preset, low, high):
    with torch.device("meta"):
        model = build_agvas(get_preset(preset), token_ids)
    assert low < sum(p.numel() for p in model.parameters()) < high

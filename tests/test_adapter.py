import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from agvas_core import adapter
from agvas_core.adapter import (
    RECORD_FILE,
    WEIGHTS_FILE,
    LoraOptions,
    adapter_parameters,
    adapter_state,
    add_adapter,
    is_adapter,
    load_adapter,
    merge_adapter,
    part_of,
    put_adapter_state,
    record_of,
    save_adapter,
    verify_adapter,
)
from agvas_core.anchors import find_anchors
from agvas_core.checkpoint import checkpoint_hash, file_sha256, load_checkpoint, save_checkpoint
from agvas_core.modeling.agvas import build_agvas
from agvas_core.prompts import DIRECT_ANSWER, ChatTurn
from agvas_core.tokenizer import encode_chat
from tests.conftest import small_config

LORA = LoraOptions(rank=4, alpha=8)


def base_config(tie: bool = True):
    config = small_config(use_region_tokens=False)
    return replace(config, base="a/base", llm=replace(config.llm, tie_embeddings=tie))


def base_model(token_ids, tie: bool = True, seed: int = 0):
    torch.manual_seed(seed)
    return build_agvas(base_config(tie), token_ids).eval()


def trained_model(token_ids, tie: bool = True, seed: int = 0):
    """A base with an adapter whose every parameter was moved."""
    model = base_model(token_ids, tie, seed)
    add_adapter(model, LORA)
    torch.manual_seed(9)
    with torch.no_grad():
        for parameter in adapter_parameters(model).values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def answer_of(model, tokenizer):
    """Mask logits and word logits of one direct turn about one picture."""
    ids = []
    for token in encode_chat(tokenizer, [ChatTurn("user", "Where?"), ChatTurn("assistant", DIRECT_ANSWER)]).input_ids:
        ids += [token] * (model.config.image_tokens if token == model.token_ids.image else 1)
    input_ids = torch.tensor([ids])
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    features = model.encode_image(model.semantic_input(pixels), pixels)
    anchors = find_anchors(input_ids, model.token_ids.anchors)
    hidden, masks = model(input_ids, torch.ones_like(input_ids), features, anchors, anchors[:, 0])
    return torch.stack([masks.seg, masks.nor, masks.ano]), model.word_logits(hidden)


@pytest.fixture(scope="module")
def folder(token_ids, tmp_path_factory):
    """A trained adapter's folder."""
    folder = tmp_path_factory.mktemp("adapter")
    model = trained_model(token_ids)
    record = record_of(model, LORA, revision="abc", training={"summary": "trained on nothing"})
    save_adapter(folder, config=model.config, record=record, state=adapter_state(model))
    return folder


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the adapter's folder that a test may damage."""
    return shutil.copytree(folder, tmp_path / "copy")


def base_loader(token_ids, tokenizer, **options):
    return lambda config: (base_model(token_ids, **options), tokenizer)


@pytest.mark.parametrize("tie", [True, False])
def test_a_new_adapter_changes_nothing(token_ids, tokenizer, tie):
    model = base_model(token_ids, tie)
    before = answer_of(model, tokenizer)
    add_adapter(model, LORA)
    for ours, theirs in zip(before, answer_of(model, tokenizer), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tie", [True, False])
def test_only_the_adapters_parts_are_trained(token_ids, tie):
    model = base_model(token_ids, tie)
    whole = sum(p.numel() for p in model.parameters())
    add_adapter(model, LORA)
    parts = {part_of(n) for n, p in model.named_parameters() if p.requires_grad}
    assert parts == {"lora", "anchor_rows", "spam", "token_refiner", "agmd"}
    assert not any(p.requires_grad for n, p in model.named_parameters() if part_of(n) is None)
    assert sum(p.numel() for n, p in model.named_parameters() if n.endswith("anchor_rows")) == (3 if tie else 6) * 32
    assert (
        sum(p.numel() for n, p in model.named_parameters() if part_of(n) == "lora")
        == 2 * 2 * 4 * (4 * 2 * 32 + 3 * (32 + 64)) // 2
    )
    frozen = sum(p.numel() for n, p in model.named_parameters() if part_of(n) is None or part_of(n) in
                 ("spam", "token_refiner", "agmd"))  # fmt: skip
    assert frozen == whole  # nothing of the base got lost


@pytest.mark.parametrize("tie", [True, False])
def test_the_anchors_rows_are_read_and_said(token_ids, tokenizer, tie):
    """Each anchor's row alone moves what the anchor says and how likely it is, and no other word's row is touched."""
    model = trained_model(token_ids, tie)
    table = model.lmm.get_input_embeddings()
    ids = torch.tensor([[*token_ids.anchors, 5]])
    embeds = table(ids)
    torch.testing.assert_close(embeds[0, :3], table.anchor_rows)
    torch.testing.assert_close(embeds[0, 3], table.base.weight[5])
    hidden = torch.randn(2, 32)
    logits = model.word_logits(hidden)
    others = [i for i in range(1280) if i not in token_ids.anchors]
    torch.testing.assert_close(logits[:, list(token_ids.anchors)], hidden @ model.lmm.lm_head.anchor_rows.T)
    torch.testing.assert_close(logits[:, others], (hidden @ model.lmm.lm_head.base.weight.T)[:, others])
    assert (model.lmm.lm_head.anchor_rows is table.anchor_rows) == tie


@pytest.mark.parametrize("tie", [True, False])
def test_a_saved_adapter_on_its_base_is_the_same_model(token_ids, tokenizer, tmp_path, tie):
    model = trained_model(token_ids, tie)
    record = record_of(model, LORA, training={"summary": "trained on nothing"})
    save_adapter(tmp_path, config=model.config, record=record, state=adapter_state(model))
    loaded, _, training = load_adapter(tmp_path, load_base=base_loader(token_ids, tokenizer, tie=tie))
    assert training == {"summary": "trained on nothing"} and not loaded.training
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for a, b in zip(answer_of(model, tokenizer), answer_of(loaded, tokenizer), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("tie", [True, False])
def test_a_merged_adapter_is_a_whole_checkpoint_with_the_same_masks(token_ids, tokenizer, tmp_path, tie):
    model = trained_model(token_ids, tie)
    wanted = answer_of(model, tokenizer)
    names = set(base_model(token_ids, tie).state_dict())
    merged = merge_adapter(model)
    assert set(merged.state_dict()) == names
    save_checkpoint(merged, tokenizer, tmp_path, card="# Merged", training={"summary": "trained on nothing"})
    loaded, _, _ = load_checkpoint(tmp_path)
    for a, b in zip(wanted, answer_of(loaded, tokenizer), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_an_adapter_is_small_and_says_what_it_is(folder, token_ids):
    assert is_adapter(folder) and not is_adapter(folder.parent)
    names = set(load_file(folder / WEIGHTS_FILE))
    assert not any(".default" in name or "base" in name for name in names)
    record = json.loads((folder / RECORD_FILE).read_text())
    assert record["base"] == "a/base" and record["base_revision"] == "abc" and record["lora"]["rank"] == 4
    assert record["anchor_ids"] == list(token_ids.anchors)
    assert sum(record["parts"].values()) == sum(v.numel() for v in load_file(folder / WEIGHTS_FILE).values())
    card = (folder / "README.md").read_text()
    assert "base_model: a/base" in card and "trained on nothing" in card


def test_a_whole_adapter_verifies_without_its_base(folder):
    config, record, state = verify_adapter(folder)
    assert config.base == record.base
    assert record.lora == LORA
    assert len(state) > 50


def rewrite(folder, state):
    """Put other weights into an adapter, with a true hash."""
    save_file(state, folder / WEIGHTS_FILE)
    record = json.loads((folder / RECORD_FILE).read_text())
    record["sha256"][WEIGHTS_FILE] = file_sha256(folder / WEIGHTS_FILE)
    (folder / RECORD_FILE).write_text(json.dumps(record))


def test_partial_and_foreign_weights_are_named(copy, token_ids, tokenizer):
    state = load_file(copy / WEIGHTS_FILE)
    gone = next(n for n in state if "lora_A" in n)
    del state[gone]
    state["moon.weight"] = torch.zeros(2)
    state["agmd.queries"] = torch.zeros(4, 32)
    rewrite(copy, state)
    for check in (verify_adapter, lambda f: load_adapter(f, load_base=base_loader(token_ids, tokenizer))):
        with pytest.raises(ValueError) as error:
            check(copy)
        for part in (f"missing: {gone}", "unknown: moon.weight", "of another shape: agmd.queries"):
            assert part in str(error.value)


def test_nothing_is_taken_from_a_partial_state(token_ids):
    model = trained_model(token_ids)
    before = adapter_state(model)
    with pytest.raises(ValueError, match="missing"):
        put_adapter_state(model, {"agmd.queries": torch.zeros(3, 32)})
    assert all(torch.equal(before[n], v) for n, v in adapter_state(model).items())


@pytest.mark.parametrize("name", [WEIGHTS_FILE, "agvas_config.json"])
def test_damage_is_named(copy, name):
    with (copy / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        verify_adapter(copy)


@pytest.mark.parametrize("name", [WEIGHTS_FILE, RECORD_FILE, "agvas_config.json"])
def test_an_absent_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        verify_adapter(copy)


def test_a_damaged_record_is_one_sentence(copy):
    (copy / RECORD_FILE).write_text('{"base": 3}')
    with pytest.raises(ValueError, match=r"adapter\.json is damaged"):
        verify_adapter(copy)


def test_another_base_is_refused(copy, token_ids, tokenizer):
    with pytest.raises(ValueError, match="another base: the 'words' weights of a/base"):
        load_adapter(copy, load_base=base_loader(token_ids, tokenizer, seed=1))


def test_another_tokenizer_is_refused(copy, token_ids, tokenizer):
    nor, ano, seg = token_ids.anchors
    other = replace(token_ids, anchors=(seg, ano, nor))
    with pytest.raises(ValueError, match=r"\[NOR\], \[ANO\], \[SEG\]"):
        load_adapter(copy, load_base=base_loader(other, tokenizer))


def test_the_base_may_be_an_agvas_checkpoint(checkpoint, tmp_path, tokenizer):
    config = replace(load_checkpoint(checkpoint)[0].config, base=str(checkpoint))
    model, _ = adapter.load_base_of(config)
    add_adapter(model, LORA)
    assert {"region_reader", "region_proj"} <= {part_of(n) for n in adapter_parameters(model)}
    record = record_of(model, LORA, revision=checkpoint_hash(checkpoint), training={})
    save_adapter(tmp_path, config=model.config, record=record, state=adapter_state(model))
    loaded, _, _ = load_adapter(tmp_path)
    for a, b in zip(answer_of(model, tokenizer), answer_of(loaded, tokenizer), strict=True):
        assert torch.equal(a, b)

import base64
import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from agvas_core.checkpoint import (
    INDEX_FILE,
    SHARD_BYTES,
    card_text,
    checkpoint_hash,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    token_ids_of,
)
from agvas_core.config import get_preset
from agvas_core.modeling.agvas import build_agvas
from tests.training.folders import save


@pytest.fixture
def folder(checkpoint, tmp_path):
    """A copy of the session's checkpoint that a test may damage."""
    return shutil.copytree(checkpoint, tmp_path / "copy")


def test_every_bit_comes_back(make_model, tokenizer, tmp_path):
    model = make_model(seed=5).to(memory_format=torch.channels_last)
    save_checkpoint(model, tokenizer, tmp_path, card="# A card", training={"summary": "nothing"})
    loaded, loaded_tokenizer, training = load_checkpoint(tmp_path)
    assert training == {"summary": "nothing"}
    assert (tmp_path / "README.md").read_text() == "# A card"
    assert loaded.config == model.config
    assert not loaded.training
    assert loaded_tokenizer.get_vocab() == tokenizer.get_vocab()
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_half_precision_on_disk_is_single_in_memory(make_model, tokenizer, tmp_path):
    model = make_model(seed=6)
    save_checkpoint(model, tokenizer, tmp_path, card="", training={}, dtype=torch.float16)
    stored = load_file(next(tmp_path.glob("*.safetensors")))
    assert {v.dtype for v in stored.values() if v.is_floating_point()} == {torch.float16}
    loaded, _, training = load_checkpoint(tmp_path)
    assert training == {}
    for name, value in model.state_dict().items():
        assert loaded.state_dict()[name].dtype == value.dtype
        torch.testing.assert_close(loaded.state_dict()[name], value.half().to(value.dtype), rtol=0, atol=0)


def test_tied_embeddings_are_stored_once_and_stay_tied(folder):
    names = [name for shard in folder.glob("*.safetensors") for name in load_file(shard)]
    assert sum("embed_tokens" in name or "lm_head" in name for name in names) == 1
    model, _, _ = load_checkpoint(folder)
    assert model.lmm.lm_head.weight is model.lmm.get_input_embeddings().weight


def test_no_file_needs_large_file_storage(token_ids, tokenizer, tmp_path):
    model = build_agvas(get_preset("nano"), token_ids)
    save_checkpoint(model, tokenizer, tmp_path, card="", training={})
    shards = list(tmp_path.glob("*.safetensors"))
    assert len(shards) > 2
    assert all(path.stat().st_size < 10_000_000 for path in tmp_path.iterdir())
    assert SHARD_BYTES < 10_000_000


def test_saving_again_leaves_no_old_shards(make_model, tokenizer, tmp_path):
    (tmp_path / "model-00009-of-00009.safetensors").write_bytes(b"old")
    save_checkpoint(make_model(), tokenizer, tmp_path, card="", training={})
    assert not (tmp_path / "model-00009-of-00009.safetensors").exists()
    load_checkpoint(tmp_path)


def test_missing_unknown_and_misshapen_weights_are_named(make_model):
    model = make_model()
    state = dict(model.state_dict())
    del state["spam.pixel_proj.bias"]
    state["moon.weight"] = torch.zeros(1)
    state["agmd.queries"] = torch.zeros(4, 32)
    before = model.agmd.queries.clone()
    state.pop("lmm.lm_head.weight", None)  # tied: it comes with its twin
    with pytest.raises(ValueError) as error:
        load_weights(model, state)
    for part in ("missing: spam.pixel_proj.bias", "unknown: moon.weight", "of another shape: agmd.queries"):
        assert part in str(error.value)
    assert torch.equal(model.agmd.queries, before)  # nothing is taken from a foreign state


def test_a_damaged_shard_is_named(folder):
    shard = next(folder.glob("*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=f"{shard.name} is damaged"):
        load_checkpoint(folder)


def test_a_foreign_shard_is_refused(folder):
    shard = next(folder.glob("*.safetensors"))
    save_file({"moon.weight": torch.zeros(2)}, shard)
    index = json.loads((folder / INDEX_FILE).read_text())
    index["files"][shard.name]["sha256"] = hashlib.sha256(shard.read_bytes()).hexdigest()
    (folder / INDEX_FILE).write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"missing: .* \.\.\.; unknown: moon\.weight"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["agvas_config.json", "weights.json", "tokenizer.json", "shard"])
def test_a_missing_file_is_named(folder, name):
    path = next(folder.glob("*.safetensors")) if name == "shard" else folder / name
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        load_checkpoint(folder)


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no AG-VAS checkpoint"):
        load_checkpoint(tmp_path / "nowhere")


def test_a_tokenizer_without_anchors_is_refused(tokenizer):
    from tests.test_anchors import small_tokenizer

    with pytest.raises(ValueError, match=r"lacks <image>, \[NOR\], \[ANO\], \[SEG\]"):
        token_ids_of(small_tokenizer())
    assert len(set(token_ids_of(tokenizer).anchors)) == 3


def test_a_checkpoints_hash_is_its_own(folder, make_model, tokenizer, tmp_path):
    before = checkpoint_hash(folder)
    assert before == checkpoint_hash(folder)
    (folder / "README.md").write_text("another card")
    assert checkpoint_hash(folder) == before
    save_checkpoint(make_model(seed=7), tokenizer, tmp_path / "b", card="", training={"summary": "made for tests"})
    save_checkpoint(make_model(seed=8), tokenizer, tmp_path / "c", card="", training={"summary": "made for tests"})
    assert len({before, checkpoint_hash(tmp_path / "b"), checkpoint_hash(tmp_path / "c")}) == 3


def test_a_card_is_shown_without_front_matter_and_with_its_own_pictures_only(tmp_path):
    """The picture of where the model fails was once a name in the text, which nobody could see."""
    assert card_text(tmp_path) == ""
    save(tmp_path / "a" / "failures.png", np.zeros((4, 4, 3), np.uint8))
    save(tmp_path / "secret.png", np.zeros((4, 4, 3), np.uint8))
    own = "![Misses](failures.png)"
    text = f"---\nlicense: x\n---\n\n# Card\n{own} ![no](../secret.png) ![gone](gone.png)\n"
    (tmp_path / "a" / "README.md").write_text(text, encoding="utf-8")
    inside = base64.b64encode((tmp_path / "a" / "failures.png").read_bytes()).decode()
    shown = card_text(tmp_path / "a")
    assert shown == f"# Card\n![Misses](data:image/png;base64,{inside}) ![no](../secret.png) ![gone](gone.png)"

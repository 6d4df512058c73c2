"""Which commit of the hub is loaded: the one that was asked for, and an adapter knows it ever after."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from typer.testing import CliRunner

from agvas_core.adapter import load_adapter
from agvas_core.backbones import load_backbones
from agvas_core.cli.app import app
from agvas_core.cli.checkpoint import folder_report
from agvas_core.config import PRESETS, AGVASConfig
from tests.bases import DECODER, save_base, save_pixel
from tests.training.folders import write_data

FIRST, SECOND = "1" * 40, "2" * 40


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Two repositories with two commits each as the hub's cache on this machine keeps them: a config of tiny AG-VAS."""
    root = tmp_path_factory.mktemp("hub")
    for n, commit in enumerate((FIRST, SECOND)):
        base, (eye, pixel) = save_base(root / f"b{n}", seed=n), save_pixel(root / f"p{n}", "dinov3", seed=n)
        for name, folder in (("base", base), ("eye", eye)):
            kept = root / f"models--some--{name}"
            shutil.copytree(folder, kept / "snapshots" / commit)
            (kept / "refs").mkdir(exist_ok=True)
            (kept / "refs" / ("main", "older")[commit == FIRST]).write_text(commit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(root))
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        yield AGVASConfig("tiny-hub", base="some/base", pixel_base="some/eye", pixel=pixel, decoder=DECODER)


def weights(model):
    words = model.lmm.model.language_model.layers[0].mlp.up_proj.weight
    return words, model.pixel_encoder.encoder.embeddings.patch_embeddings.weight


def test_the_revision_that_was_asked_for_is_loaded(hub):
    newest, _ = load_backbones(hub)
    assert (newest.config.base_revision, newest.config.pixel_revision) == (SECOND, SECOND)
    for name in ("older", FIRST):
        older, _ = load_backbones(replace(hub, base_revision=name))
        assert (older.config.base_revision, older.config.pixel_revision) == (FIRST, SECOND)
        assert not torch.equal(weights(older)[0], weights(newest)[0])
        assert torch.equal(weights(older)[1], weights(newest)[1])
    both, _ = load_backbones(replace(hub, base_revision=FIRST, pixel_revision="older"))
    assert torch.equal(weights(both)[0], weights(older)[0])
    assert not torch.equal(weights(both)[1], weights(newest)[1])
    with pytest.raises(OSError):
        load_backbones(replace(hub, base_revision="3" * 40))


def test_an_adapter_is_served_on_the_commit_that_it_was_trained_on(hub, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny-hub", hub)
    data = write_data(tmp_path / "parts")
    words = ["train", "--preset", "tiny-hub", "--revision", "older", "--data", str(data), "--run-dir", str(tmp_path)]
    words += ["--steps", "1", "--sizes", "64", "--workers", "0", "--precision", "no", "--threads", "1"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, (result.output, result.exception)
    folder = tmp_path / "adapter"
    config = AGVASConfig.load(folder / "agvas_config.json")
    assert (config.base_revision, config.pixel_revision) == (FIRST, SECOND)
    assert json.loads((folder / "adapter.json").read_text())["base_revision"] == FIRST
    model, _, _ = load_adapter(folder)
    older, _ = load_backbones(replace(hub, base_revision="older"))
    layer = model.lmm.model.language_model.layers[0].mlp.up_proj.base_layer.weight
    assert torch.equal(layer, weights(older)[0])
    said = folder_report(folder)
    assert f"base: some/base, revision {FIRST[:12]}" in said and f"revision {SECOND[:12]}" in said
    assert FIRST[:12] in Path(folder / "README.md").read_text()

"""On every class of pixel encoder and language model: an adapter is trained, resumed, saved, loaded and merged."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from agvas_core.adapter import LoraOptions, load_adapter, merge_adapter, verify_adapter
from agvas_core.checkpoint import load_checkpoint, save_checkpoint
from agvas_core.config import PRESETS
from agvas_core.modeling.pixel_pretrained import KINDS
from agvas_core.predictor import AnomalyPredictor
from agvas_core.training.adapt import train_adapter
from agvas_core.training.adapt_options import AdaptOptions
from agvas_core.training.trainer import TrainOptions
from tests.bases import tiny_base_config
from tests.training.folders import write_data

A_MOMENT = 1e-9  # minutes: a run stops after its first step


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A few labelled images in MVTec layout."""
    return write_data(tmp_path_factory.mktemp("data"))


def trained(folder, data, **train):
    steps = TrainOptions(steps=2, lr=1e-2, warmup_steps=1, mixed_precision="no", workers=0, **train)
    options = AdaptOptions(
        preset="tiny-base", base="", run_dir=folder, data=data, data_share=1.0, train=steps,
        lora=LoraOptions(rank=2, alpha=4),
    )  # fmt: skip
    return train_adapter(options)


@pytest.mark.parametrize("kind", list(KINDS))
def test_an_adapters_whole_life(kind, data, picture, tmp_path, monkeypatch):
    family = "llava" if kind in ("sam2", "siglip") else "onevision"
    monkeypatch.setitem(PRESETS, "tiny-base", replace(tiny_base_config(tmp_path, family, kind), preset="tiny-base"))
    trained(tmp_path / "one", data)
    trained(tmp_path / "two", data, minutes=A_MOMENT)  # stopped, and gone on with
    assert trained(tmp_path / "two", data).step == 2
    config, _, state = verify_adapter(tmp_path / "one" / "adapter")
    resumed = verify_adapter(tmp_path / "two" / "adapter")[2]
    assert config.pixel.kind == kind and config.family == family
    assert all(torch.equal(resumed[name], value) for name, value in state.items())
    model, tokenizer, training = load_adapter(tmp_path / "one" / "adapter")
    image = picture(2, (40, 70))
    mine = AnomalyPredictor(model, tokenizer).glance(image)
    save_checkpoint(merge_adapter(model), tokenizer, tmp_path / "whole", card="", training=training)
    whole, tokenizer, _ = load_checkpoint(tmp_path / "whole")
    theirs = AnomalyPredictor(whole, tokenizer).glance(image)
    assert np.ptp(mine.anomaly_map) > 1e-4
    np.testing.assert_allclose(mine.anomaly_map, theirs.anomaly_map, atol=1e-4)

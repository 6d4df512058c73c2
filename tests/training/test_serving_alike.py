"""Labelled images are trained on as they are served: the same pixels for both eyes, masks only where the image is."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from agvas_core.adapter import load_adapter
from agvas_core.backbones import load_backbones
from agvas_core.config import PRESETS, with_anyres
from agvas_core.data import labelled
from agvas_core.modeling.agmd import MaskLogits
from agvas_core.modeling.anyres import TiledImages
from agvas_core.predictor import AnomalyPredictor
from agvas_core.processing import open_image
from agvas_core.training.adapt import (
    AdaptMaker,
    AdaptOptions,
    AdaptTask,
    MixedSource,
    adapt_model,
    content_losses,
    train_adapter,
)
from agvas_core.training.losses import SegLossWeights, seg_losses
from agvas_core.training.trainer import TrainOptions
from tests.bases import tiny_base_config
from tests.training.folders import save

KINDS = ["sam", "clip"]  # of stride 16, and of a patch that is resampled
SIZES = [(37, 91), (90, 41)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Photographs of odd sizes, whose lower right corner is anomalous."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for i, (height, width) in enumerate(SIZES):
        image = rng.integers(60, 250, (height, width, 3), dtype=np.uint8)
        mask = np.zeros((height, width), np.uint8)
        mask[-9:, -14:] = 255
        save(root / "nut" / "test" / "bent_lead" / f"{i}.png", image)
        save(root / "nut" / "ground_truth" / "bent_lead" / f"{i}_mask.png", mask)
    return root


@pytest.fixture(scope="module", params=KINDS)
def base(request, tmp_path_factory):
    config = tiny_base_config(tmp_path_factory.mktemp(request.param), "onevision", request.param)
    return load_backbones(with_anyres(config))


@pytest.fixture
def as_they_are(monkeypatch):
    """Photographs whole, upright and in their own colours."""
    monkeypatch.setattr(labelled, "jitter", lambda rgb, dice: np.array(rgb))
    real = labelled.LabelledImages._draw

    class Still:
        def __init__(self, dice):
            self.integers = dice.integers

        def random(self):
            return 0.999  # a defect, not mirrored

    def draw(self, size, dice):
        self.whole_share = 1.0
        return real(self, size, Still(dice))

    monkeypatch.setattr(labelled.LabelledImages, "_draw", draw)


def options_of(data, folder, **more):
    quiet = TrainOptions(steps=1, warmup_steps=1, mixed_precision="no", workers=0)
    return AdaptOptions(
        preset="", base="", run_dir=folder, data=data, data_share=1.0, size_px=64, train=quiet, **more
    )  # fmt: skip


@pytest.mark.parametrize("tiled", [False, True])
def test_both_eyes_see_in_training_what_they_see_in_serving(base, data, tmp_path, as_they_are, tiled):
    model, tokenizer = base
    config = model.config if tiled else replace(model.config, anyres=())
    twin = type(model)(config, model.token_ids, lmm=model.lmm, pixel_encoder=model.pixel_encoder).eval()
    twin.load_state_dict(model.state_dict())
    source = MixedSource(options_of(data, tmp_path), config)
    maker = AdaptMaker(tokenizer, config, twin.token_ids)
    task = AdaptTask(twin, SegLossWeights(hard_bce=0.0)).eval()
    looks = []
    watch = twin.pixel_encoder.encoder.register_forward_pre_hook(lambda module, args: looks.append(args[0]))
    wide, tall = (open_image(path) for path in sorted(data.glob("nut/test/*/*")))
    seen = set()
    for step in range(4):
        source_batch = source.batch(step, 1)
        batch = maker(source_batch, random.Random(step))
        (ours_hw,) = batch.content_hw
        image = wide if ours_hw[0] < ours_hw[1] else tall
        with torch.inference_mode():
            losses = task(batch)
            encoded = AnomalyPredictor(twin, tokenizer).set_image(image)
            pixels = task.pixel_values(batch.images)
            values = TiledImages(batch.tiles, batch.sizes_hw) if tiled else twin.semantic_input(pixels)
            features = twin.encode_image(values, pixels, batch.content_hw)
        assert torch.isfinite(sum(losses.values()))
        ours, theirs, _ = looks[-3:]
        assert torch.equal(ours, theirs)
        assert torch.equal(features.visual, encoded.features.visual)
        height, width = encoded.letterbox.content_hw
        assert ours_hw == (height, width)
        assert not ours[0, :, height:].any() and not ours[0, :, :, width:].any()
        assert ours[0, :, :height, :width].abs().amax(0).all()
        assert not batch.labels[0, height:].any() and not batch.labels[0, :, width:].any()
        assert batch.labels[0, height - 1, width - 1] == 1
        assert int((batch.input_ids == twin.token_ids.image).sum()) == encoded.tokens
        scene = source_batch.facts[0]
        assert scene.size_hw == (height, width) and scene.defects[0].place == "lower right"
        seen.add(image.size_hw)
    watch.remove()
    assert seen == set(SIZES)


def test_what_lies_beyond_the_image_is_not_in_the_loss():
    torch.manual_seed(0)
    weights = SegLossWeights()
    branches = [torch.randn(3, 8, 8) for _ in range(3)]
    gt_mask = torch.rand(3, 16, 16) > 0.6
    gt_mask[2] = False
    content = [(16, 16), (9, 16), (16, 5)]
    inside = content_losses(MaskLogits(*branches), gt_mask, content, weights)
    for branch in branches:
        branch[1, 4:], branch[2, :, 2:] = 99.0, -99.0
    gt_mask[1, 8:], gt_mask[2, :, 4:] = True, True
    for name, value in content_losses(MaskLogits(*branches), gt_mask, content, weights).items():
        torch.testing.assert_close(value, inside[name])
    full = content_losses(MaskLogits(*branches), gt_mask, [(16, 16)] * 3, weights)
    for name, value in seg_losses(MaskLogits(*branches), gt_mask, weights).items():
        torch.testing.assert_close(full[name], value)
    sliver = content_losses(MaskLogits(None, *branches[1:]), gt_mask, [(1, 16)] * 3, weights)
    assert torch.isfinite(sum(sliver.values()))


def test_an_adapter_is_trained_on_tiles_of_unequal_images(data, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny-base", tiny_base_config(tmp_path, "onevision", "sam"))
    options = replace(options_of(data, tmp_path / "run", batch=4, anyres=True), preset="tiny-base", data_share=0.5)
    options = replace(options, train=replace(options.train, steps=3))
    lengths = []
    real = AdaptTask.forward
    monkeypatch.setattr(AdaptTask, "forward", lambda self, b: lengths.append(b.sizes_hw) or real(self, b))
    train_adapter(options)
    assert any(len(set(sizes)) > 1 for sizes in lengths) and ((64, 64),) * 4 in lengths
    model, tokenizer, _ = adapt_model(options)
    assert model.config.anyres
    served, _, _ = load_adapter(tmp_path / "run" / "adapter")
    assert served.config.anyres == model.config.anyres
    image = open_image(next(data.glob("nut/test/*/*")))
    prediction = AnomalyPredictor(served, tokenizer).glance(image)
    assert prediction.p_seg.shape == image.size_hw

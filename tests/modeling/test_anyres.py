"""Images in tiles: the tokens, the pixels and the features are those of transformers' own processor and model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor

from agvas_core.backbones import load_backbones
from agvas_core.config import AGVASConfig, get_preset, with_anyres
from agvas_core.engines.queue import QueuedPredictor
from agvas_core.memory import image_tokens, memory_needed
from agvas_core.modeling.anyres import cut, encode_tiles, tile_tokens
from agvas_core.predictor import AnomalyPredictor
from agvas_core.prompts import ChatTurn
from agvas_core.tokenizer import encode_chat
from tests.bases import tiny_base_config

SIZES = [(50, 90), (33, 20), (28, 28), (200, 131), (7, 300), (300, 9), (97, 97), (1, 400), (400, 1), (3, 90)]


class ImagesOnly(LlavaOnevisionProcessor):
    """The base's processor without its video part, which needs torchvision."""

    def check_argument_for_proper_class(self, argument_name, argument):
        return None if argument is None else super().check_argument_for_proper_class(argument_name, argument)


def processor_of(config, tokenizer):
    side = config.semantic.image_px
    images = hf.LlavaOnevisionImageProcessorPil(
        size={"height": side, "width": side}, image_grid_pinpoints=[list(g) for g in config.anyres],
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    return ImagesOnly(images, tokenizer, None, num_image_tokens=config.semantic.tokens,
                      vision_feature_select_strategy="full", image_token="<image>", video_token="<video>",
                      vision_aspect_ratio=f"anyres_max_{config.anyres_max}")  # fmt: skip


def photo(size_hw, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A tiny LLaVA-OneVision, read with the grids that its own config names: model and tokenizer."""
    config = tiny_base_config(tmp_path_factory.mktemp("base"), "onevision", "dinov3", side_tiles=3, tiles_max=4)
    model, tokenizer = load_backbones(with_anyres(config))
    torch.manual_seed(3)
    with torch.no_grad():  # the words are not all one
        for weight in model.lmm.model.language_model.layers.parameters():
            if weight.ndim == 2:
                weight.normal_(std=0.2)
    return model, tokenizer


def plain(model):
    """The same model, its own words alone: without SPAM."""
    twin = replace(model.config, decoder=replace(model.config.decoder, use_spam=False))
    spoken = type(model)(twin, model.token_ids, lmm=model.lmm, pixel_encoder=model.pixel_encoder)
    return spoken.eval()


def test_the_grids_are_the_bases_own(base):
    config = base[0].config
    assert config.anyres == tuple((28 * r, 28 * c) for r in (1, 2, 3) for c in (1, 2, 3))
    assert config.anyres_max == 4


@pytest.mark.parametrize("size_hw", SIZES)
def test_as_many_tokens_as_the_processor_writes(base, size_hw):
    model, tokenizer = base
    theirs = processor_of(model.config, tokenizer)(text="<image>", images=Image.fromarray(photo(size_hw)))
    count = theirs["input_ids"][0].count(model.token_ids.image)
    assert image_tokens(plain(model).config, size_hw) == count
    with torch.inference_mode():
        (f_s,) = encode_tiles(model.lmm, cut(model.config, [photo(size_hw)]))
    assert len(f_s) == count


@pytest.mark.parametrize("size_hw", SIZES[:4])
def test_bytes_are_normalised_to_the_very_values_of_the_processor(base, size_hw):
    model, tokenizer = base
    shown = photo(size_hw, 5)
    theirs = processor_of(model.config, tokenizer).image_processor(shown, return_tensors="pt")["pixel_values"]
    assert torch.equal(cut(model.config, [shown]).values, theirs)


def test_the_true_sizes_tokens():
    config = with_anyres(get_preset("onevision-7b"))
    assert [config.semantic.tokens + tile_tokens(config, (n, n)) for n in (384, 512, 1024)] == [1485, 3699, 7371]
    assert image_tokens(config, (1024, 1024)) == 7371 + 729  # with f_align
    assert memory_needed(config, "bf16") > memory_needed(get_preset("onevision-7b"), "bf16")


def test_words_are_those_of_transformers(base, picture):
    """The processor's ids and pixels through the base's own generate say what our predictor says."""
    model, tokenizer = base
    predictor = AnomalyPredictor(plain(model), tokenizer)
    shown = picture(4, (50, 90))
    encoded = predictor.set_image(shown)
    short = encode_chat(tokenizer, [ChatTurn("user", "What is it?")], True).input_ids
    ids = predictor.expand(short, encoded)
    prefix = predictor.read(ids, encoded)
    first = prefix.hidden[0, -1].clone()
    ours = [token for token, _ in predictor.generate(prefix, encoded, 12)]
    inputs = processor_of(model.config, tokenizer)(
        text="<image>", images=Image.fromarray(shown.rgb), return_tensors="pt"
    )
    at = short.index(model.token_ids.image)
    assert ids == short[:at] + inputs["input_ids"][0].tolist() + short[at + 1 :]
    assert inputs["pixel_values"].ndim == 5
    own = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.int64)}
    own |= {"pixel_values": inputs["pixel_values"], "image_sizes": inputs["image_sizes"]}
    with torch.inference_mode():
        hidden = model.lmm.model(**own).last_hidden_state[0, -1]
    torch.testing.assert_close(first, hidden, atol=1e-4, rtol=1e-3)
    out = model.lmm.generate(
        **own, max_new_tokens=12, do_sample=False, suppress_tokens=predictor._never_said.tolist(),
        eos_token_id=predictor.end_id, pad_token_id=0,
    )  # fmt: skip
    theirs = out[0, len(ids) :].tolist()
    assert len(set(ours)) > 2
    assert ours == [t for t in theirs if t != predictor.end_id][: len(ours)]


def test_images_of_unequal_sizes_together_are_what_each_is_alone(base):
    model, _ = base
    photos = [photo(size, i) for i, size in enumerate(SIZES[:3])]
    side = model.config.pixel.image_px
    canvases = torch.rand(3, 3, side, side)
    with torch.inference_mode():
        together = model.encode_image(cut(model.config, photos), canvases)
        assert together.visual.shape[1] == sum(together.tokens) and len(set(together.tokens)) == 3
        for i, one in enumerate(photos):
            alone = model.encode_image(cut(model.config, [one]), canvases[i : i + 1])
            torch.testing.assert_close(together.alone(i).visual, alone.visual, atol=1e-5, rtol=1e-4)
            assert alone.visual.shape[1] == image_tokens(model.config, one.shape[:2])
            base_tokens = model.config.semantic.tokens
            f_s = model.encode_semantic(cut(model.config, [one]).values[:, 0])  # f_align is the base crop's
            own = model.align(f_s, model.pixel_encoder(canvases[i : i + 1])).visual[:, base_tokens:]
            torch.testing.assert_close(alone.visual[:, -base_tokens:], own, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", [AnomalyPredictor, QueuedPredictor])
def test_a_read_beginning_serves_the_next_question(base, picture, kind):
    """Cached equals uncached, for two images of unequal sizes in turn, mask and words."""
    model, tokenizer = base
    kept = kind(model, tokenizer)
    calls = []
    watch = model.lmm.model.vision_tower.register_forward_hook(lambda *a: calls.append(1))
    for seed, size_hw in ((1, (50, 90)), (2, (90, 30)), (1, (50, 90))):
        shown = picture(seed, size_hw)
        for question in ("What is it?", "Where is it?"):
            fresh = AnomalyPredictor(model, tokenizer)
            ids = kept.direct_ids(question, kept.set_image(shown))
            states = [p.read(ids, p.set_image(shown), anchors=True) for p in (kept, fresh)]
            assert len(states[1].ids) == len(ids) and states[1].hidden.shape[1] == len(ids)
            maps = [p.decode(s, p.set_image(shown)) for p, s in zip((kept, fresh), states, strict=True)]
            np.testing.assert_allclose(maps[0].anomaly_map, maps[1].anomaly_map, atol=1e-5)
            assert maps[0].size_hw == size_hw
    watch.remove()
    encoded = kept.set_image(shown)
    ids = kept.direct_ids("And why?", encoded)
    assert kept.read(ids, encoded).hidden.shape[1] < len(ids) - encoded.tokens  # they are not read again
    assert len(calls) == 2 + 6  # each image once, and once for each that began anew


def test_what_has_no_tiles_says_so():
    with pytest.raises(ValueError, match="Only the LLaVA-OneVision bases see images in tiles"):
        with_anyres(get_preset("llava-13b"))
    with pytest.raises(ValueError, match="nano does not"):
        with_anyres(get_preset("nano"))


def test_a_config_with_tiles_comes_back_from_its_file(tmp_path):
    config = replace(with_anyres(get_preset("onevision-0.5b")), base_revision="v1", pixel_revision="v2")
    config.save(tmp_path / "config.json")
    assert AGVASConfig.load(tmp_path / "config.json") == config

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from agvas_core.config import PIXEL_ENCODERS
from agvas_core.modeling.pixel_encoder import build_pixel_encoder
from agvas_core.modeling.pixel_pretrained import KINDS, load_pretrained
from agvas_core.processing import fit
from tests.bases import pixel_model, save_pixel

ALL = list(KINDS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a function: the folder and config of a tiny checkpoint of a kind, written once."""
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = save_pixel(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return get


@pytest.fixture(scope="module")
def loaded(saved):
    made = {}

    def get(kind):
        if kind not in made:
            folder, config = saved(kind)
            made[kind] = load_pretrained(config, str(folder))
        return made[kind]

    return get


def pictures(encoder, count=3):
    side = encoder.config.image_px
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_keeps_the_contract(loaded, kind):
    encoder = loaded(kind)
    config, side = encoder.config, encoder.config.image_px
    features = encoder(pictures(encoder, 2))
    assert features.embedding.shape == (2, config.width, side // 16, side // 16)
    c4, c8 = config.widths_high_res
    shapes = [(2, c4, side // 4, side // 4), (2, c8, side // 8, side // 8)] if c4 else []
    assert [tuple(f.shape) for f in features.high_res] == shapes


@pytest.mark.parametrize("kind", ALL)
def test_batch_equals_single(loaded, kind):
    encoder = loaded(kind)
    images = pictures(encoder)
    together, alone = encoder(images), encoder(images[1:2])
    torch.testing.assert_close(together.embedding[1:2], alone.embedding, atol=1e-5, rtol=1e-4)
    for a, b in zip(together.high_res, alone.high_res, strict=True):
        torch.testing.assert_close(a[1:2], b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ALL)
def test_nothing_of_it_is_trained(loaded, kind):
    encoder = loaded(kind).train()
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not encoder.encoder.training
    images = pictures(encoder, 1).requires_grad_()
    assert not encoder(images).embedding.requires_grad
    torch.testing.assert_close(encoder(images).embedding, encoder.eval()(images).embedding)


@pytest.mark.parametrize("kind", ALL)
def test_what_lies_beyond_the_image_is_never_seen(loaded, kind):
    encoder = loaded(kind)
    side = encoder.config.image_px
    images = pictures(encoder, 2)
    changed = images.clone()
    changed[:, :, side // 2 :] = 1.0
    content = [(side // 2, side), (side, side)]
    a, b = encoder(images, content).embedding, encoder(changed, content).embedding
    torch.testing.assert_close(a[0], b[0])
    assert not torch.allclose(a[1], b[1])
    values = encoder.normalise(images, content)
    assert not values[0, :, side // 2 :].any()
    assert values[1].all()


@pytest.mark.parametrize("kind", ALL)
def test_a_place_in_the_image_is_the_same_place_in_the_grid(kind):
    torch.manual_seed(1)
    model, config = pixel_model(kind)
    encoder = build_pixel_encoder(config)
    side = config.image_px
    plain = torch.full((1, 3, side, side), 0.5)
    spot = plain.clone()
    spot[:, :, side // 2 :, : side // 4] = torch.rand(3, side // 2, side // 4)
    change = (encoder(spot).embedding - encoder(plain).embedding).abs().mean(1)[0]  # (h, w)
    half = change.shape[0] // 2
    quarters = {(i, j): float(change[i * half :, j * half :][:half, :half].mean()) for i in (0, 1) for j in (0, 1)}
    assert max(quarters, key=quarters.__getitem__) == (1, 0)


@pytest.mark.parametrize("kind", ALL)
def test_every_weight_of_the_hubs_checkpoint_arrives(loaded, kind):
    torch.manual_seed(0)  # as save_pixel made it
    whole = pixel_model(kind)[0].state_dict()
    prefix = {"sam2": "vision_encoder.", "clip": "vision_model.", "siglip": "vision_model.", "convnext": "convnextv2."}
    got = loaded(kind).encoder.state_dict()
    assert got
    for name, value in got.items():
        assert torch.equal(whole[prefix.get(kind, "") + name], value), name


def test_sams_preprocessing_is_exact():
    rng = np.random.default_rng(0)
    encoder = build_pixel_encoder(pixel_model("sam")[1])
    for size_hw in [(50, 90), (200, 130), (64, 64), (33, 20)]:
        rgb = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
        processor = SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
        theirs = processor(Image.fromarray(rgb), return_tensors="pt")["pixel_values"]
        canvas, letterbox = fit(rgb, 64, bilinear=True)
        ours = torch.from_numpy(canvas).permute(2, 0, 1)[None].float() / 255
        values = encoder.normalise(ours, [letterbox.content_hw])
        assert values.shape == theirs.shape
        torch.testing.assert_close(values, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("kind", "processor"),
    [
        ("sam", "SamImageProcessorPil"),
        ("clip", "CLIPImageProcessorPil"),
        ("siglip", "SiglipImageProcessorPil"),
    ],
)
def test_mean_and_deviation_are_those_of_the_makers(kind, processor):
    theirs = getattr(hf, processor)
    mean, std = KINDS[kind].mean_std
    assert tuple(theirs.image_mean) == pytest.approx(mean, abs=1e-4)
    assert tuple(theirs.image_std) == pytest.approx(std, abs=1e-4)


def test_absent_weights_and_other_widths_are_named(saved, tmp_path):
    folder, config = saved("dinov2")
    with pytest.raises(ValueError, match="is 16 wide, the config wants 32"):
        load_pretrained(replace(config, width=32), str(folder))
    stored = load_file(folder / "model.safetensors")
    del stored["layernorm.weight"]
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    save_file(stored, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"is no dinov2 encoder; not there: layernorm\.weight"):
        load_pretrained(config, str(tmp_path))


LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
# what the hub's config.json files state
HUB = {
    "sam-b": {"global_attn_indexes": [2, 5, 8, 11]},
    "sam-l": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "global_attn_indexes": [5, 11, 17, 23],
    },
    "sam-h": {
        "hidden_size": 1280,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "global_attn_indexes": [7, 15, 23, 31],
    },
    "sam2-t": {},
    "sam2-s": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "sam2-b": {
        "hidden_size": 112,
        "num_attention_heads": 2,
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 3, 16, 3],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    "sam2-l": {
        "hidden_size": 144,
        "num_attention_heads": 2,
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 6, 36, 4],
        "global_attention_blocks": [23, 33, 43],
        "window_size_per_stage": [8, 4, 16, 8],
    },
    "dinov2-s": {"hidden_size": 384, "num_attention_heads": 6, "image_size": 518},
    "dinov2-b": {"image_size": 518},
    "dinov2-l": LARGE | {"image_size": 518},
    "dinov2-g": {
        "hidden_size": 1536,
        "num_hidden_layers": 40,
        "num_attention_heads": 24,
        "image_size": 518,
        "use_swiglu_ffn": True,
    },
    "dinov3-s": {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536, "num_register_tokens": 4},
    "dinov3-b": {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "num_register_tokens": 4},
    "dinov3-h": {
        "hidden_size": 1280,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "intermediate_size": 5120,
        "num_register_tokens": 4,
        "use_gated_mlp": True,
        "hidden_act": "silu",
    },
    "clip-b": {"patch_size": 16},
    "siglip-b": {"image_size": 384},
    "dinov3-l": LARGE | {"intermediate_size": 4096, "num_register_tokens": 4},
    "clip-l": LARGE | {"intermediate_size": 4096, "image_size": 336, "patch_size": 14},
    "siglip-so400m": {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
    },
    "convnext-t": {},
    "convnext-b": {"depths": [3, 3, 27, 3], "hidden_sizes": [128, 256, 512, 1024]},
    "convnext-l": {"depths": [3, 3, 27, 3], "hidden_sizes": [192, 384, 768, 1536]},
}
# millions of weights of the encoders, as their makers state them (of SAM 2.1 what they state of all of it, without the
# 11.9 beside the eye; of ConvNeXt V2 without its head)
MILLIONS = {"sam2-s": 34.1, "sam2-b": 68.9, "sam2-l": 212.5, "dinov2-s": 22, "dinov2-b": 86.6, "dinov2-g": 1136,
            "dinov3-s": 21.6, "dinov3-b": 85.7, "dinov3-h": 840.5, "clip-b": 86, "siglip-b": 86, "convnext-b": 87.7,
            "convnext-l": 196.4,
            "sam-b": 90, "sam-l": 308, "sam-h": 637, "sam2-t": 27, "dinov2-l": 304, "dinov3-l": 303, "clip-l": 304,
            "siglip-so400m": 413, "convnext-t": 28}  # fmt: skip


def hub_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the eye in the hub's class at the true config, without its place in the whole model."""
    kind, values = name.split("-")[0], HUB[name]
    with torch.device("meta"):
        if kind == "sam":
            whole = hf.SamModel(hf.SamConfig(vision_config=values))
            return {n: tuple(v.shape) for n, v in whole.state_dict().items() if n.startswith("vision_encoder.")}
        if kind == "sam2":
            vision = {"backbone_channel_list": values["embed_dim_per_stage"][::-1]} if "hidden_size" in values else {}
            hiera = hf.Sam2HieraDetConfig(**values)
            whole = hf.Sam2Config(vision_config=hf.Sam2VisionConfig(backbone_config=hiera, **vision))
            return shapes(hf.Sam2Model(whole), "vision_encoder.")
        if kind == "dinov2":
            return shapes(hf.Dinov2Model(hf.Dinov2Config(**values)))
        if kind == "dinov3":
            return shapes(hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**values)))
        if kind == "clip":
            return shapes(hf.CLIPModel(hf.CLIPConfig(vision_config=values)), "vision_model.")
        if kind == "siglip":
            whole = shapes(hf.SiglipModel(hf.SiglipConfig(vision_config=values)), "vision_model.")
            return {n: shape for n, shape in whole.items() if not n.startswith("head.")}  # pools tokens, we do not
        whole = hf.ConvNextV2ForImageClassification(hf.ConvNextV2Config(**{"depths": [3, 3, 9, 3]} | values))
        return shapes(whole, "convnextv2.")


def shapes(model, prefix="") -> dict[str, tuple[int, ...]]:
    return {
        n.removeprefix(prefix): tuple(v.shape)
        for n, v in model.state_dict().items()
        if n.startswith(prefix)
    }  # fmt: skip


@pytest.mark.parametrize("name", list(HUB))
def test_names_and_shapes_at_the_true_size_are_the_hubs(name):
    assert HUB.keys() == PIXEL_ENCODERS.keys()
    with torch.device("meta"):
        encoder = build_pixel_encoder(PIXEL_ENCODERS[name][1]).encoder
    assert shapes(encoder) == hub_shapes(name)
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(MILLIONS[name], abs=1)


def test_every_canvas_fits_patches_and_strides():
    for name, (base, config) in PIXEL_ENCODERS.items():
        patch = config.backbone.get("patch_size", 14 if config.kind == "dinov2" else 16)
        assert config.image_px % 16 == 0 and config.image_px % patch == 0, name
        assert "/" in base

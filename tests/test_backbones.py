import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.quantizers.quantizers_utils import should_convert_module

from agvas_core import backbones
from agvas_core.backbones import NEVER_QUANTISED, load_backbones, quantization_config
from agvas_core.config import get_preset
from agvas_core.modeling.agvas import AGVAS
from agvas_core.modeling.lmm import build_lmm
from agvas_core.predictor import AnomalyPredictor
from agvas_core.processing import fit
from agvas_core.prompts import ChatTurn
from agvas_core.tokenizer import encode_chat
from tests.bases import qwen_tokenizer, save_base, save_pixel, tiny_base_config

FAMILIES = ["onevision", "llava"]
PIXELS = ["sam", "sam2", "dinov2", "dinov3", "clip", "siglip", "convnext"]


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    return {f: tiny_base_config(tmp_path_factory.mktemp(f), f, "dinov3") for f in FAMILIES}


@pytest.fixture(scope="module")
def bases(configs):
    return {f: load_backbones(c) for f, c in configs.items()}


def without_spam(config):
    return replace(config, decoder=replace(config.decoder, use_spam=False))


# --- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_of_the_base_arrives(configs, bases, family):
    model, tokenizer = bases[family]
    cls = {"onevision": hf.LlavaOnevisionForConditionalGeneration, "llava": hf.LlavaForConditionalGeneration}[family]
    theirs = cls.from_pretrained(configs[family].base).state_dict()
    ours = model.lmm.state_dict()
    assert set(ours) == set(theirs)
    anchors = list(model.token_ids.anchors)
    for name, value in theirs.items():
        same = ours[name] == value
        if name.endswith(("embed_tokens.weight", "lm_head.weight")):
            same[anchors] = True
        assert bool(same.all()), name
    assert len(tokenizer) == anchors[-1] + 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_sizes_are_the_bases_own(configs, bases, family):
    model, _ = bases[family]
    config = model.config
    assert config.semantic.tokens == 4
    assert (config.llm.width, config.llm.layers, config.llm.max_positions) == (64, 2, 1024)
    assert config.llm.tie_embeddings == (family == "onevision")
    assert (config.base, config.pixel_base) == (configs[family].base, configs[family].pixel_base)
    rebuilt = AGVAS(config, model.token_ids)  # what a checkpoint of it is loaded into
    assert {n: v.shape for n, v in rebuilt.state_dict().items()} == {n: v.shape for n, v in model.state_dict().items()}


def test_rows_are_added_only_when_none_are_left(tmp_path):
    before = load_file(save_base(tmp_path / "padded", spare_rows=3) / "model.safetensors")
    eye, pixel = save_pixel(tmp_path / "eye", "dinov3")
    config = replace(get_preset("onevision-0.5b"), pixel=pixel, pixel_base=str(eye))
    padded, _ = load_backbones(replace(config, base=str(tmp_path / "padded")))
    assert padded.config.llm.vocab_size == len(qwen_tokenizer()) + 3
    full, tokenizer = load_backbones(replace(config, base=str(save_base(tmp_path / "full", spare_rows=0))))
    rows = full.lmm.get_input_embeddings().weight
    assert rows.shape[0] == full.config.llm.vocab_size == full.lmm.config.text_config.vocab_size
    assert rows.shape[0] >= len(tokenizer) and rows.shape[0] % 64 == 0
    assert full.lmm.lm_head.weight is rows
    known = len(qwen_tokenizer())
    for model in (padded, full):
        table = model.lmm.get_input_embeddings().weight
        for row in table[list(model.token_ids.anchors)]:
            torch.testing.assert_close(row, table[:known].mean(0))
    name = next(n for n in before if n.endswith("embed_tokens.weight"))
    torch.testing.assert_close(padded.lmm.get_input_embeddings().weight[:known], before[name][:known])


def rewritten(folder, target, change):
    """Copy a checkpoint with its tensors changed by a function of (name, value)."""
    target.mkdir()
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (target / file.name).write_bytes(file.read_bytes())
    tensors = dict(kv for n, v in load_file(folder / "model.safetensors").items() for kv in change(n, v))
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return str(target)


@pytest.mark.parametrize("family", FAMILIES)
def test_names_as_older_libraries_wrote_them_load(configs, bases, family, tmp_path):
    # the hub's files have language_model.model.layers..., language_model.lm_head, vision_tower.vision_model...
    def old(name, value):
        name = name.removeprefix("model.")
        if name.endswith("lm_head.weight"):
            name = "language_model.lm_head.weight"
        elif name.startswith("language_model.") and not name.startswith("language_model.model."):
            name = name.replace("language_model.", "language_model.model.")
        if "vision_model" not in name:
            name = name.replace("vision_tower.", "vision_tower.vision_model.")
        yield name, value

    base = rewritten(Path(configs[family].base), tmp_path / "old", old)
    assert any(n.startswith("language_model.model.layers.0") for n in load_file(tmp_path / "old" / "model.safetensors"))
    again, _ = load_backbones(replace(configs[family], base=base))
    expected = bases[family][0].lmm.state_dict()
    for name, value in again.lmm.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_partial_and_foreign_weights_are_refused(configs, tmp_path):
    config = configs["onevision"]
    folder = Path(config.base)
    part = rewritten(folder, tmp_path / "part", lambda n, v: [] if "layers.1.mlp.up_proj" in n else [(n, v)])
    with pytest.raises(ValueError, match=r"do not fit.*missing: .*layers\.1\.mlp\.up_proj\.weight"):
        load_backbones(replace(config, base=part))
    more = rewritten(folder, tmp_path / "more", lambda n, v: [(n, v), (n.replace("layers.1", "layers.7"), v.clone())])
    with pytest.raises(ValueError, match=r"do not fit.*left over: .*layers\.7"):
        load_backbones(replace(config, base=more))
    with pytest.raises(ValueError, match="is no llava model: its type is llava_onevision"):
        load_backbones(replace(config, family="llava"))
    with pytest.raises(ValueError, match="no family 'gpt'"):
        load_backbones(replace(config, family="gpt"))
    with pytest.raises(OSError):
        load_backbones(replace(config, base=str(tmp_path / "nowhere")), local_files_only=True)


# --- behaviour -------------------------------------------------------------------------------------------------------


def test_words_are_the_bases_own(configs, picture):
    """LLaVA by transformers' own generate, and by our predictor without SPAM, say the same."""
    model, tokenizer = load_backbones(without_spam(configs["llava"]))
    torch.manual_seed(3)
    with torch.no_grad():
        model.lmm.lm_head.weight.normal_()  # the words are not all one
        model.lmm.get_input_embeddings().weight.normal_()
    predictor = AnomalyPredictor(model, tokenizer)
    photo = picture(4, (56, 56))
    ids = predictor.expand(encode_chat(tokenizer, [ChatTurn("user", "What is it?")], True).input_ids)
    assert ids.count(model.token_ids.image) == 4
    encoded = predictor.set_image(photo)
    ours = [token for token, _ in predictor.generate(predictor.read(ids, encoded), encoded, 12)]
    canvas, _ = fit(photo.rgb, model.config.pixel.image_px, bilinear=True)
    pixels = torch.from_numpy(canvas).permute(2, 0, 1)[None].float() / 255
    out = model.lmm.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
        pixel_values=model.semantic_input(pixels),
        max_new_tokens=12,
        do_sample=False,
        suppress_tokens=predictor._never_said.tolist(),
        eos_token_id=predictor.end_id,
        pad_token_id=0,
    )
    theirs = out[0, len(ids) :].tolist()
    assert len(set(ours)) > 2
    assert ours == [t for t in theirs if t != predictor.end_id][: len(ours)]


@pytest.mark.parametrize("kind", PIXELS)
def test_masks_with_every_pixel_encoder(kind, tmp_path, picture):
    model, tokenizer = load_backbones(tiny_base_config(tmp_path, "llava" if kind == "sam2" else "onevision", kind))
    predictor = AnomalyPredictor(model, tokenizer)
    photo = picture(1, (50, 90))
    prediction = predictor.glance(photo)
    assert prediction.p_seg.shape == (50, 90)
    assert 0 <= prediction.pred_score <= 1
    encoded = predictor.set_image(photo)
    words = list(predictor.generate(predictor.read(predictor.direct_ids("What?"), encoded), encoded, 4))
    assert len(words) <= 4
    side = model.config.pixel.image_px
    pixels = torch.rand(2, 3, side, side)
    content = [(side, side // 2), (side, side)]
    with torch.inference_mode():
        both = model.encode_image(model.semantic_input(pixels), pixels, content)
        one = model.encode_image(model.semantic_input(pixels[:1]), pixels[:1], content[:1])
        states = torch.randn(2, 3, model.config.llm.width)
        masks, mask = model.decode_masks(states, both.pixel), model.decode_masks(states[:1], one.pixel)
    torch.testing.assert_close(both.visual[:1], one.visual, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(masks.seg[:1], mask.seg, atol=1e-4, rtol=1e-3)


def test_half_precision(configs, picture):
    model, tokenizer = load_backbones(configs["onevision"], dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.pixel_encoder.mean_rgb.dtype == torch.float32
    prediction = AnomalyPredictor(model, tokenizer).glance(picture(1))
    assert prediction.p_seg.dtype == "float32"
    full, _ = load_backbones(configs["onevision"])
    assert {p.dtype for p in full.parameters()} == {torch.float32}


@pytest.mark.filterwarnings("ignore:The following device_map keys")
def test_weights_that_lie_on_the_disk_give_the_same_words(configs, bases, picture, tmp_path, monkeypatch):
    config = configs["onevision"]
    plan = {
        "model.vision_tower": "cpu",
        "model.multi_modal_projector": "disk",
        "model.image_newline": "cpu",
        "model.language_model": "disk",
        "lm_head": "disk",
    }
    real = backbones._load_lmm

    def with_plan(family, base, **options):
        assert options["device_map"] == "auto"
        return real(family, base, **options | {"device_map": plan})

    monkeypatch.setattr(backbones, "_load_lmm", with_plan)
    torch.manual_seed(0)
    offloaded, tokenizer = load_backbones(without_spam(config), offload_folder=str(tmp_path / "offload"))
    assert offloaded.lmm.model.language_model.layers[0].mlp.up_proj.weight.is_meta
    monkeypatch.undo()
    plain, _ = load_backbones(without_spam(config))
    photo = picture(2)
    hidden = []
    for model in (offloaded, plain):
        predictor = AnomalyPredictor(model, tokenizer)
        encoded = predictor.set_image(photo)
        ids = encode_chat(tokenizer, [ChatTurn("user", "What?")]).input_ids
        prefix = predictor.read(predictor.expand(ids), encoded)
        hidden.append(prefix.hidden)
        list(predictor.generate(prefix, encoded, 2))
    torch.testing.assert_close(*hidden)


# --- quantisation and memory -----------------------------------------------------------------------------------------


def test_only_the_language_models_layers_are_quantised(bases):
    for model, _ in bases.values():
        for name in NEVER_QUANTISED:
            model.lmm.get_submodule(name)  # a misspelt one would be ignored in silence
        for name, module in model.lmm.named_modules():
            if isinstance(module, nn.Linear):
                inside = name.startswith("model.language_model.layers.")
                assert should_convert_module(name, NEVER_QUANTISED) == inside, name


def test_what_bitsandbytes_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    nf4 = quantization_config("nf4", torch.bfloat16)
    assert (nf4.load_in_4bit, nf4.bnb_4bit_quant_type, nf4.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert nf4.bnb_4bit_compute_dtype == torch.bfloat16
    assert nf4.llm_int8_skip_modules == NEVER_QUANTISED
    assert quantization_config("int8", torch.bfloat16).load_in_8bit
    with pytest.raises(ValueError, match="no quantization 'fp2'"):
        quantization_config("fp2", torch.bfloat16)


def test_a_missing_bitsandbytes_is_said_before_anything_is_loaded(configs, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(backbones, "_load_lmm", lambda *a, **k: pytest.fail("loaded"))
    with pytest.raises(ValueError, match=r"Quantization to nf4 needs bitsandbytes: pip install 'agvas\[quant\]'\."):
        load_backbones(configs["onevision"], quantization="nf4")


def test_too_little_memory_is_said_before_anything_is_loaded(configs, monkeypatch):
    monkeypatch.setattr("agvas_core.memory.free_memory", lambda device: 1e5)
    monkeypatch.setattr(backbones, "_load_lmm", lambda *a, **k: pytest.fail("loaded"))
    with pytest.raises(ValueError, match="tiny-base with dinov3 needs about"):
        load_backbones(configs["onevision"])


# --- the true sizes --------------------------------------------------------------------------------------------------

SIGLIP = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 26, "num_attention_heads": 16,
          "image_size": 384, "patch_size": 14, "vision_use_head": False}  # fmt: skip
# what the hub's config.json files state: vision, text
HUB = {
    "onevision-0.5b": (SIGLIP, {"vocab_size": 152_000, "hidden_size": 896, "intermediate_size": 4864,
                                "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
                                "tie_word_embeddings": True}),
    "onevision-7b": (SIGLIP, {"vocab_size": 152_128, "hidden_size": 3584, "intermediate_size": 18_944,
                              "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
                              "tie_word_embeddings": False}),
    "llava-13b": ({"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
                   "image_size": 336, "patch_size": 14},
                  {"vocab_size": 32_064, "hidden_size": 5120, "intermediate_size": 13_824, "num_hidden_layers": 40,
                   "num_attention_heads": 40, "num_key_value_heads": 40, "tie_word_embeddings": False}),
}  # fmt: skip
BILLIONS = {"onevision-0.5b": 0.894, "onevision-7b": 8.03, "llava-13b": 13.35}


@pytest.mark.parametrize("preset", list(HUB))
def test_names_and_shapes_at_the_true_size_are_the_hubs(preset):
    vision, text = HUB[preset]
    tied = bool(text["tie_word_embeddings"])
    with torch.device("meta"):
        if preset == "llava-13b":
            wanted = hf.LlavaConfig(vision_config=hf.CLIPVisionConfig(**vision), text_config=hf.LlamaConfig(**text))
            theirs = hf.LlavaForConditionalGeneration(wanted)
        else:
            wanted = hf.LlavaOnevisionConfig(
                vision_config=hf.SiglipVisionConfig(**vision),
                text_config=hf.Qwen2Config(**text),
                tie_word_embeddings=tied,
            )
            theirs = hf.LlavaOnevisionForConditionalGeneration(wanted)
        ours = build_lmm(get_preset(preset), image_token_id=0)
    assert {n: v.shape for n, v in ours.state_dict().items()} == {n: v.shape for n, v in theirs.state_dict().items()}
    assert sum(p.numel() for p in ours.parameters()) / 1e9 == pytest.approx(BILLIONS[preset], rel=0.01)


@pytest.mark.parametrize(("quantization", "layer"), [("nf4", "Linear4bit"), ("int8", "Linear8bitLt")])
def test_quantised_models_answer(configs, picture, quantization, layer):
    pytest.importorskip("bitsandbytes")
    model, tokenizer = load_backbones(configs["onevision"], quantization=quantization)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            inside = name.startswith("lmm.model.language_model.layers.")
            assert (type(module).__name__ == layer) == inside, name
    predictor = AnomalyPredictor(model, tokenizer)
    assert 0 <= predictor.glance(picture(1)).pred_score <= 1

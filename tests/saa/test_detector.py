"""GroundingDINO, SAM and Wide ResNet-50-2 of the real classes, tiny and random, end to end from saved folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertTokenizerFast,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    SamConfig,
    SamImageProcessorPil,
    SamMaskDecoderConfig,
    SamModel,
    SamPromptEncoderConfig,
    SamVisionConfig,
    SwinConfig,
)

from agvas_core.engines import saa_loading
from agvas_core.engines.ask import ask
from agvas_core.engines.saa_loading import load_detectors
from agvas_core.processing import open_image
from agvas_core.saa import detector as detector_module
from agvas_core.saa.candidates import Candidate
from agvas_core.saa.detector import BOX_THRESHOLD, wide_resnet_features
from agvas_core.saa.pipeline import run
from agvas_core.saa.prompts import HybridPrompts, LanguagePrompts, prompts_for
from agvas_core.saa.saliency import saliency_map, saliency_on_grid
from agvas_core.saa.wide_resnet import WideResNet50, load_wide_resnet
from agvas_core.structures import Request

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "crack", "hole", "tile", "defect", "anomaly", "the", "on"]
CANVAS = 64


def tiny_detector(folder: Path) -> Path:
    """Save a random GroundingDINO with its tokenizer and image processor."""
    torch.manual_seed(0)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_size=4, image_size=64,
            out_indices=[2, 3, 4],
        ),
        text_config=BertConfig(
            vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        ),
        num_queries=12, encoder_layers=1, decoder_layers=2, d_model=32, encoder_ffn_dim=32, decoder_ffn_dim=32,
        encoder_attention_heads=2, decoder_attention_heads=2, max_text_len=32,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).eval().save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(folder)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return folder


def tiny_sam(folder: Path) -> Path:
    """Save a random SAM with its image processor."""
    torch.manual_seed(1)
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=16, output_channels=16, num_hidden_layers=2, num_attention_heads=2, image_size=CANVAS,
            global_attn_indexes=[1], window_size=2, mlp_dim=32, num_pos_feats=8,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=16, image_size=CANVAS, image_embedding_size=CANVAS // 16, mask_input_channels=4,
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=16, mlp_dim=32, num_hidden_layers=2, num_attention_heads=2, iou_head_hidden_dim=16,
        ),
    )  # fmt: skip
    SamModel(config).eval().save_pretrained(folder)
    SamImageProcessorPil(
        size={"longest_edge": CANVAS}, pad_size={"height": CANVAS, "width": CANVAS}, mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("weights")
    return tiny_detector(root / "dino"), tiny_sam(root / "sam")


@pytest.fixture(scope="module")
def proposer(folders):
    return load_detectors(str(folders[0]), str(folders[1]), "cpu")


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    return open_image(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8))


def finish(stages):
    while True:
        try:
            next(stages)
        except StopIteration as end:
            return end.value


def test_boxes_are_those_of_transformers_own_post_processing(proposer, image, folders):
    pixels = proposer.detector_images(image.rgb, return_tensors="pt")
    tokens = proposer.tokenizer("crack.", return_tensors="pt")
    with torch.inference_mode():
        out = proposer.detector(**pixels, **tokens)
    best = out.logits[0].sigmoid().max(-1).values
    found = proposer._detect(pixels, "crack")
    assert len(found) == int((best > BOX_THRESHOLD).sum()) > 0
    assert [c.score for c in found] == pytest.approx(best[best > BOX_THRESHOLD].tolist(), abs=1e-5)
    first = out.pred_boxes[0][best > BOX_THRESHOLD][0]  # center and size
    x0, y0, x1, y1 = found[0].box
    left, right = float(first[0] - first[2] / 2), float(first[0] + first[2] / 2)
    assert (x0, x1) == pytest.approx((max(0, left), min(1, right)), abs=1e-5)
    assert found[0].area == pytest.approx((x1 - x0) * (y1 - y0))
    assert all(0 <= v <= 1 for c in found for v in c.box)


def test_a_phrase_is_made_of_the_tokens_above_the_threshold(proposer, image, monkeypatch):
    pixels = proposer.detector_images(image.rgb, return_tensors="pt")
    logits = torch.full((1, 2, 32), float("-inf"))  # tokens: [CLS] crack on the tile . [SEP]
    logits[0, 0, :7] = torch.tensor([9.0, 2.0, -9.0, -9.0, -1.0, 9.0, 9.0])
    logits[0, 1, :7] = -9.0

    class Out:
        pred_boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.5, 0.5, 1.0, 1.0]]])

    Out.logits = logits
    monkeypatch.setattr(proposer.detector, "forward", lambda **_: Out)
    (found,) = proposer._detect(pixels, "Crack on the tile")
    assert found.phrase == "crack tile" and found.query == "Crack on the tile"
    assert found.box == pytest.approx((0.4, 0.3, 0.6, 0.7)) and found.area == pytest.approx(0.08)


def test_the_object_pass_takes_boxes_smaller_than_its_share():
    boxes = [Candidate((0, 0, 1, 0.6), 0.6, 0.9, "tile", "tile"), Candidate((0, 0, 0.4, 0.5), 0.2, 0.5, "tile", "tile")]
    one = detector_module._object(boxes, 1, (10, 10))
    assert one.area == 0.6 and one.mask.sum() == 60
    two = detector_module._object(boxes, 2, (10, 10))
    assert two.area == 0.2 and two.mask.sum() == 20
    none = detector_module._object(boxes, 9, (10, 10))
    assert none.area == 1.0 and none.mask is None


def test_each_query_is_asked_on_its_own_and_nothing_is_suppressed(proposer, image):
    together = HybridPrompts(LanguagePrompts("tile", (), ("crack", "hole")))
    found, obj = proposer.propose(image, together, lambda: False)
    alone = [
        len(proposer.propose(image, HybridPrompts(LanguagePrompts("", (), (w,))), lambda: False)[0])
        for w in ("crack", "hole")
    ]
    assert len(found) == sum(alone)
    assert 0 < obj.area <= 1
    assert proposer.propose(image, together, lambda: True)[0] == []


def test_masks_have_the_working_grid_and_equal_sams_own(proposer, image):
    boxes = [(0.1, 0.1, 0.5, 0.9), (0.0, 0.0, 1.0, 1.0), (0.5, 0.5, 0.52, 0.52)]
    asked = [Candidate(box, 0.1, 0.9 - i / 10, "crack", "crack") for i, box in enumerate(boxes)]
    refined = proposer.refine(image, asked)
    assert [c.box for c in refined] == boxes
    inputs = proposer.sam_images(image.rgb, return_tensors="pt")
    h, w = inputs["reshaped_input_sizes"][0].tolist()
    scaled = torch.tensor([[[x0 * w, y0 * h, x1 * w, y1 * h] for x0, y0, x1, y1 in boxes]])
    with torch.inference_mode():
        out = proposer.sam(inputs["pixel_values"], input_boxes=scaled, multimask_output=False)
    masks = proposer.sam_images.post_process_masks(
        out.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )[0]
    for c, mask in zip(refined, masks[:, 0].numpy(), strict=True):
        assert c.mask.shape == image.size_hw
        assert (c.mask == mask).mean() > 0.999


def test_too_many_boxes_come_back_without_masks(proposer, image, monkeypatch):
    monkeypatch.setattr(detector_module, "MAX_REFINED", 2)
    monkeypatch.setattr(detector_module, "_BOXES_AT_ONCE", 1)
    asked = [Candidate((0.1, 0.1, 0.6, 0.6), 0.25, s, "crack", "crack") for s in (0.2, 0.9, 0.5)]
    refined = proposer.refine(image, asked)
    assert [(c.score, c.mask is None) for c in refined] == [(0.9, False), (0.5, False), (0.2, True)]
    assert proposer.refine(image, []) == []


def test_saa_plus_end_to_end(proposer, image):
    network = WideResNet50(base=4).eval()

    def saliency_of(picture, n):
        return saliency_on_grid(saliency_map(wide_resnet_features(network, picture), n), picture.size_hw)

    for variant in ("paper", "code"):
        found = finish(run(image, proposer, saliency_of, prompts_for("tile"), variant))
        assert found.anomaly_map.shape == image.size_hw and np.isfinite(found.anomaly_map).all()
        assert len(found.kept) <= 5
        assert all(j.rule or j.candidate.mask is not None for j in found.judgements)
        if found.kept:
            assert found.anomaly_map.max() > 0


def test_missing_weights_are_an_error_that_names_them(folders, tmp_path):
    from safetensors.torch import load_file

    for file in folders[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in state if "mask_decoder" in name)
    save_file({k: v for k, v in state.items() if k != gone}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="missing") as error:
        load_detectors(str(folders[0]), str(tmp_path), "cpu")
    assert gone in str(error.value)


# --- Wide ResNet -----------------------------------------------------------------------------------------------------


def test_wide_resnet_has_the_published_names_sizes_and_strides():
    with torch.device("meta"):
        model = WideResNet50()
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer1.0.conv2.weight"] == (128, 128, 3, 3) and shapes["layer1.0.downsample.0.weight"][0] == 256
    assert shapes["layer3.5.conv3.weight"] == (1024, 512, 1, 1) and "layer3.5.downsample.0.weight" not in shapes
    # 68.88 million with the classifier; layer 4 and the classifier are left out
    assert sum(p.numel() for p in model.parameters()) == 24_862_528
    small = WideResNet50(base=4).eval()
    picture = open_image(np.random.default_rng(0).integers(0, 255, (50, 90, 3), dtype=np.uint8))
    assert wide_resnet_features(small, picture).shape == (1792 // 16, 64, 64)


def test_wide_resnet_loads_strictly(tmp_path):
    torch.manual_seed(0)
    state = WideResNet50(base=4).state_dict()
    extra = {"layer4.0.conv1.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}
    save_file({**state, **extra}, tmp_path / "whole.safetensors")
    loaded = load_wide_resnet(tmp_path / "whole.safetensors", base=4)
    torch.testing.assert_close(loaded.layer1[0].conv2.weight, state["layer1.0.conv2.weight"])
    assert not loaded.training
    for name, changed in {
        "foreign": {**state, "blocks.0.weight": torch.zeros(1)},
        "missing": {k: v for k, v in state.items() if k != "layer2.1.bn1.weight"},
    }.items():
        save_file(changed, tmp_path / f"{name}.safetensors")
        with pytest.raises(ValueError, match=r"blocks\.0|layer2\.1"):
            load_wide_resnet(tmp_path / f"{name}.safetensors", base=4)


@pytest.mark.parametrize("name", ["saa+:grounding-dino-tiny", "saa:grounding-dino-tiny:sam-vit-base"])
def test_an_engine_on_hub_weights_is_loaded_by_its_name_and_answers(folders, monkeypatch, name):
    dino, sam = folders
    monkeypatch.setattr(saa_loading, "DETECTORS", dict.fromkeys(saa_loading.DETECTORS, str(dino)))
    monkeypatch.setattr(saa_loading, "SAMS", dict.fromkeys(saa_loading.SAMS, str(sam)))
    monkeypatch.setattr(saa_loading, "_load_features", lambda device: WideResNet50(base=4).eval())
    engine = saa_loading.load_saa(name, folders[0], "cpu")
    assert engine.card.engine_id == name and engine.card.trained and str(dino) in engine.card.weights
    rgb = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    reply = ask(engine, open_image(rgb), Request("look for cracks", mode="direct"))
    assert reply.prediction is not None and reply.prediction.anomaly_map.shape == (60, 80)
    assert reply.text

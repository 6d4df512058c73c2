import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from agvas_core import load_engine
from agvas_core.adapter import (
    BUNDLED,
    LoraOptions,
    adapter_parameters,
    adapter_state,
    add_adapter,
    load_base_of,
    record_of,
    save_adapter,
)
from agvas_core.checkpoint import load_checkpoint
from agvas_core.cli.app import app
from agvas_core.structures import Conversation, MaskReady, Request

run = CliRunner()


@pytest.mark.parametrize("preset", ["onevision-0.5b", "onevision-7b", "llava-13b"])
def test_a_presets_parts_are_printed(preset):
    result = run.invoke(app, ["checkpoint", "inspect", "--preset", preset])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith(f"{preset}: llava-hf/")
    names = ["semantic encoder", "visual projector", "language model", "anchor rows", "pixel encoder", "SPAM"]
    for name in [*names, "Token Refiner", "AGMD", "working memory (estimated)", "sum"]:
        assert sum(line.startswith(f"{name} ") for line in lines) == 1, name
    rows = [line.split()[-3:] for line in lines[2:11]]
    total = [float(v) for v in next(line for line in lines if line.startswith("sum")).split()[-3:]]
    for column in range(3):
        assert sum(float(row[column]) for row in rows) == pytest.approx(total[column], abs=0.06)
    assert "computed, nothing was measured" in result.output


def test_the_tokens_of_an_image_are_printed():
    said = run.invoke(app, ["checkpoint", "inspect", "--preset", "onevision-7b"]).output
    assert "tokens of an image: 1,458: 729 of the base crop, 729 f_align" in said and "anyres" not in said
    said = run.invoke(app, ["checkpoint", "inspect", "--preset", "onevision-7b", "--anyres"]).output
    assert "with its tiles (anyres): 384 x 384 px 2,214, 768 x 768 px 4,428" in said
    refused = run.invoke(app, ["checkpoint", "inspect", "--preset", "llava-13b", "--anyres"])
    assert isinstance(refused.exception, ValueError) and "Only the LLaVA-OneVision" in str(refused.exception)


def test_another_pixel_encoder_is_counted():
    result = run.invoke(app, ["checkpoint", "inspect", "--preset", "onevision-7b", "--pixel", "dinov3-l"])
    assert "pixel encoder dinov3-l: facebook/dinov3-vitl16-pretrain-lvd1689m" in result.output
    assert "303.1" in next(line for line in result.output.splitlines() if line.startswith("pixel encoder"))


@pytest.mark.parametrize(("option", "value"), [("--preset", "mega"), ("--pixel", "hubble")])
def test_unknown_names_are_said(option, value):
    options = {"--preset": "nano"} | {option: value}
    result = run.invoke(app, ["checkpoint", "inspect", *(word for pair in options.items() for word in pair)])
    assert isinstance(result.exception, ValueError)
    assert value in str(result.exception) and "choose one of" in str(result.exception)


# --- folders ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapter(checkpoint, tmp_path_factory):
    """An adapter's folder on the small checkpoint, every weight of it moved."""
    folder = tmp_path_factory.mktemp("adapter")
    model, _ = load_base_of(replace(load_checkpoint(checkpoint)[0].config, base=str(checkpoint)))
    lora = LoraOptions(rank=4)
    add_adapter(model, lora)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in adapter_parameters(model).values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    record = record_of(model, lora, revision="0123456789abcdef", training={"summary": "trained on three nuts"})
    save_adapter(folder, config=model.config, record=record, state=adapter_state(model))
    return folder


def test_an_adapter_is_inspected(adapter, checkpoint):
    text = run.invoke(app, ["checkpoint", "inspect", str(adapter)]).output
    assert "AG-VAS adapter of rank 4 (alpha 32) on q_proj" in text
    assert f"base: {checkpoint}, revision 0123456789ab" in text
    assert "training: trained on three nuts" in text
    parts = {line.split()[0]: int(line.split()[1].replace(",", "")) for line in text.splitlines() if line[:2] == "  "}
    assert parts["anchor_rows"] == 3 * 32
    assert parts["sum"] == sum(v for k, v in parts.items() if k != "sum")
    assert "whole: yes" in text


def test_the_bundled_checkpoint_is_inspected():
    text = run.invoke(app, ["checkpoint", "inspect", str(BUNDLED / "agvas-nano")]).output
    assert "whole AG-VAS checkpoint" in text and "preset: nano" in text and "base: none" in text
    assert "training: trained on" in text
    assert "pixel_encoder" in text and "lmm" in text and "whole: yes" in text


def test_folders_are_verified(adapter, checkpoint, tmp_path):
    for folder in (adapter, checkpoint):
        result = run.invoke(app, ["checkpoint", "verify", str(folder)])
        assert result.exit_code == 0 and "is whole: hashes, names and shapes of" in result.output
        damaged = shutil.copytree(folder, tmp_path / folder.name)
        with next(damaged.glob("*.safetensors")).open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"\x7f")
        result = run.invoke(app, ["checkpoint", "verify", str(damaged)])
        assert isinstance(result.exception, ValueError) and "is damaged: its SHA-256" in str(result.exception)
    assert "whole: NO" in run.invoke(app, ["checkpoint", "inspect", str(tmp_path / checkpoint.name)]).output


def test_a_merged_adapter_answers_as_the_adapter_does(adapter, tmp_path, picture):
    out = tmp_path / "merged"
    result = run.invoke(app, ["checkpoint", "merge", str(adapter), "--out", str(out), "--dtype", "float32"])
    assert result.exit_code == 0, result.output
    assert run.invoke(app, ["checkpoint", "verify", str(out)]).exit_code == 0
    image = picture(3)
    adapted, merged = load_engine(str(adapter)), load_engine(str(out))
    assert adapted.card.trained and adapted.card.weights.startswith("trained on three nuts; an adapter on ")
    assert merged.card.weights == "trained on three nuts"
    assert "LoRA of rank 4" in adapted.card.markdown
    maps = []
    for engine in (adapted, merged):
        request = Request("", image.image_id, "direct")
        events = engine.respond(Conversation().with_image(image), request)
        maps.append(next(e for e in events if isinstance(e, MaskReady)).prediction.anomaly_map)
    assert np.ptp(maps[0]) > 0.01
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-5)


def test_what_cannot_be_merged_is_said(adapter, checkpoint, tmp_path):
    for words, said in (
        ([str(checkpoint), "--out", str(tmp_path / "new")], "is no adapter"),
        ([str(adapter), "--out", str(adapter)], "is not empty"),
        ([str(adapter), "--out", str(tmp_path / "new"), "--dtype", "int3"], "got 'int3'"),
    ):
        result = run.invoke(app, ["checkpoint", "merge", *words])
        assert isinstance(result.exception, ValueError) and said in str(result.exception)


def test_neither_folder_nor_preset_is_said():
    assert "Give a folder, or a preset" in run.invoke(app, ["checkpoint", "inspect"]).output

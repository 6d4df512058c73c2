"""The measurements of quality in bench/ run from end to end with a small model, and their sheets are small enough."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.folders import write_data

BENCH = Path(__file__).resolve().parent.parent / "bench"


@pytest.fixture(scope="module", autouse=True)
def scripts():
    sys.path.insert(0, str(BENCH))
    threads = torch.get_num_threads()
    yield
    sys.path.remove(str(BENCH))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def common(checkpoint, tmp_path_factory):
    """The options for a small model and a small folder."""
    data = tmp_path_factory.mktemp("data")
    write_data(data)
    return ["--engine", str(checkpoint), "--data", str(data), "--synthesis", "2", "--threads", "1", "--limit", "1"]


def test_false_alarms(common, tmp_path, capsys, monkeypatch):
    import false_alarms

    photo = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    monkeypatch.setattr(false_alarms, "photographs", lambda: [false_alarms.open_image(photo, "grass")])
    out = tmp_path / "out.json"
    false_alarms.main([*common, "--crop", "32", "--seen", "--json", str(out)])
    groups = json.loads(out.read_text())["groups"]
    crops = next(v for k, v in groups.items() if k.startswith("grass, crops of 32 px (seen"))
    assert crops["images"] == 4 and any(k.endswith(", good") for k in groups)
    assert "false px/MP" in capsys.readouterr().out


def test_ablations(common, tmp_path, capsys):
    import ablations

    out = str(tmp_path / "out.json")
    ablations.main([*common, "--only", "parts", "--json", out])
    values = ablations.main([*common, "--only", "modes", "--no-data", "--synthesis", "1", "--json", out])
    said = capsys.readouterr().out
    assert "not trained without" in said and "| explain |" in said and "| without SPAM |" in said
    assert list(values["modes"]["held-out synthesis"]) == list(ablations.MODES)


def test_agreement(common, tmp_path, capsys):
    import agreement

    values = agreement.main([*common, "--json", str(tmp_path / "out.json")])
    assert 0 <= values["all"]["everything"] <= 1 and "**all**" in capsys.readouterr().out
    both = [{"normal": True, "place": False}, {"normal": True}]
    assert agreement.rates(both) == {"normal": 1.0, "place": 0.0, "everything": 0.5}


def test_good_examples(common, tmp_path, capsys):
    import good_examples

    options = [*common[: common.index("--limit")], "--draws", "2", "--json", str(tmp_path / "out.json")]
    values = good_examples.main([*options, "--shots", "1,0"])
    said = capsys.readouterr().out
    assert "nut, mean of 2 draws" in said and "| none | " in said and "| 1 | " in said
    assert list(values["nut"]) == ["0", "1"] and set(values["nut"]["0"]) == set(values["nut"]["1"])
    assert values["nut"]["0"] != values["nut"]["1"] and 0 <= values["nut"]["1"]["ap"] <= 1
    assert json.loads((tmp_path / "out.json").read_text())["about"]["shots"] == "1,0"
    assert list(good_examples.main([*options, "--shots", "0,2"])) == ["about"]  # then no good image is left to measure
    assert "nut: 2 good images, too few." in capsys.readouterr().out
    with pytest.raises(SystemExit, match="--data is needed"):
        good_examples.main([*options, "--no-data"])


def test_close_look(common, tmp_path, capsys, monkeypatch):
    import close_look

    monkeypatch.setattr(close_look, "in_own_process", lambda work, *given: work(*given))
    values = close_look.main(
        [*common[:2], "--threads", "1", "--images", "1", "--side", "512", "--json", str(tmp_path / "o.json")]
    )
    ways = values["ways"]
    assert ways["whole image"]["seams"] == [] and len(ways["close look"]["seams"]) == 2
    assert ways["close look"]["seams"][0]["elsewhere"] >= 0
    assert "Seams" in capsys.readouterr().out


def test_failures_fit_into_their_file(common, tmp_path):
    import failures
    from quality_parts.sheet import outlined, with_few_colours, write_sheet

    from agvas_core.drawing import BLUE

    path = failures.main([*common, "--threshold", "0.0", "--out", str(tmp_path), "--json", str(tmp_path / "o.json")])
    with Image.open(path) as sheet:
        assert sheet.width > 300 and path.stat().st_size <= 600_000
    with pytest.raises(ValueError, match="do not fit"):
        write_sheet([], tmp_path / "x.png", "nothing", limit_kb=0)
    speck = np.zeros((600, 600), dtype=bool)
    speck[301, 299] = True  # a single pixel is still outlined on a picture a tenth as large
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8))
    shown = np.asarray(with_few_colours(outlined(noise, speck, BLUE)).convert("RGB"))
    assert (shown == BLUE).all(axis=2).any()  # a rare colour is kept


@pytest.fixture
def learning(common, tokenizer, tmp_path):
    """The options to learn on from a small model."""
    from safetensors.torch import save_file

    from agvas_core.checkpoint import save_checkpoint, token_ids_of
    from agvas_core.modeling.agvas import build_agvas
    from agvas_core.training.dense import AnchorBank
    from agvas_core.training.run import BANK_FILE, training_config

    model = build_agvas(training_config("tiny-test"), token_ids_of(tokenizer))
    start = tmp_path / "start"
    save_checkpoint(model, tokenizer, start, card="", training={})
    save_file(AnchorBank(model.config.decoder.width).state_dict(), start / BANK_FILE)
    small = "--preset tiny-test --steps 1 --batch 1 --sizes 64 --precision no".split()
    out = ["--start-from", str(start), "--run-dir", str(tmp_path / "runs"), "--json", str(tmp_path / "out.json")]
    return [*common, *small, *out]


def test_losses(learning, tmp_path, capsys):
    import losses

    row = "LISA: BCE 2, Dice 0.5"
    values = losses.main([*learning, "--only", row])
    assert set(values["held-out synthesis"]) == {"before", row}
    assert (tmp_path / "runs" / "LISA__BCE_2__Dice_0.5" / "dense" / "state.pt").is_file()
    assert f"| {row} |" in capsys.readouterr().out
    assert losses.LOSSES["paper: BCE 0.5, Dice 2"] == losses.SegLossWeights(0.5, 2.0, hard_bce=0.0)


def test_mixtures(learning, tmp_path, capsys):
    import mixtures

    with pytest.raises(SystemExit, match="give both folders"):
        mixtures.main([*learning, "--textures", str(tmp_path)])
    textures, real = tmp_path / "textures", tmp_path / "real"
    textures.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)).save(textures / "a.png")
    write_data(real)
    values = mixtures.main([*learning, "--textures", str(textures), "--real", str(real)])
    assert set(values["held-out synthesis"]) == {"before", *mixtures.WITHOUT}
    assert len(list((tmp_path / "runs").glob("*/dense/state.pt"))) == 4
    assert "| no labelled defects |" in capsys.readouterr().out


def test_scale(tmp_path, capsys):
    import scale

    log = tmp_path / "run" / "dense" / "log.jsonl"
    log.parent.mkdir(parents=True)
    rows = [{"eval_step": k, "images": 10**k, "F1_max": 10.0 * k} for k in (3, 4, 5)]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = scale.main(["--log", f"made={log}", "--fit", "made", "--out", str(tmp_path)])
    assert values["images_for_bar"][0] == pytest.approx(1e6, rel=1e-3) and "1e+06" in capsys.readouterr().out
    assert json.loads((tmp_path / "scale.json").read_text())["fit"]["points"] == 3
    with Image.open(tmp_path / "scale.png") as picture:
        assert picture.width == 1400
    assert scale.log_of("runs/next/dense/log.jsonl@95,268") == ("next/dense", "runs/next/dense/log.jsonl", 95268)
    with pytest.raises(SystemExit, match="no series other"):
        scale.main(["--fit", "other", "--out", str(tmp_path)])

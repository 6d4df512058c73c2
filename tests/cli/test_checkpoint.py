import pytest
from typer.testing import CliRunner

from agvas_core.cli.app import app

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

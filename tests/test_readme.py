"""The README's sections about the large models: every command in them is run at a tiny size."""

import importlib.util
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import demo
from agvas_core import config
from agvas_core.adapter import verify_adapter
from agvas_core.cli.app import app
from tests.bases import tiny_base_config
from tests.test_docs import shrunk
from tests.training.folders import write_data

TEXT = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SECTIONS = ["Run the 7B", "Train on your own data"]


def commands(section: str) -> list[str]:
    """Return the commands of a section, as they are written there."""
    body = TEXT.split(f"### {section}\n")[1].split("\n#")[0]
    return [line for block in re.findall(r"```bash\n(.*?)```", body, re.S) for line in block.splitlines()]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with labelled images, where the presets are tiny; what the page was opened with is noted."""
    write_data(tmp_path / "parts")
    write_data(tmp_path / "parts-held-out")
    Image.fromarray(np.full((40, 90, 3), 128, np.uint8)).save(tmp_path / "part.png")
    monkeypatch.chdir(tmp_path)
    for preset in ("onevision-0.5b", "onevision-7b"):
        tiny = tiny_base_config(tmp_path / "hub" / preset, "onevision", "sam")
        monkeypatch.setitem(config.PRESETS, preset, replace(tiny, preset=preset))
    opened = []
    monkeypatch.setattr(demo, "launch", lambda desk, **more: opened.append(desk.default))
    return opened


@pytest.mark.parametrize("section", SECTIONS)
def test_the_sections_commands_work(place, section):
    served = commands(section)
    assert len(served) == 4 and served[0].startswith(".venv/bin/pip install -e '.[")
    said = []
    for command in served[1:]:
        assert command.startswith(".venv/bin/agvas ")
        words = shrunk(shlex.join(shlex.split(command, comments=True)))
        if importlib.util.find_spec("bitsandbytes") is None and words[0] == "predict":
            words = [word.removesuffix("+nf4") for word in words]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (command, result.output, result.exception)
        said.append(result.output)
    if section == SECTIONS[0]:
        assert "tokens of an image" in said[0] and place == ["onevision-7b+nf4"]
        assert "UNTRAINED" in said[2]
    else:
        assert len(verify_adapter(Path("runs/parts/adapter"))[2]) > 50
        assert "IoU_nor" in said[1] and place == ["runs/parts/adapter"]


def test_the_numbers_are_those_that_the_command_prints():
    for preset, column, number in (
        ("onevision-7b", -2, "8.9"),
        ("onevision-7b", -3, "17.9"),
        ("onevision-0.5b", -1, "4.7"),
    ):
        said = CliRunner().invoke(app, ["checkpoint", "inspect", "--preset", preset]).output
        total = next(line for line in said.splitlines() if line.startswith("sum")).split()
        assert f"{float(total[column]):.1f}" == number and f"{number} GiB" in TEXT

"""The README: what it says of the large models is run at a tiny size; what it and the measurements name is there."""

import importlib.util
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import demo
from agvas_core import config
from agvas_core.adapter import verify_adapter
from agvas_core.cli.app import app
from agvas_core.modeling.anomaly_ov import SUSPICION_WORDS
from demo.desk import EngineDesk
from tests.bases import tiny_base_config
from tests.fake_app import write_examples
from tests.fakes import FakeEngine
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


# --- REST and Python: the blocks are run -----------------------------------------------------------------------------

SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.S)


def snippet(words: str, written: str, replaced: str) -> str:
    """Return the one Python block with these words, with one thing in it replaced."""
    found = [block for block in SNIPPETS if words in block]
    assert len(found) == 1 and written in found[0]
    return found[0].replace(written, replaced)


def test_no_python_block_is_left_out():
    """Nothing ran them, so they could have drifted from the code."""
    assert len(SNIPPETS) == 2


def test_the_rest_block_works_as_it_is_written(tmp_path, monkeypatch, capsys):
    pytest.importorskip("gradio_client")
    monkeypatch.chdir(ROOT)
    desk = EngineDesk(["fake", "saa+"], lambda _: FakeEngine(pause_s=0.0))
    url = demo.launch(desk, host="127.0.0.1", quiet=True, block=False, examples_folder=write_examples(tmp_path))
    names: dict[str, Any] = {}
    exec(snippet("gradio_client", "http://127.0.0.1:7860", url), names)
    answer = names["answer"]
    assert answer["engine"] == "fake" and answer["verdict"] in ("anomaly", "normal") and answer["mode"] == "direct"
    assert f"{answer['verdict']} {answer['score']}" in capsys.readouterr().out
    assert Image.open(answer["mask"]).size == Image.open("assets/examples/hex-nut.jpg").size


def test_the_python_block_works_as_it_is_written(checkpoint, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    exec(snippet("load_engine", '"agvas-nano"', repr(str(checkpoint))), {})
    said = capsys.readouterr().out
    assert said.index("Stage(") < said.index("MaskReady(") < said.index("Done(") and "mode='explain'" in said


# --- all of it: what it names is there -------------------------------------------------------------------------------

ROOT = Path(__file__).parent.parent
MEASURED = (ROOT / "docs" / "measurements.md").read_text(encoding="utf-8")
BLOCKS = [line for block in re.findall(r"```bash\n(.*?)```", TEXT + MEASURED, re.S) for line in block.splitlines()]
INLINE = re.findall(r"`((?:\.venv/bin/)?(?:agvas|make|python|bench/\w+\.py) ?[^`]*)`", TEXT + MEASURED)


def misspelt(line: str) -> list[str]:
    """Return what a command line of the README names that is not there: a command, a target, a script, an option."""
    words = [w.removeprefix(".venv/bin/") for w in shlex.split(line, comments=True)]
    if words[:1] == ["make"]:
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
        return [w for w in words[1:2] if w not in targets]
    if words[:1] == ["agvas"]:
        command, rest = typer.main.get_command(app), words[1:]
        while rest and hasattr(command, "commands"):
            if rest[0] not in command.commands:
                return rest[:1]
            command, rest = command.commands[rest[0]], rest[1:]
        known = {name for parameter in command.params for name in parameter.opts}
    else:
        script = next((ROOT / w for w in words if w.endswith(".py")), None)
        if script is None or not script.is_file():
            return [str(script)] if script else []
        sources = [script, *(ROOT / "bench").glob("*_parts/*.py")]
        known = set(re.findall(r'"(--[\w-]+)"', "".join(s.read_text(encoding="utf-8") for s in sources)))
        rest = words
    return [w for w in rest if w.startswith("--") and w not in known]


@pytest.mark.parametrize("line", dict.fromkeys(line for line in BLOCKS + INLINE if "pip install" not in line))
def test_every_command_and_option_is_there(line):
    assert misspelt(line) == []


def test_a_misspelt_command_is_seen():
    wrong = ("make dmeo", "agvas predct x", "agvas predict x --moed direct", "python bench/none.py")
    assert all(misspelt(line) for line in (*wrong, "python bench/latency.py --fast"))


def test_every_file_that_is_linked_or_asked_about_is_there():
    both = TEXT + MEASURED.replace("](../", "](")
    linked = [path for path in re.findall(r"\]\(([^)#]+)", both) if not path.startswith("http")]
    asked = re.findall(
        r"\b(?:assets|checkpoints)/[\w./-]*\w", "\n".join(BLOCKS + re.findall(r'"(assets/[^"]+)"', TEXT))
    )
    made = {"checkpoints/mine"}
    assert len(linked) > 8 and len(asked) > 3
    assert [path for path in {*linked, *asked} - made if not (ROOT / path).exists()] == []


def test_who_says_how_suspicious_an_image_looks_is_told_in_the_engines_row():
    row = next(line for line in TEXT.splitlines() if line.startswith("| `anomaly-ov-nano` |"))
    assert all(word in row for word in SUSPICION_WORDS) and ":second-opinion" in row


@pytest.mark.parametrize(
    ("file", "departures"),
    [
        ("modeling/agmd.py", ("LayerNorm", "stride 2", "a bias", "use_seg=False")),
        ("modeling/two_way_transformer.py", ("last look",)),
        ("modeling/lmm.py", ("frozen",)),
        ("training/trainer.py", ("WarmupDecayLR",)),
        ("training/dense.py", ("Side heads",)),
        ("training/joint.py", ("LoRA",)),
    ],
)
def test_where_we_differ_from_the_paper_the_code_says_so(file, departures):
    """The README promised it, and several departures stood there without a word."""
    said = (ROOT / "agvas_core" / file).read_text(encoding="utf-8").split("Paper differs:")[1:]
    assert all(any(words in text[:400] for text in said) for words in departures)

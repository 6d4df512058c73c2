"""Every command of docs/training.md is run at a tiny size: the same words, with smaller numbers and bases."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from agvas_core import adapter, config
from agvas_core.adapter import verify_adapter
from agvas_core.checkpoint import verify_checkpoint
from agvas_core.cli.app import app
from tests.bases import tiny_base_config
from tests.training.folders import write_data

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
SMALLER = {"--steps": "1", "--sizes": "64", "--accumulate": "1", "--workers": "0", "--batch": "1", "--shots": "1"}


def shrunk(command: str) -> list[str]:
    """Return an `agvas` command's words with the smaller numbers."""
    words = shlex.split(command)[1:]
    words = [SMALLER.get(words[i - 1], word) if i else word for i, word in enumerate(words)]
    if words[0] == "train":
        words += ["--precision", "no", "--threads", "1"]
        words += [] if "--workers" in words else ["--workers", "0"]
        words += [] if "--sizes" in words else ["--sizes", "64"]
    return words


@pytest.fixture(scope="module")
def place(tmp_path_factory, checkpoint):
    """A working folder with labelled images, where presets and bundled models are tiny ones."""
    folder = tmp_path_factory.mktemp("docs")
    write_data(folder / "parts")
    write_data(folder / "parts-held-out")
    (folder / "bundled").mkdir()
    (folder / "bundled" / "agvas-nano").symlink_to(checkpoint)
    base = tiny_base_config(folder / "hub", "onevision", "sam")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(adapter, "BUNDLED", folder / "bundled")
        patch.setitem(config.PRESETS, "onevision-0.5b", base)
        patch.setitem(config.PRESETS, "onevision-7b", base)
        yield folder


def test_the_documents_commands_work(place):
    served = []
    for command in COMMANDS:
        if not command.startswith("agvas ") or command.startswith("agvas demo"):
            served += [command]
            continue
        result = CliRunner().invoke(app, shrunk(command))
        assert result.exit_code == 0, (command, result.output, result.exception)
        if command.startswith("agvas evaluate"):
            assert "IoU_nor" in result.output, command
    assert len(verify_adapter(Path("runs/parts/adapter"))[2]) > 50
    assert len(verify_checkpoint(Path("runs/parts-05b/whole"))) > 50
    assert [command.split()[0] for command in served] == ["agvas", "pip", "accelerate"]


def test_the_command_for_several_gpus_names_a_configuration_and_a_module():
    words = shlex.split(next(c for c in COMMANDS if c.startswith("accelerate launch")))
    configured = yaml.safe_load((ROOT / words[words.index("--config_file") + 1]).read_text())
    assert configured["distributed_type"] == "FSDP"
    assert (ROOT / words[words.index("-m") + 1].replace(".", "/")).with_suffix(".py").is_file()
    inner = words[words.index("-m") + 2 :]
    assert CliRunner().invoke(app, [inner[0], "--help"]).exit_code == 0
    help_text = re.sub(r"\s", "", CliRunner().invoke(app, [inner[0], "--help"], terminal_width=300).output)
    assert all(word in help_text for word in inner if word.startswith("--"))


def test_the_configurations_of_the_document_are_there():
    named = set(re.findall(r"`(\w+\.yaml)`", TEXT))
    assert named == {path.name for path in (ROOT / "agvas_core" / "training" / "accelerate").glob("*.yaml")}

"""Two processes on CPUs do what one does: the same batches, the same losses, states that either goes on from."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file

import agvas_core.training
from agvas_core.training.adapt import train_adapter
from tests.training.folders import write_data
from tests.training.launched import options_of

ROOT = Path(__file__).parents[2]
CONFIGS = Path(agvas_core.training.__file__).parent / "accelerate"
LR = 1e-3
A_MOMENT = 1e-9  # minutes: a run stops after its first step


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A few labelled images in MVTec layout."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def one(checkpoint, data, tmp_path_factory):
    """The folder of a run of two steps by one process, each of two batches."""
    folder = tmp_path_factory.mktemp("one")
    train_adapter(options_of(checkpoint, data, folder, steps=2, accumulate=2))
    return folder


def launch(config: str, *words: object) -> str:
    """Run launched.py by accelerate on two processes without a GPU, and return what it prints."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", CONFIGS / f"{config}.yaml"]
    command += ["--mixed_precision", "no", "--main_process_port", "0", "tests/training/launched.py"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    alone = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path, "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(
        [*map(str, command), *map(str, words)],
        cwd=ROOT, env=os.environ | alone, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def last_losses(folder: Path) -> dict[str, float]:
    row = json.loads((folder / "adapt" / "log.jsonl").read_text().splitlines()[-1])
    return {name: value for name, value in row.items() if name != "seconds"}


def furthest(a: Path, b: Path, leave_out: str = "/") -> float:
    """Return the largest difference of two runs' adapters, but for names that end in leave_out."""
    ours, theirs = (load_file(folder / "adapter" / "adapter.safetensors") for folder in (a, b))
    assert ours.keys() == theirs.keys()
    names = [name for name in ours if not name.endswith(leave_out)]
    return max(float((ours[name] - theirs[name]).abs().max()) for name in names)


def assert_same_training(a: Path, b: Path) -> None:
    """Fail unless both ended at the same step with the same moments of Adam, their weights at most one step apart.

    The moments say whether the gradients were the same. Weights do not: where a gradient is almost nothing, Adam
    makes of a sum's rounding a share of its step.
    """
    ours, theirs = (torch.load(folder / "adapt" / "state.pt", weights_only=True) for folder in (a, b))
    assert ours["step"] == theirs["step"] == 2
    assert ours["optimizer"]["state"].keys() == theirs["optimizer"]["state"].keys()
    for name, moments in theirs["optimizer"]["state"].items():
        for kind, value in moments.items():
            torch.testing.assert_close(ours["optimizer"]["state"][name][kind], value, rtol=1e-3, atol=1e-7)
    assert furthest(a, b) < LR


def test_two_processes_train_as_one_does(checkpoint, data, one, tmp_path):
    said = launch("ddp", checkpoint, data, tmp_path, 2, 1)
    assert said.count("MULTI_CPU") == said.count("DistributedDataParallel") == 2
    ours, theirs = last_losses(tmp_path), last_losses(one)
    assert ours["images"] == theirs["images"] == 8
    assert ours == pytest.approx(theirs, abs=2e-5)
    assert_same_training(tmp_path, one)


def test_fsdp_goes_on_from_one_process_and_ends_as_it_does(checkpoint, data, one, tmp_path):
    train_adapter(options_of(checkpoint, data, tmp_path, steps=2, accumulate=2, minutes=A_MOMENT))
    assert torch.load(tmp_path / "adapt" / "state.pt", weights_only=True)["step"] == 1
    said = launch("fsdp", checkpoint, data, tmp_path, 2, 1)
    assert said.count("FSDPAdaptTask") == 2
    assert last_losses(tmp_path) == pytest.approx(last_losses(one), abs=2e-5)
    assert_same_training(tmp_path, one)


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is not installed")
@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_trains_as_one_process_does_and_goes_on(checkpoint, data, tmp_path, stage):
    """Some of the batches have no defect, some no placeholder; one has a kind that the region reader knows."""
    one, two = tmp_path / "one", tmp_path / "two"
    train_adapter(options_of(checkpoint, data, one, steps=4, accumulate=2))
    launch(f"zero{stage}", checkpoint, data, two, 4, 1, A_MOMENT)
    assert (two / "adapt" / "deepspeed-1").is_dir()
    launch(f"zero{stage}", checkpoint, data, two, 4, 1)  # ZeRO-3 goes by the first step's calls from then on
    assert not (two / "adapt" / "deepspeed-1").exists()
    assert last_losses(two) == pytest.approx(last_losses(one), abs=2e-5)
    # a key's bias changes no attention: its gradient is rounding, of which Adam makes steps
    assert furthest(two, one, leave_out=".k.bias") < 0.02 * LR
    assert furthest(two, one) < LR


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeeds_settings_are_known_to_accelerate(stage):
    config = load_config_from_file(str(CONFIGS / f"zero{stage}.yaml"))
    assert config.distributed_type.value == "DEEPSPEED" and config.deepspeed_config["zero_stage"] == stage


def test_every_configuration_is_whole():
    names = {path.stem: yaml.safe_load(path.read_text()) for path in CONFIGS.glob("*.yaml")}
    assert names.keys() == {"ddp", "fsdp", "zero2", "zero3"}
    assert {config["mixed_precision"] for config in names.values()} == {"bf16"}

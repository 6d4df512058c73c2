"""bench/train_larger.py: what it asks of `agvas train` is understood there, and what it packs comes out whole."""

import tarfile
from pathlib import Path

import pytest
import torch
import typer

from agvas_core.cli.app import app

BENCH = Path(__file__).resolve().parent.parent / "bench"


@pytest.fixture
def larger(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import train_larger

    return train_larger


@pytest.fixture
def commands(larger, monkeypatch):
    """The commands that would have run; each is parsed by `agvas` itself, which refuses an unknown option."""
    asked = []
    group = typer.main.get_command(app)

    def parse(command, check):
        assert check and command[1:4] == ["-m", "agvas_core.cli.app", "train"]
        asked.append(group.commands["train"].make_context("train", list(command[4:])).params)

    monkeypatch.setattr(larger.subprocess, "run", parse)
    return asked


def _save(run_dir, stage, step):
    (run_dir / stage).mkdir(parents=True)
    torch.save({"step": step}, run_dir / stage / "state.pt")


def test_stages_come_in_their_order_and_none_twice(larger, commands, tmp_path):
    args = larger.parse(["--run-dir", str(tmp_path), "--real", "photos", "--workers", "3"])
    assert larger.train(args, 5.0) == "dense"
    _save(tmp_path, "dense", 5999)
    assert larger.train(args, 5.0) == "dense"  # one step is missing
    torch.save({"step": 6000}, tmp_path / "dense" / "state.pt")
    _save(tmp_path, "words", 3000)
    assert larger.train(args, 2.5) == "joint"
    _save(tmp_path, "joint", 3000)
    assert larger.train(args, 5.0) is None
    assert [c["stage"] for c in commands] == ["dense", "dense", "joint"]
    assert (commands[0]["batch"], commands[0]["crowded"], commands[0]["real"]) == (128, True, Path("photos"))
    assert (commands[2]["freeze_pixel"], commands[2]["minutes"], commands[2]["workers"]) == (True, 2.5, 3)


def test_the_checkpoint_comes_out_of_its_pieces_whole(larger, commands, tmp_path, monkeypatch):
    monkeypatch.setattr("carry_run.PIECE_BYTES", 20_000)
    args = larger.parse(
        ["--preset", "tiny-test", "--run-dir", str(tmp_path), "--out", str(tmp_path / "out"), "--small"]
    )
    args.out.mkdir()
    folder = tmp_path / "agvas-tiny-test"
    folder.mkdir()
    weights = torch.randn(12_000)
    torch.save(weights, folder / "weights.pt")
    parts = larger.export(args)
    assert commands[0]["stage"] == "export" and len(parts) > 2
    whole = tmp_path / "whole.tar"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    with tarfile.open(whole) as tar:
        tar.extractall(tmp_path / "again", filter="data")
    assert torch.equal(torch.load(tmp_path / "again" / folder.name / "weights.pt", weights_only=True), weights)

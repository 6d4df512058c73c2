"""The costs of a stage, counted before they are paid."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from agvas_core.training import run
from agvas_core.training.budget import costs, stage_budget
from agvas_core.training.run import RunOptions
from agvas_core.training.sources import SourceOptions
from agvas_core.training.trainer import TrainOptions


class Two(nn.Module):
    """Two linear layers, one of them four times as dear."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Linear(8, 8, bias=False), nn.Linear(8, 32, bias=False)

    def forward(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"one": self.large(self.small(batch)).sum()}


def test_operations_are_those_of_the_products_both_ways():
    small, large = 2 * 8 * 8, 2 * 8 * 32  # a row forward; to its weights the same, to what came before it too
    rows = costs(Two(), torch.ones(6, 8), images=6)
    assert [row.part for row in rows] == ["large", "small", "all"]
    assert [row.parameters for row in rows] == [256, 64, 320]
    expected = (3 * large / 1e9, 2 * small / 1e9, (3 * large + 2 * small) / 1e9)
    assert [row.gflop for row in rows] == pytest.approx(expected)


@pytest.mark.parametrize("stage", ["dense", "joint"])
def test_each_part_of_a_stage_is_counted(stage, tokenizer, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(run, "build_tokenizer", lambda: tokenizer)
    source = SourceOptions(sizes_px=(32, 64), normal_share=0.0)
    options = RunOptions("tiny-test", tmp_path, 2, 0, source, TrainOptions(steps=1))
    rows = {row.part: row for row in stage_budget(options, stage)}
    assert rows["pixel_encoder"].gflop > 0 and rows["agmd"].gflop > 0
    assert stage == "dense" or rows["lmm"].gflop > 0  # its parts are called without itself
    assert rows["all"].gflop >= sum(row.gflop for name, row in rows.items() if name != "all") * 0.999
    with pytest.raises(ValueError, match="sees no images"):
        stage_budget(options, "words")

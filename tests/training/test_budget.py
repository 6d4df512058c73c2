"""The costs of a stage, counted before they are paid."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from agvas_core.training import run
from agvas_core.training.budget import BOTH_WAYS, costs, stage_budget
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


def test_operations_are_those_of_the_products():
    small, large = 2 * 8 * 8, 2 * 8 * 32  # a row forward; as many to its weights, and to what came before it
    rows = costs(Two(), torch.ones(6, 8), images=6)
    assert [row.part for row in rows] == ["large", "small", BOTH_WAYS]
    assert [row.parameters for row in rows] == [256, 64, 320]
    assert [row.gflop for row in rows] == pytest.approx([large / 1e9, small / 1e9, (3 * large + 2 * small) / 1e9])


@pytest.mark.parametrize(
    ("stage", "parts"), [("dense", {"pixel_encoder", "agmd"}), ("joint", {"pixel_encoder", "lmm"})]
)
def test_the_parts_of_a_stage_are_counted(stage, parts, tokenizer, monkeypatch, tmp_path: Path):
    """The language model's parts are called without itself."""
    monkeypatch.setattr(run, "build_tokenizer", lambda: tokenizer)
    source = SourceOptions(sizes_px=(32, 64), normal_share=0.0)
    options = RunOptions("tiny-test", tmp_path, 2, 0, source, TrainOptions(steps=1))
    *rows, everything = stage_budget(options, stage)
    assert parts <= {row.part for row in rows if row.gflop > 0}
    assert 1.5 < everything.gflop / sum(row.gflop for row in rows) < 4
    with pytest.raises(ValueError, match="sees no images"):
        stage_budget(options, "words")

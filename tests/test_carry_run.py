"""bench/carry_run.py: what is carried to a machine and back is what it was, only smaller."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agvas_core.training.trainer import LOG_FILE, STATE_FILE

BENCH = Path(__file__).resolve().parent.parent / "bench"


@pytest.fixture
def carry(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import carry_run

    return carry_run


def test_a_stage_comes_back_as_its_averages(carry, tmp_path, monkeypatch):
    weights = {"agmd.w": torch.randn(64, 64), "agmd.n": torch.tensor([3])}
    state = {"average": weights, "task": weights, "optimizer": {}, "step": 7, "images_seen": 90, "seconds": 5.5}
    there = tmp_path / "there" / "dense"
    there.mkdir(parents=True)
    torch.save(state, there / STATE_FILE)
    (there / LOG_FILE).write_text("{}\n")
    monkeypatch.setattr(carry, "PIECE_BYTES", 3000)
    pieces = carry.pack(tmp_path / "there", tmp_path / "out")
    assert len(pieces) > 2 and all(p.stat().st_size <= 3000 for p in pieces)
    assert carry.unpack(tmp_path / "out", tmp_path / "here") == 7
    back = torch.load(tmp_path / "here" / "dense" / STATE_FILE, weights_only=True)
    assert (back["images_seen"], back["seconds"]) == (90, 5.5)
    assert back["average"]["agmd.w"].dtype == torch.float32
    assert torch.equal(back["average"]["agmd.w"], weights["agmd.w"].half().float())
    assert torch.equal(back["average"]["agmd.n"], weights["agmd.n"])
    assert (tmp_path / "here" / "dense" / LOG_FILE).read_text() == "{}\n"


def test_photographs_shrink_and_masks_stay_masks(carry, tmp_path):
    photo, mask = tmp_path / "data" / "test" / "a.jpg", tmp_path / "data" / "ground_truth" / "a_mask.png"
    for path in (photo, mask):
        path.parent.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (400, 800, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photo, quality=95)
    drawn = np.zeros((400, 800), np.uint8)
    drawn[100:200, 300:500] = 255
    Image.fromarray(drawn).save(mask)
    (tmp_path / "data" / "MANIFEST.csv").write_text("file\n")
    size = carry.shrink(tmp_path / "data", tmp_path / "small")
    assert size < sum(p.stat().st_size for p in (photo, mask))
    with Image.open(tmp_path / "small" / "test" / "a.jpg") as small:
        assert small.size == (512, 256)
    with Image.open(tmp_path / "small" / "ground_truth" / "a_mask.png") as small:
        values = np.asarray(small)
    assert values.shape == (256, 512) and set(np.unique(values)) == {0, 255}
    assert abs((values > 0).mean() - (drawn > 0).mean()) < 0.005
    assert (tmp_path / "small" / "MANIFEST.csv").read_text() == "file\n"

"""The protocol walks a folder, saves maps by their places, and the report keeps what is missing apart from zero."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from agvas_core.evaluation.protocol import evaluate_folder
from agvas_core.evaluation.report import comparison_table, markdown_table, saa_table, to_json
from agvas_core.evaluation.saa_protocol import SAAMeter
from agvas_core.regions import make_prediction


def _bright(image):
    p = image.rgb[..., 0].astype(np.float32) / 255
    return make_prediction(image_id=image.image_id, p_seg=p, p_nor=1 - p, p_ano=p)


@pytest.fixture
def folder(tmp_path):
    spot = np.zeros((16, 16), np.uint8)
    spot[4:8, 4:8] = 255
    for category in ("a", "b"):
        for i in range(3):
            files = {"test/hole": (f"{i}.png", spot), "ground_truth/hole": (f"{i}_mask.png", spot)}
            if category == "a":
                files["test/good"] = (f"{i}.png", np.zeros_like(spot))
            for place, (name, array) in files.items():
                path = tmp_path / "set" / category / place / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    return tmp_path / "set"


def test_a_perfect_model_is_perfect(folder, tmp_path):
    first, second = evaluate_folder(_bright, folder, save_maps=tmp_path / "maps")
    assert (first.category, first.metrics.normal_images, first.metrics.anomalous_images) == ("a", 3, 3)
    assert first.metrics.ap == first.metrics.f1_max == first.metrics.iou_ano == first.metrics.iou_nor == 1.0
    assert np.isnan(second.metrics.iou_nor) and np.isnan(second.metrics.auroc)
    saved = np.load(tmp_path / "maps" / "a" / "test" / "hole" / "1.npy")
    assert saved.shape == (16, 16) and saved.dtype == np.float32 and saved.max() == 1.0
    assert len(list((tmp_path / "maps").rglob("*.npy"))) == 9


def test_limit_takes_so_many_of_each_kind(folder):
    seen = []
    first, second = evaluate_folder(_bright, folder, limit=2, progress=lambda i, n, s: seen.append((i, n)))
    assert (first.metrics.normal_images, first.metrics.anomalous_images) == (2, 2)
    assert second.metrics.anomalous_images == 2
    assert seen == [(i, 6) for i in range(6)]
    with pytest.raises(ValueError, match="limit must be at least 1"):
        evaluate_folder(_bright, folder, limit=0)


def test_report_has_a_mean_row_and_dashes_for_what_does_not_exist(folder):
    results = evaluate_folder(_bright, folder)
    lines = markdown_table(results).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| a | 3 | 3 | 100.0 |")
    assert " - " in lines[3] and lines[4].startswith("| **mean** | 3 | 6 |")
    report = json.loads(json.dumps(to_json(results, {"engine": "x"}), allow_nan=False))
    assert report["categories"][1]["iou_nor"] is None and report["mean"]["iou_nor"] == 1.0
    assert report["about"] == {"engine": "x"}


def test_engines_stand_side_by_side(folder):
    watched = []
    good = evaluate_folder(_bright, folder, watch=lambda s, p, gt: watched.append((s.category, p.verdict, gt.any())))
    assert len(watched) == 9 and watched[0][0] == "a" and {w[1] == "anomaly" for w in watched if w[2]} == {True}
    table = comparison_table({"one": good, "two": good[:1]}).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    assert [row[:2] for row in cells[2:]] == [
        ["a", "one"], ["a", "two"], ["b", "one"], ["**mean**", "one"], ["**mean**", "two"],
    ]  # fmt: skip
    assert len({len(row) for row in cells}) == 1 and cells[0][-1] == "s/image"


def test_the_table_of_saas_protocol():
    meter = SAAMeter()
    meter.update(np.zeros((8, 8)), np.zeros((8, 8), bool))
    assert "| tile | saa | 1 | - | - |" in saa_table({"saa": {"tile": meter.compute()}})

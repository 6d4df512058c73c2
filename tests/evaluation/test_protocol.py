"""The protocol walks a folder, saves maps by their places, and the report keeps what is missing apart from zero."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from agvas_core.evaluation.protocol import evaluate_folder, take_shots
from agvas_core.evaluation.report import comparison_table, markdown_table, saa_table, to_json
from agvas_core.evaluation.saa_protocol import SAAMeter
from agvas_core.processing import open_image
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


def _comparing(seen):
    """Return a model that notes each image with the names of the good examples that come with it."""

    def predict(image, good=()):
        seen.append((image.name, [example.name for example in good]))
        return _bright(image)

    return predict


def _good(folder, place, *names):
    for name in names:
        path = folder / place / "good" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((16, 16), np.uint8)).save(path)


def test_shots_are_taken_from_train_good_where_it_is_there(folder):
    _good(folder / "a", "train", *"pqrstu")
    _good(folder / "b", "test", *"xyz")
    taken = take_shots(folder, 3)
    assert [s.image_path.relative_to(folder).as_posix() for s in taken["a"]] == [
        "a/train/good/p.png", "a/train/good/r.png", "a/train/good/t.png",
    ]  # fmt: skip
    assert [s.image_path.relative_to(folder).as_posix() for s in taken["b"]] == [
        "b/test/good/x.png", "b/test/good/y.png", "b/test/good/z.png",
    ]  # fmt: skip
    assert take_shots(folder / "a", 1)["a"][0].image_path.stem == "p" and take_shots(folder, 0) == {}


def test_images_that_others_are_compared_with_are_not_measured(folder):
    _good(folder / "b", "train", *"xy")
    seen = []
    first, second = evaluate_folder(_comparing(seen), folder, shots=2, progress=lambda i, n, s: seen.append((i, n)))
    assert (first.metrics.normal_images, first.metrics.anomalous_images) == (1, 3)
    assert (second.metrics.normal_images, second.metrics.anomalous_images) == (0, 3)
    assert [s for s in seen if isinstance(s[0], int)] == [(i, 7) for i in range(7)]
    beside = [s for s in seen if isinstance(s[0], str)]
    assert beside == [("2.png", ["0.png", "1.png"])] + [(f"{i}.png", ["0.png", "1.png"]) for i in range(3)] + [
        (f"{i}.png", ["x.png", "y.png"]) for i in range(3)
    ]


def test_limit_counts_the_images_that_are_left(folder):
    _good(folder / "b", "train", "x")
    first, _ = evaluate_folder(_comparing([]), folder, shots=1, limit=2)
    assert (first.metrics.normal_images, first.metrics.anomalous_images) == (2, 2)


def test_given_good_images_come_before_the_shots_and_without_any_a_model_is_asked_as_before(folder):
    _good(folder / "b", "train", "x")
    seen = []
    own = [open_image(np.zeros((4, 4, 3), np.uint8), name="own")]
    evaluate_folder(_comparing(seen), folder, good=own, shots=1)
    assert [good for _, good in seen] == [["own", "0.png"]] * 5 + [["own", "x.png"]] * 3
    evaluate_folder(_bright, folder)  # which takes no good ones


def test_a_category_with_too_few_good_images_is_named(folder):
    with pytest.raises(ValueError, match="^b has 0 good images, and 1 are to be compared with.$"):
        take_shots(folder, 1)
    _good(folder / "a", "train", "p")
    with pytest.raises(ValueError, match="^a has 1 good images, and 2 are to be compared with.$"):
        evaluate_folder(_comparing([]), folder / "a", shots=2)  # test/good has more, but is there to be measured


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

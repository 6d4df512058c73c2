"""Files about predictions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from agvas_core import writers
from agvas_core.regions import make_prediction
from tests.fakes import CARD


@pytest.fixture
def prediction():
    """Two squares, 40 x 40 and 10 x 10, on 200 x 300."""
    found = np.zeros((200, 300), np.float32)
    found[20:60, 30:70] = 0.9
    found[150:160, 250:260] = 0.7
    return make_prediction(image_id="x", p_seg=found, p_nor=1 - found, p_ano=found)


def test_facts_are_complete_json(tmp_path, prediction):
    facts = writers.verdict_facts(prediction, CARD, "direct", "part.png")
    path = tmp_path / "regions.json"
    writers.facts_json(facts, path)
    back = json.loads(path.read_text())
    wanted = {"verdict", "score", "threshold", "alpha", "regions", "engine", "mode", "weights"}
    assert wanted <= back.keys() and len(back["regions"]) == 2
    assert back["regions"][0]["area_px"] == 1600 and back["regions"][0]["box_xyxy"] == [30, 20, 70, 60]


def test_a_reply_is_written_whole_and_without_a_mask_only_its_facts(tmp_path, prediction):
    facts = writers.verdict_facts(prediction, CARD, "direct", "part.png")
    rgb = np.full((200, 300, 3), 90, np.uint8)
    writers.write_reply(tmp_path / "a" / "b", rgb, prediction, facts)
    assert {p.name for p in (tmp_path / "a" / "b").iterdir()} == {"mask.png", "map.png", "overlay.png", "regions.json"}
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a" / "b" / "mask.png")) > 0, prediction.pred_mask)
    deep = np.asarray(Image.open(tmp_path / "a" / "b" / "map.png")) / 65535
    np.testing.assert_allclose(deep, prediction.anomaly_map, atol=1e-5)
    writers.write_reply(tmp_path / "c", rgb, None, {"verdict": None})
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["regions.json"]

"""Files about predictions."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from agvas_core import writers
from agvas_core.regions import make_prediction
from agvas_core.scale import Scale
from demo.desk import EngineDesk
from demo.rest import build_segment
from demo.session import FileStore
from tests.demo.pictures import spotted
from tests.fakes import CARD, FakeEngine


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


def test_regions_are_measured_in_px_and_by_a_scale_in_millimeters(prediction):
    plain = writers.verdict_facts(prediction, CARD, "direct")["regions"][1]
    assert (plain["length_px"], plain["width_px"]) == (14.14, 10.0) and "length_mm" not in plain
    facts = writers.verdict_facts(prediction, CARD, "direct", scale=Scale(0.05))
    small = facts["regions"][1]
    assert facts["mm_per_px"] == 0.05
    assert (small["length_mm"], small["width_mm"], small["area_mm2"]) == pytest.approx((0.7071, 0.5, 0.25), abs=1e-4)


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


def test_pictures_of_an_earlier_reply_do_not_stay_beside_a_new_one(tmp_path, prediction):
    """A reply in words alone was written beside the mask of the reply before it, which then looked like its own."""
    rgb = np.full((200, 300, 3), 90, np.uint8)
    facts = writers.verdict_facts(prediction, CARD, "direct", "part.png")

    def written(reply, **other):
        writers.write_reply(tmp_path, rgb, reply, facts | other)
        return {p.name for p in tmp_path.iterdir()}

    (tmp_path / "mask.png").write_bytes(b"the user's own")
    assert written(None) == {"regions.json", "mask.png"}  # no reply had been written here
    (tmp_path / "notes.png").touch()
    assert written(prediction) == {"notes.png", "regions.json", *writers.PICTURES}
    assert written(prediction, heat_map_only=True) == {"notes.png", "regions.json", "map.png"}
    assert written(prediction) == {"notes.png", "regions.json", *writers.PICTURES}
    assert written(None, verdict=None) == {"notes.png", "regions.json"}
    (tmp_path / "regions.json").write_text("[]")
    (tmp_path / "map.png").touch()
    assert written(None) == {"notes.png", "regions.json", "map.png"}


def test_a_score_is_the_same_number_in_words_and_facts(prediction):
    """A score of 0.93496 was "0.93" in the words and, rounded to 0.935 first, "0.94" in the verdict's line."""
    close = replace(prediction, pred_score=0.934999)
    facts = writers.verdict_facts(close, CARD, "direct")
    assert f"{facts['score']:.2f}" == f"{close.pred_score:.2f}" == "0.93"


def test_a_heat_map_gives_no_mask_by_rest(tmp_path):
    card = replace(CARD, heat_map_only=True)
    spotted(1).save(tmp_path / "part.png")
    desk = EngineDesk(["heat"], lambda _: FakeEngine(card=card, pause_s=0))
    segment = build_segment(desk, FileStore(tmp_path / "files"), lambda: tmp_path)
    answer = segment({"path": str(tmp_path / "part.png")})
    assert (answer["verdict"], answer["regions"], answer["mask"]) == ("anomaly", [], None)
    assert answer["heat_map_only"] and not list((tmp_path / "files").rglob("*.png"))

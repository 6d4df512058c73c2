"""Every mask of the engine says what kind of defect each region is; the encoder does not run again for it."""

from __future__ import annotations

import pytest

from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.ask import ask
from agvas_core.engines.masks import KINDS_ASKED
from agvas_core.regions import region_labels
from agvas_core.structures import Request


@pytest.fixture(scope="module")
def engine(checkpoint):
    return AGVASEngine(checkpoint, engine_id="test", name="Test")


def _answer(engine, image, mode):
    score = ask(engine, image, Request("Segment it.", mode="direct", threshold=0.0)).prediction.anomaly_map
    return ask(engine, image, Request("Segment it.", mode=mode, threshold=float(score.mean()))).prediction


@pytest.mark.parametrize("mode", ["direct", "describe", "explain"])
def test_regions_have_kinds_and_the_encoder_runs_once(engine, picture, monkeypatch, mode):
    image = picture(1)
    engine.prepare(image)
    monkeypatch.setattr(engine.predictor.model, "encode_image", lambda *_: pytest.fail("encoded again"))
    prediction = _answer(engine, image, mode)
    assert prediction.regions
    for region in prediction.regions[:KINDS_ASKED]:
        assert region.kind in ("scratch", "hole") and 0.5 <= region.kind_score <= 1
    assert all(region.kind == "" for region in prediction.regions[KINDS_ASKED:])


def test_masks_read_in_pieces_give_the_same_kinds(engine, picture, monkeypatch):
    image = picture(2)
    whole = _answer(engine, image, "direct")
    asked = []
    read = engine.predictor.region_kinds
    monkeypatch.setattr("agvas_core.engines.masks.MASK_VALUES", 1)
    monkeypatch.setattr(engine.predictor, "region_kinds", lambda e, masks: asked.append(len(masks)) or read(e, masks))
    engine.predictor._kinds.clear()  # else nothing is read anew
    pieces = _answer(engine, image, "direct")
    assert set(asked) == {1}
    assert [r.kind for r in pieces.regions] == [r.kind for r in whole.regions]
    assert [r.kind_score for r in pieces.regions] == pytest.approx([r.kind_score for r in whole.regions], abs=1e-5)
    assert region_labels(pieces.pred_mask).max() == len(pieces.regions)


def test_a_region_that_is_shown_again_is_not_read_again(engine, picture, monkeypatch):
    image = picture(3)
    once = _answer(engine, image, "direct")
    monkeypatch.setattr(engine.predictor.model, "region_tokens", lambda *_: pytest.fail("read again"))
    again = _answer(engine, image, "direct")
    assert once.regions and [(r.kind, r.kind_score) for r in again.regions] == [
        (r.kind, r.kind_score) for r in once.regions
    ]

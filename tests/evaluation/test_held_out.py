"""Held-out synthesis: the same images every time, and an engine that knows the truth gets full marks."""

from __future__ import annotations

import numpy as np
import pytest

from agvas_core.evaluation.held_out import HELD_OUT_SEED, evaluate_held_out, held_out_images, score_agreement
from agvas_core.evaluation.language import FACTS
from agvas_core.regions import make_prediction
from agvas_core.structures import Done, MaskReady, TextDelta
from agvas_core.synthesis.words import make_exchange
from agvas_core.training.sources import SEED_STRIDE

COUNT, SIZE = 12, 256


@pytest.fixture(scope="module")
def items():
    return list(held_out_images(COUNT, SIZE))


class Oracle:
    """Answers from the facts; `blind` makes it call everything normal."""

    def __init__(self, items, *, blind: bool = False) -> None:
        self.known = {item.image.image_id: item for item in items}
        self.blind = blind

    def respond(self, conversation, request, *, stop=None):
        item = self.known[request.image_id]
        p = np.zeros(item.gt_mask.shape, np.float32) if self.blind else item.gt_mask.astype(np.float32)
        prediction = make_prediction(image_id=request.image_id, p_seg=p, p_nor=1 - p, p_ano=p)
        if request.mode != "chat":
            yield MaskReady(prediction)
        family = {"describe": "describe", "explain": "explain"}.get(request.mode, "report")
        if self.blind:
            yield TextDelta("No anomaly was found.")
        else:
            import random

            yield TextDelta(make_exchange(family, item.scene, random.Random(0), slip_share=0.0).answer)
        yield Done(request.mode, {})


def test_the_images_are_the_same_every_time_and_mixed(items):
    again = list(held_out_images(COUNT, SIZE))
    assert [i.image.image_id for i in items] == [i.image.image_id for i in again]
    assert {bool(i.gt_mask.any()) for i in items} == {True, False}
    assert all(bool(i.gt_mask.any()) == bool(i.scene.defects) for i in items)


def test_training_cannot_reach_the_held_out_seeds():
    longest_run = 10**8
    assert 100 * SEED_STRIDE + longest_run < HELD_OUT_SEED


def test_an_engine_that_knows_the_truth_gets_full_marks(items):
    result = evaluate_held_out(Oracle(items), COUNT, COUNT)
    assert result.masks.f1 == result.masks.iou_ano == result.masks.iou_nor == 1.0
    rates = result.words.rates()
    assert set(rates) == set(FACTS)
    assert rates["normal"] == rates["kind"] == rates["place"] == 1.0


def test_an_engine_that_sees_nothing_does_not(items):
    result = evaluate_held_out(Oracle(items, blind=True), COUNT, COUNT)
    assert result.masks.iou_nor == 1.0
    assert result.masks.iou_ano == 0.0
    assert result.words.rates()["kind"] == 0.0
    assert result.agreement.rates()["normal"] == 1.0


def test_a_reply_is_held_against_its_own_mask():
    mask = np.zeros((90, 90), dtype=np.float32)
    mask[10:20, 10:20], mask[70:75, 70:75] = 1, 1  # the larger one lies in the upper left
    shown = make_prediction(image_id="x", p_seg=mask, p_nor=1 - mask, p_ano=mask)
    reply = "There are two defects: a stain in the upper left and a pit in the lower right."
    assert score_agreement(reply, shown, FACTS) == {"normal": True, "place": True, "count": True}
    wrong = "There is one defect: a stain in the lower right."
    assert score_agreement(wrong, shown, FACTS) == {"normal": True, "place": False, "count": False}
    assert score_agreement("No anomaly was found.", shown, ("normal",)) == {"normal": False}

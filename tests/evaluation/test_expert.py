"""An expert judged beside an engine's masks, against numbers worked out by hand."""

import numpy as np
import pytest
import torch

from agvas_core.engines.anomaly_ov import AnomalyOVEngine, Look
from agvas_core.evaluation.expert import FLOORS, evaluate_expert, expert_table
from agvas_core.processing import open_image
from agvas_core.regions import make_prediction
from tests.fakes import CARD


class ScriptedSeer:
    """Reads its score from the image's first pixel."""

    device = torch.device("cpu")

    def look(self, image):
        return Look(float(image.rgb[0, 0, 0]) / 100, np.full(image.size_hw, 0.5, np.float32))


def item(score: float, marked: bool, defect: bool, seed: int):
    rgb = np.random.default_rng(seed).integers(0, 255, (10, 10, 3), dtype=np.uint8)
    rgb[0, 0, 0], rgb[0, 0, 1] = round(100 * score), 200 if marked else 0
    mask = np.zeros((10, 10), bool)
    mask[4:6, 4:6] = defect
    return open_image(rgb), mask


def predict(image):
    p = np.full((10, 10), 0.1, np.float32)
    p[4:6, 4:6] = 0.6 if image.rgb[0, 0, 1] == 200 else 0.2
    return make_prediction(image_id=image.image_id, p_seg=p, p_nor=1 - p, p_ano=p)


def test_the_numbers_are_those_of_the_hand():
    items = [
        item(0.9, True, True, 0),  # right
        item(0.2, True, False, 1),  # a false alarm that the score sees through: warned rightly
        item(0.2, True, True, 2),  # a true mask that the score doubts: warned wrongly
        item(0.8, False, True, 3),  # a miss that the score sees: warned rightly
        item(0.1, False, False, 4),  # right
    ]
    seen = []
    result = evaluate_expert(AnomalyOVEngine(ScriptedSeer(), CARD), predict, items, lambda: seen.append(1))
    assert len(seen) == 5
    assert result.auroc_score == pytest.approx((2 + 1.5 + 2) / 6)
    assert result.auroc_mask == pytest.approx((1.5 + 1.5 + 0.5) / 6)
    assert result.warned == pytest.approx(3 / 5) and result.warned_rightly == pytest.approx(2 / 3)
    assert tuple(result.by_floor) == FLOORS
    assert (result.by_floor[0.0].iou_ano, result.by_floor[0.0].iou_nor) == (pytest.approx(2 / 3), 0.5)
    # 0.6 * 0.2 / 0.3 = 0.4 is below the threshold: both doubted masks are gone
    assert (result.by_floor[0.3].iou_ano, result.by_floor[0.3].iou_nor) == (pytest.approx(1 / 3), 1.0)
    table = expert_table("set", result)
    assert "image AUROC of the expert's score 91.7, of the masks 58.3" in table
    assert "| 0.3 |" in table and "60.0 of the images, 66.7 of them rightly" in table


def test_without_images_of_both_kinds_there_is_a_dash():
    result = evaluate_expert(AnomalyOVEngine(ScriptedSeer(), CARD), predict, [item(0.5, True, True, 0)])
    assert "image AUROC of the expert's score -" in expert_table("set", result)

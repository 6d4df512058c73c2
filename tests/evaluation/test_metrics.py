"""Metrics equal hand values and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from agvas_core.evaluation.metrics import MetricsMeter, PixelCurve, image_auroc, iou
from agvas_core.regions import make_prediction


def _curve(scores, truth, threshold=0.5):
    curve = PixelCurve(threshold)
    curve.update(np.asarray(scores, np.float32), np.asarray(truth, bool))
    return curve


def _prediction(anomaly_map):
    p = np.asarray(anomaly_map, np.float32)
    return make_prediction(image_id="x", p_seg=p, p_nor=1 - p, p_ano=p)


def test_curve_equals_values_computed_by_hand():
    curve = _curve([[0.9, 0.8, 0.7, 0.1]], [[1, 0, 1, 0]])
    assert curve.ap == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert curve.f1_max == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))
    assert curve.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 0))


def test_threshold_is_strict_and_exact():
    curve = _curve([[0.5, 0.5000001, 0.2]], [[1, 1, 0]], threshold=0.5)
    assert curve.f1 == pytest.approx(2 / 3)  # the pixel at exactly 0.5 is not predicted


@pytest.mark.parametrize("crowd", ["spread", "near zero", "near both ends", "ties"])
def test_curve_agrees_with_scikit_learn(crowd):
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth = rng.random((200, 300)) < 0.03
    logits = rng.normal(size=truth.shape) + 2.0 * truth
    scale, shift = {"spread": (1, 0), "near zero": (1, -9), "near both ends": (6, 0), "ties": (1, 0)}[crowd]
    scores = (1 / (1 + np.exp(-(scale * logits + shift)))).astype(np.float32)
    if crowd == "ties":
        scores = np.round(scores, 1)
    curve = PixelCurve()
    for rows in np.split(np.arange(200), 8):  # streamed in parts
        curve.update(scores[rows], truth[rows])
    assert curve.ap == pytest.approx(sk.average_precision_score(truth.ravel(), scores.ravel()), abs=1e-3)
    precision, recall, _ = sk.precision_recall_curve(truth.ravel(), scores.ravel())
    best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    assert curve.f1_max == pytest.approx(best, abs=1e-3)
    assert curve.f1 == pytest.approx(sk.f1_score(truth.ravel(), scores.ravel() > 0.5), abs=1e-9)


def test_image_auroc_wants_a_label_for_each_score():
    with pytest.raises(ValueError, match="got 3 and 2"):
        image_auroc([0.1, 0.2, 0.3], [True, False])


def test_image_auroc_agrees_with_scikit_learn_and_counts_ties_half():
    assert image_auroc([0.1, 0.4, 0.35, 0.8], [False, False, True, True]) == pytest.approx(0.75)
    assert image_auroc([0.5, 0.5], [False, True]) == 0.5
    assert np.isnan(image_auroc([0.5, 0.6], [True, True]))
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    labels, scores = rng.random(200) < 0.4, np.round(rng.random(200), 1)
    assert image_auroc(scores, labels) == pytest.approx(sk.roc_auc_score(labels, scores))


def test_without_an_anomalous_pixel_the_curve_is_undefined():
    curve = _curve([[0.2, 0.9]], [[0, 0]])
    assert np.isnan(curve.ap) and np.isnan(curve.f1_max) and np.isnan(curve.f1)


def test_map_outside_the_unit_interval_is_refused():
    for bad in (1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            _curve([[bad, 0.5]], [[1, 0]])


def test_iou_by_hand():
    assert iou([[1, 1, 0]], [[0, 1, 1]]) == pytest.approx(1 / 3)
    assert iou([[0, 0]], [[0, 0]]) == 1.0


def test_meter_follows_the_papers_definitions():
    meter = MetricsMeter()
    empty = np.zeros((10, 10))
    spot = empty.copy()
    spot[2:4, 2:4] = 0.9
    half = spot > 0.5
    half[2:4, 3] = False
    meter.update(_prediction(spot), half)  # IoU 2 / 4
    meter.update(_prediction(empty), half)  # missed: IoU 0
    meter.update(_prediction(empty), empty > 0)  # empty mask on a normal image
    meter.update(_prediction(spot), empty > 0)  # false alarm of 4 px
    result = meter.compute()
    assert (result.normal_images, result.anomalous_images) == (2, 2)
    assert result.iou_ano == pytest.approx(0.25)
    assert result.iou_nor == pytest.approx(0.5)
    assert result.false_alarm_px_per_mp == pytest.approx(1e6 * 4 / 200)
    assert result.auroc == pytest.approx(0.5)

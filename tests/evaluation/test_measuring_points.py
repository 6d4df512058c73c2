"""False alarms, parts switched off, close looks, failures and the line through the curve: their pure parts."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from agvas_core.evaluation.ablation import (
    LEARNED_ANCHORS,
    PAPER_PARTS,
    WHOLE,
    WITHOUT_OUTLINES,
    WITHOUT_REFINER,
    WITHOUT_SPAM,
    beside_the_paper,
    measure_rows,
    switched_off,
)
from agvas_core.evaluation.close_look import AREA_SHARES, false_regions, found_defects, large_scene, seams
from agvas_core.evaluation.failures import WorstFailures
from agvas_core.evaluation.false_alarms import crops, false_alarm_table, measure_false_alarms
from agvas_core.evaluation.held_out import score_agreement
from agvas_core.evaluation.items import OBJECT, SURFACE, LabelledImage, folder_items, synthetic_items
from agvas_core.evaluation.language import FACTS
from agvas_core.evaluation.scaling import Point, fit_line, read_log
from agvas_core.predictor import AnomalyPredictor
from agvas_core.processing import open_image
from agvas_core.regions import make_prediction, with_kinds
from agvas_core.views import tiles
from tests.training.folders import write_data


def prediction_of(p_seg, p_ano=None, image_id="x"):
    p_seg = np.asarray(p_seg, dtype=np.float32)
    p_ano = p_seg if p_ano is None else np.asarray(p_ano, dtype=np.float32)
    return make_prediction(image_id=image_id, p_seg=p_seg, p_nor=1 - p_ano, p_ano=p_ano)


def spots(*boxes, size=100):
    mask = np.zeros((size, size), dtype=np.float32)
    for top, left, side in boxes:
        mask[top : top + side, left : left + side] = 1
    return mask


def item_of(gt, name="a", category="c"):
    rgb = np.full((*gt.shape, 3), 120, dtype=np.uint8)
    return LabelledImage(category, name, open_image(rgb), gt.astype(bool))


def test_false_alarms_are_counted_per_megapixel_and_group():
    maps = {"clean": spots(), "one": spots((0, 0, 10)), "two": spots((0, 0, 10), (50, 50, 20))}
    images = {name: open_image(np.full((100, 100, 3), 50, np.uint8), name) for name in maps}
    measured = measure_false_alarms(
        lambda image: prediction_of(maps[image.name]),
        {"all": images.values(), "good": [images["clean"]], "nothing": []},
    )
    assert list(measured) == ["all", "good"]
    assert measured["all"].images == 3 and measured["all"].empty == pytest.approx(1 / 3)
    assert measured["all"].px_per_mp == pytest.approx((100 + 100 + 400) / 0.03)
    assert measured["all"].regions_per_mp == pytest.approx(3 / 0.03)
    assert measured["good"].px_per_mp == 0 and measured["good"].empty == 1
    assert "| good | 1 | 0.0 | 100.0 | 0 | 0.0 | 0.00 |" in false_alarm_table(measured)


def test_crops_are_whole_squares_beside_each_other():
    rgb = np.arange(50 * 70 * 3, dtype=np.uint32).astype(np.uint8).reshape(50, 70, 3)
    parts = list(crops(open_image(rgb, "grass"), 24))
    assert len(parts) == 2 * 2 and {p.size_hw for p in parts} == {(24, 24)}
    assert np.array_equal(parts[-1].rgb, rgb[24:48, 24:48])


def test_items_of_both_sources_have_one_form(tmp_path):
    made = list(synthetic_items(4))
    assert {i.category for i in made} <= {SURFACE, OBJECT} and all(i.scene is not None for i in made)
    assert all(i.name.startswith("normal: ") == (not i.gt_mask.any()) for i in made)
    write_data(tmp_path)
    real = list(folder_items(tmp_path))
    assert real and all(i.gt_mask.shape == i.image.size_hw and i.scene is None for i in real)
    good = list(folder_items(tmp_path, only_good=True))
    assert len(good) == sum(i.name.startswith("good/") for i in real)


def test_a_part_is_switched_off_and_put_back(make_model, tokenizer, picture):
    model = make_model()
    image, learned = picture(), torch.randn(3, model.config.decoder.width)

    def look(part):
        with switched_off(model, part, learned):
            predictor = AnomalyPredictor(model, tokenizer)
            return predictor.glance(image).anomaly_map, predictor.set_image(image).tokens

    whole, tokens = look(WHOLE)
    without_spam, fewer = look(WITHOUT_SPAM)
    assert 2 * fewer == tokens and np.abs(whole - without_spam).max() > 0
    fixed, _ = look(LEARNED_ANCHORS)
    model.lmm.lm_head.weight.data.add_(0)  # nothing of the language model matters with fixed anchors
    for p in model.lmm.model.language_model.parameters():
        p.data.mul_(1.5)
    assert np.array_equal(fixed, look(LEARNED_ANCHORS)[0]) and not np.array_equal(whole, look(WHOLE)[0])
    for p in model.lmm.model.language_model.parameters():
        p.data.div_(1.5)
    np.testing.assert_allclose(look(WHOLE)[0], whole, atol=1e-5)
    model.config = replace(model.config, serving_outline=1.6)
    outlined = look(WHOLE)[0]
    assert not np.allclose(outlined, whole, atol=1e-4)
    assert model.config.serving_outline == 1.6 and np.array_equal(look(WHOLE)[0], outlined)
    np.testing.assert_allclose(look(WITHOUT_OUTLINES)[0], whole, atol=1e-5)
    with pytest.raises(ValueError, match="no part 'wings'"), switched_off(model, "wings"):
        pass


def test_without_the_refiner_the_states_go_to_the_decoder(make_model):
    model = make_model()
    states = torch.randn(2, 3, model.config.llm.width)
    if model.config.llm.width == model.config.decoder.width:
        with switched_off(model, WITHOUT_REFINER):
            assert torch.equal(model.token_refiner(states), states)
    else:
        with pytest.raises(ValueError, match="one width"), switched_off(model, WITHOUT_REFINER):
            pass
    assert not torch.equal(model.token_refiner(states)[..., :1], states[..., :1])


def test_branches_come_from_one_run_and_stand_beside_the_paper():
    truth = spots((10, 10, 20))
    calls = []

    def predict(item):
        calls.append(item.name)
        return prediction_of(truth, p_ano=1 - truth)  # [SEG] is right, [NOR][ANO] is wrong everywhere

    measured = measure_rows({WHOLE: predict}, [item_of(truth)], WHOLE)
    assert calls == ["a"] and list(measured) == [WHOLE, "without [SEG]", "without [NOR][ANO]"]
    assert measured["without [NOR][ANO]"][0].f1 == 1.0 and measured["without [SEG]"][0].f1 == 0.0
    table = beside_the_paper(measured, PAPER_PARTS, "parts").splitlines()
    assert table[2].startswith("| all parts |") and table[2].endswith("| 51.0 | 52.7 | 87.7 | 44.8 |")
    assert len({line.count("|") for line in table}) == 1
    with pytest.raises(ValueError, match="no image"):
        measure_rows({WHOLE: predict}, [])


def test_the_kind_in_a_reply_is_held_against_the_largest_findings():
    shown = prediction_of(spots((10, 10, 20), (80, 80, 8)))
    shown = with_kinds(shown, [("stain", 0.9), ("pit", 0.8)])
    reply = "There are two defects: a {} in the upper left and a pit in the lower right."
    assert score_agreement(reply.format("stain"), shown, FACTS)["kind"]
    assert not score_agreement(reply.format("crack"), shown, FACTS)["kind"]


def test_a_large_scene_has_tiny_defects_of_the_right_size():
    scene = large_scene(2, size=768, defects=3)
    again = large_scene(2, size=768, defects=3)
    assert np.array_equal(scene.rgb, again.rgb) and len(scene.kinds) == scene.labels.max() >= 2
    shares = np.bincount(scene.labels.ravel())[1:] / scene.labels.size
    assert all(AREA_SHARES[0] * 0.9 <= s <= AREA_SHARES[1] for s in shares)
    assert not large_scene(2, size=768, defects=0).labels.any()


def test_a_defect_is_found_when_a_quarter_of_it_is_marked():
    labels = np.zeros((40, 40), dtype=np.uint8)
    labels[0:4, 0:4], labels[20:24, 20:24] = 1, 2
    mask = np.zeros((40, 40), dtype=bool)
    mask[0:2, 0:2] = mask[20, 20:23] = mask[30:35, 0:5] = True
    assert found_defects(mask, labels) == [True, False]
    assert false_regions(prediction_of(mask), labels) == 1


def test_a_seam_is_seen():
    boxes = [view.box_xyxy for view in tiles((100, 200), 100)]
    smooth = np.tile(np.linspace(0, 1, 200, dtype=np.float32), (100, 1))
    assert seams(smooth, boxes).at_borders == pytest.approx(seams(smooth, boxes).elsewhere, rel=1e-3)
    border = boxes[0][2]
    torn = smooth.copy()
    torn[:, border:] = np.clip(torn[:, border:] + 0.3, 0, 2)
    assert seams(torn, boxes).at_borders > 0.3 > 10 * seams(torn, boxes).elsewhere


def test_the_worst_of_each_category_and_kind_are_kept():
    worst = WorstFailures(each=1)
    truth = spots((10, 10, 20))
    for name, map_ in (("right", truth), ("blind", spots()), ("half", spots((10, 10, 10))), ("alarm", 1 - spots())):
        worst.update(item_of(truth, name), prediction_of(map_))
    found = [(f.kind, f.item.name, round(f.share, 4)) for f in worst.found()]
    assert found == [("false alarm", "alarm", 0.96), ("miss", "blind", 0.04)]


def test_a_line_says_what_a_bar_would_take():
    fit = fit_line([Point(10**k, 10.0 * k) for k in (3, 4, 5)])
    assert fit.per_decade == pytest.approx(10) and fit.error == pytest.approx(0, abs=1e-6)
    assert fit.images_for(60) == pytest.approx(1e6, rel=1e-6) and fit.at(1e6) == pytest.approx(60)
    assert fit.images_for(60, per_decade=20) == pytest.approx(1e5, rel=1e-6)  # turned about the middle point
    flat = fit_line([Point(1000, 30.0), Point(10000, 30.0)])
    assert flat.images_for(60) == math.inf and math.isnan(flat.error)
    with pytest.raises(ValueError, match="two different"):
        fit_line([Point(1000, 1.0), Point(1000, 2.0)])


def test_a_log_is_read_up_to_its_torn_line(tmp_path):
    path = tmp_path / "log.jsonl"
    rows = [
        {"step": 20, "images": 300},
        {"eval_step": 500, "images": 7000, "F1_max": 41.5},
        {"eval_step": 9, "images": 8},
    ]
    path.write_text("\n".join(json.dumps(r) for r in rows) + '\n{"eval_step": 1000, "ima')
    assert read_log(path, "F1_max", 1000) == [Point(8000, 41.5)]
    with pytest.raises(FileNotFoundError, match="no training log"):
        read_log(tmp_path / "none.jsonl", "F1_max")

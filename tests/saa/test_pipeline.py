"""Every rule keeps and drops what it should, and the whole pipeline tells the fate of each candidate."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from agvas_core.processing import open_image
from agvas_core.saa.candidates import Candidate, ObjectRegion, box_mask, mask_box, work_hw
from agvas_core.saa.filters import place_in_image
from agvas_core.saa.foreground import find_object
from agvas_core.saa.pipeline import judge_boxes, judge_masks, rank, run
from agvas_core.saa.prompts import (
    ConfidencePrompt,
    HybridPrompts,
    LanguagePrompts,
    PropertyPrompts,
    SaliencyPrompt,
    naive_prompts,
    prompts_for,
    with_variant,
)

HW = (20, 20)


def candidate(box=(0.1, 0.1, 0.3, 0.3), score=0.5, phrase="crack", masked=True, hw=HW) -> Candidate:
    x0, y0, x1, y1 = box
    mask = box_mask(box, hw) if masked else None
    return Candidate(box, (x1 - x0) * (y1 - y0), score, phrase, phrase, mask)


def rules(**changes) -> HybridPrompts:
    return HybridPrompts(LanguagePrompts("tile"), PropertyPrompts(**changes))


LEFT_HALF = ObjectRegion(0.5, box_mask((0, 0, 0.5, 1), HW))


def fate(c, obj, prompts) -> str:
    """Return the rule that drops a candidate, "" when it passes."""
    passed, dropped = judge_boxes([c], obj, prompts)
    if passed:
        passed, dropped = judge_masks(passed, obj, prompts)
    assert len(passed) + len(dropped) == 1
    assert all(j.why for j in dropped)
    return dropped[0].rule if dropped else ""


# --- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, ""),  # a sixteenth of the image is an eighth of the object
        ({"max_area": 0.126}, ""),
        ({"max_area": 0.125}, "area"),  # must lie below
        ({"max_area": 0.1}, "area"),
        ({"max_area": 0.1, "area_of": "image"}, ""),
        ({"min_area": 0.12}, ""),
        ({"min_area": 0.125}, "area"),  # must lie above
    ],
)
def test_area_is_a_share_of_the_object(changes, rule):
    assert fate(candidate((0.0, 0.0, 0.25, 0.25)), LEFT_HALF, rules(**changes)) == rule


def test_an_empty_box_has_no_area():
    assert fate(candidate(box=(0.2, 0.2, 0.2, 0.5)), ObjectRegion(), rules()) == "area"


@pytest.mark.parametrize(
    ("box", "changes", "rule"),
    [
        ((0.1, 0.1, 0.3, 0.3), {}, ""),
        ((0.6, 0.1, 0.8, 0.3), {}, "location"),  # off the object
        ((0.6, 0.1, 0.8, 0.3), {"min_iou": None}, ""),  # the public code does not look
        ((0.45, 0.1, 0.65, 0.3), {}, ""),  # touches it
        ((0.45, 0.1, 0.65, 0.3), {"min_inside": 0.5}, "location"),  # a quarter of it
        ((0.1, 0.1, 0.3, 0.3), {"min_iou": 0.07}, ""),  # IoU 16 / 200 = 0.08
        ((0.1, 0.1, 0.3, 0.3), {"min_iou": 0.08}, "location"),  # must lie above
    ],
)
def test_location_is_the_iou_with_the_object(box, changes, rule):
    assert fate(candidate(box), LEFT_HALF, rules(**changes)) == rule


def test_without_an_object_there_is_no_location_to_keep_to():
    assert fate(candidate((0.6, 0.1, 0.8, 0.3)), ObjectRegion(), rules(min_iou=0.5)) == ""


def test_place_object_name_and_ignored_words():
    c = candidate()
    assert place_in_image(c) == "upper left" == place_in_image(replace(c, mask=None))
    assert fate(c, ObjectRegion(), rules(places=("upper left", "top"))) == ""
    assert fate(c, ObjectRegion(), rules(places=("center",))) == "place"
    assert fate(replace(c, phrase="the magnetic tile"), ObjectRegion(), rules()) == "object name"
    ignoring = replace(rules(), language=LanguagePrompts(excluded=("stain", "dust")))
    assert fate(replace(c, phrase="stains"), ObjectRegion(), ignoring) == "ignored words"
    assert fate(replace(c, phrase="sustained"), ObjectRegion(), ignoring) == ""


@pytest.mark.parametrize(
    ("excluded", "kind", "rule"),
    [
        ("dust", "contamination", "ignored words"), ("rust", "corrosion", "ignored words"),
        ("hairs", "fiber", "ignored words"), ("blow holes", "hole", "ignored words"), ("dust", "crack", ""),
    ],
)  # fmt: skip
def test_what_is_to_be_ignored_is_known_by_its_kind(excluded, kind, rule):
    """The bundled candidates are called by their kinds, and people by what they see: dust, rust, hairs."""
    ignoring = replace(rules(), language=LanguagePrompts(excluded=(excluded,)))
    assert fate(candidate(phrase=kind), ObjectRegion(), ignoring) == rule


@pytest.mark.parametrize(("name", "kind"), [("chip", "chipped edge"), ("print", "misprint")])
def test_a_parts_name_inside_another_word_drops_nothing(name, kind):
    named = replace(rules(), language=LanguagePrompts(name))
    assert fate(candidate(phrase=kind), ObjectRegion(), named) == ""
    assert fate(candidate(phrase=f"the {name}"), ObjectRegion(), named) == "object name"


def test_boxes_without_an_outline_are_dropped():
    assert fate(candidate(masked=False), ObjectRegion(), rules()) == "outline"
    empty = replace(candidate(), mask=np.zeros(HW, bool))
    assert fate(empty, ObjectRegion(), naive_prompts()) == "outline"


def test_saa_has_no_rules():
    big = candidate((0.0, 0.0, 1.0, 1.0), phrase="tile")
    naive = naive_prompts()
    assert fate(big, LEFT_HALF, replace(naive, language=LanguagePrompts("tile"))) == ""


def test_ranking_rescoring_and_the_best_k():
    s = np.zeros(HW, np.float32)
    s[box_mask((0.5, 0.5, 0.7, 0.7), HW)] = 0.6
    weak_but_odd, strong = candidate((0.5, 0.5, 0.7, 0.7), 0.4), candidate(score=0.6)
    prompts = replace(rules(), confidence=ConfidencePrompt(1))
    first, second = rank([strong, weak_but_odd], s, prompts)
    assert first.kept and first.candidate is weak_but_odd
    assert first.score == pytest.approx(0.4 * math.exp(0.6)) and first.saliency == pytest.approx(0.6)
    assert second.rule == "top-K" and second.score == pytest.approx(0.6)
    by_code = rank([strong, weak_but_odd], s, prompts, "code")[0]
    assert by_code.score == pytest.approx(0.4 * math.exp(1.8))
    assert rank([strong, weak_but_odd], None, prompts)[0].candidate is strong


# --- the whole -------------------------------------------------------------------------------------------------------


class Listed:
    """A proposer with a fixed list."""

    def __init__(self, candidates, obj=None):
        self.candidates, self.obj, self.refined = candidates, obj or ObjectRegion(), 0

    def half(self, prompts, variant):
        return 0.5

    def propose(self, image, prompts, stopped):
        return list(self.candidates), self.obj

    def refine(self, image, candidates):
        self.refined += len(candidates)
        return list(candidates)


IMAGE = open_image(np.zeros((*HW, 3), np.uint8))


def outcome(proposer, prompts=None, variant="paper", saliency=0.0, **options):
    stages = run(
        IMAGE, proposer, lambda image, n: np.full(HW, saliency, np.float32), prompts or rules(), variant, **options
    )
    while True:
        try:
            next(stages)
        except StopIteration as end:
            return end.value


def test_no_candidate_is_an_empty_map():
    found = outcome(Listed([]))
    assert not found.anomaly_map.any() and found.judgements == ()


def test_many_candidates_are_cut_to_the_best_k_and_none_is_lost():
    rng = np.random.default_rng(0)
    many = []
    for _ in range(300):
        x, y = rng.uniform(0, 0.8, 2)
        many.append(candidate((x, y, x + 0.1, y + 0.1), float(rng.uniform(0.1, 1))))
    found = outcome(Listed(many))
    assert len(found.judgements) == 300 and len(found.kept) == 5
    assert [j.score for j in found.kept] == sorted((c.score for c in many), reverse=True)[:5]


def test_a_one_pixel_mask_goes_all_the_way():
    mask = np.zeros(HW, bool)
    mask[7, 3] = True
    dot = Candidate(mask_box(mask), float(mask.mean()), 0.5, "pit", "pit", mask)
    found = outcome(Listed([dot]), saliency=0.5)
    assert found.anomaly_map[7, 3] == pytest.approx(0.5 * math.exp(0.5)) and (found.anomaly_map > 0).sum() == 1


def test_dropped_boxes_are_not_refined():
    proposer = Listed([candidate(), candidate((0, 0, 1, 1))])
    found = outcome(proposer)
    assert proposer.refined == 1
    assert [j.rule for j in found.judgements] == ["", "area"]


def test_paper_and_code_differ_where_they_should():
    off, on = candidate((0.6, 0.1, 0.8, 0.3), 0.5), candidate(score=0.5)
    proposer = Listed([off, on], LEFT_HALF)
    paper = outcome(proposer, with_variant(rules(), "paper"), "paper", saliency=0.2)
    code = outcome(proposer, with_variant(rules(), "code"), "code", saliency=0.2)
    assert [j.rule for j in paper.judgements] == ["", "location"]
    assert [j.rule for j in code.judgements] == ["", ""]
    assert paper.anomaly_map.max() == pytest.approx(0.5 * math.exp(0.2))
    assert code.anomaly_map.max() == pytest.approx(0.5 * math.exp(0.6) / 2)


def test_without_the_saliency_prompt_none_is_computed():
    prompts = replace(rules(), saliency=None)
    stages = run(IMAGE, Listed([candidate()]), lambda image, n: pytest.fail("computed"), prompts)
    assert [s.name for s in stages] == ["looking for candidates", "outlining candidates"]
    asked = []
    stages = run(
        IMAGE,
        Listed([candidate()]),
        lambda i, n: asked.append(n) or np.zeros(HW, np.float32),
        replace(rules(), saliency=SaliencyPrompt(7)),
    )
    list(stages)
    assert asked == [7]


def test_stopping_ends_before_the_masks():
    proposer = Listed([candidate()])
    found = outcome(proposer, stopped=lambda: True)
    assert proposer.refined == 0 and not found.anomaly_map.any()


# --- grids and the object --------------------------------------------------------------------------------------------


def test_boxes_masks_and_the_working_grid():
    assert work_hw((4000, 3000)) == (1024, 768) and work_hw((30, 20)) == (30, 20) and work_hw((1, 5000)) == (1, 1024)
    mask = box_mask((0.25, 0.5, 0.5, 1.0), (4, 8))
    assert np.argwhere(mask).tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]
    assert mask_box(mask) == (0.25, 0.5, 0.5, 1.0)


def _photo(background=200, box=(60, 50, 160, 170), fill=80):
    rgb = np.full((200, 240, 3), background, np.uint8)
    top, left, bottom, right = box
    rgb[top:bottom, left:right] = fill
    return rgb, box


def test_an_object_on_an_even_background_is_found_whole():
    rgb, (top, left, bottom, right) = _photo()
    rgb[100:110, 100:110] = 200  # a hole of the background's colour belongs to it
    found = find_object(rgb, rgb.shape[:2])
    assert found.mask is not None and found.mask[105, 105] and not found.mask[10, 10]
    inside = (bottom - top) * (right - left) / rgb[..., 0].size
    assert found.area == pytest.approx(inside, rel=0.1)


def test_surfaces_and_small_marks_have_no_object():
    rng = np.random.default_rng(0)
    assert find_object(rng.integers(0, 255, (200, 240, 3), dtype=np.uint8), (200, 240)).mask is None
    assert find_object(np.full((200, 240, 3), 90, np.uint8), (200, 240)).mask is None
    rgb, _ = _photo(box=(90, 90, 110, 110))
    assert find_object(rgb, rgb.shape[:2]) == ObjectRegion() or find_object(rgb, rgb.shape[:2]).mask is None
    assert find_object(np.zeros((3, 5, 3), np.uint8), (3, 5)).mask is None


def test_several_objects_may_be_smaller():
    rgb = np.full((200, 240, 3), 220, np.uint8)
    for left in (30, 140):
        rgb[60:140, left : left + 60] = 40
    assert find_object(rgb, rgb.shape[:2], 1).mask is None
    two = find_object(rgb, rgb.shape[:2], 2)
    assert two.mask is not None and two.mask[100, 60] and two.mask[100, 170] and not two.mask[100, 115]


def test_defaults_of_an_object_name_reach_the_rules():
    assert fate(candidate(phrase="magnetic tile"), ObjectRegion(), prompts_for("magnetic tile")) == "object name"

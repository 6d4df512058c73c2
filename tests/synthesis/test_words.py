import random
import re
from collections import Counter

import pytest

from agvas_core.anchors import ANCHOR_TEXT
from agvas_core.asking import choose_mode
from agvas_core.kinds import KIND_WORDS
from agvas_core.prompts import DIRECT_ANSWER, chat_pieces, format_percent
from agvas_core.regions import PLACES
from agvas_core.synthesis.facts import DEFECT_KINDS, DefectFacts, SceneFacts
from agvas_core.synthesis.phrases import QUESTIONS, expand
from agvas_core.synthesis.sentences import area_percent, look_of, subject
from agvas_core.synthesis.words import fields, make_exchange, measured_regions, random_scene, talk, talk_turns
from agvas_core.wording import size_word


def defect(kind="scratch", place="upper left", area_px=400, y=40.0, x=40.0, color="dark"):
    return DefectFacts(kind, color, "thin", area_px, (30, 30, 50, 50), (y, x), place, 0.3)


def scene_of(*defects, surface="brushed metal", name=None):
    return SceneFacts(surface, name, (), defects, (256, 256))


def many(n=1500, seed=0, **kwargs):
    rng = random.Random(seed)
    for _ in range(n):
        scene = random_scene(rng)
        yield scene, talk(scene, rng, **kwargs)


def test_every_kind_has_words():
    assert set(KIND_WORDS) == set(DEFECT_KINDS)


def test_talks_are_repeatable():
    assert [t for _, t in many(20)] == [t for _, t in many(20)]


def test_targets_are_true_and_about_half_of_the_talk_is_segmentation():
    exchanges = 0
    masks = 0
    for scene, exchange_list in many():
        for e in exchange_list:
            exchanges += 1
            masks += e.target is not None
            assert (e.target is not None) == (ANCHOR_TEXT in e.answer) == (e.mode != "chat")
            if e.kind in ("direct", "describe", "describe_plus", "explain"):
                assert e.target == tuple(range(len(scene.defects)))
            if e.mode == "direct":
                assert e.answer == DIRECT_ANSWER
            if e.mode == "explain":
                assert e.answer.startswith(f"{ANCHOR_TEXT} ")
    assert 0.42 < masks / exchanges < 0.50


def test_answers_are_tidy_and_short():
    for _, exchange_list in many():
        for e in exchange_list:
            text = e.answer.replace(ANCHOR_TEXT, "X")
            assert text[-1] in ".?!" and "  " not in text and "{" not in text + e.instruction and "|" not in text
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|\bthe the\b|\.\.| ,", text), text
            assert len(text.split()) <= (100 if e.kind == "report" else 60), text


def test_every_named_kind_place_and_size_is_in_the_scene():
    for scene, exchange_list in many():
        measured = {format_percent(area) for _, area in measured_regions(scene)}
        places = {d.place for d in scene.defects}
        for e in exchange_list:
            if e.kind in ("kind_there", "place_there", "define", "refer", "offtopic"):
                continue
            for shown in re.findall(r"about ([\d.]+) %", e.answer):
                assert shown in measured
            for place in PLACES:
                if re.search(rf"(?:in|at|on) the {place}\b", e.answer):
                    assert place in places, (e.answer, places)
            for kind, words in KIND_WORDS.items():
                if re.search(rf"\b(?:a|an|the) (?:[a-z-]+ )?(?:{words.one})\b (?:at|in|on) the\b", e.answer):
                    assert kind in {d.kind for d in scene.defects}, e.answer


def test_the_mode_chosen_by_words_is_the_one_trained():
    asked = agreed = 0
    for _, exchange_list in many(slip_share=0.0):
        shown = False
        for e in exchange_list:
            mode = choose_mode(e.instruction, True, shown)
            wanted = {"describe_plus": ("describe",), "direct": ("direct", "explain")}.get(e.mode, (e.mode,))
            wanted = wanted if e.kind == "refer" or e.mode != "direct" else ("direct",)
            asked += 1
            agreed += mode in wanted
            shown = shown or e.target is not None
    assert agreed / asked > 0.99


def test_referring_requests_pick_the_right_defects():
    scratch, stain = defect(area_px=900), defect("stain", "lower right", 300, 220.0, 210.0, "brown")
    scene = scene_of(scratch, stain)
    rng = random.Random(3)
    seen = Counter()
    for _ in range(400):
        e = make_exchange("refer", scene, rng, slip_share=0.0)
        words = e.instruction.lower()
        for pattern, target in (
            (r"except the scratch", (1,)),
            (r"(?<!except )the scratch", (0,)),
            (r"except the stain", (0,)),
            (r"(largest|biggest|dark|upper|(?<!upper )(?<!lower )left) (one|defect|anomaly)", (0,)),
            (r"(smallest|brown|lower|(?<!upper )(?<!lower )right) (one|defect|anomaly)", (1,)),
            (r"(flaws?|defect|anomaly|one|wrong|defects|anomalies) in the upper left", (0,)),
            (r"(flaws?|defect|anomaly|one|wrong|defects|anomalies) in the center", ()),
        ):
            if re.search(pattern, words):
                seen[pattern] += 1
                assert e.target == target, e
    assert len(seen) == 7
    nothing = [
        e for e in (make_exchange("refer", scene, rng) for _ in range(200)) if e.target == () and e.mode == "explain"
    ]
    assert nothing and all(re.search(r"(There is|I see) no ", e.answer) for e in nothing)


def test_measured_line_after_anchors_tells_what_they_show():
    scene = scene_of(defect(area_px=900), defect("stain", "center", 300, 128.0, 128.0))
    rng = random.Random(0)
    e = next(
        e for e in iter(lambda: make_exchange("refer", scene, rng), None) if e.mode == "explain" and e.target == (1,)
    )
    text = "".join(p.text for p in chat_pieces(talk_turns(scene, [e, make_exchange("count", scene, rng)])))
    assert "[SEG]<measured> 1 : center 0.5 % stain <region> </measured>" in text
    assert "<measured> 2 : upper left 1.4 % scratch <region> ; center 0.5 % stain <region> </measured>" in text


def test_normal_images_have_no_defect_in_any_answer():
    scene = scene_of(name="washer", surface="painted metal")
    rng = random.Random(0)
    for kind in ("direct", "describe", "explain", "refer"):
        assert make_exchange(kind, scene, rng).target == ()
    assert "normal" in make_exchange("explain", scene, rng).answer
    assert re.search("no defect|No defect", make_exchange("count", scene, rng).answer)


@pytest.mark.parametrize(("area", "word"), [(0.94, "small"), (0.96, "medium"), (4.94, "medium"), (4.96, "large")])
def test_size_words_follow_the_printed_share(area, word):
    assert size_word(area) == word


def test_phrases_read_well():
    scene = scene_of(defect(), surface="woven fabric")
    assert subject(scene) == "the woven fabric"
    assert subject(scene_of(surface="brushed metal")) == "the brushed metal surface"
    assert subject(scene_of(name="hex nut")) == "the hex nut"
    assert look_of(scene.defects[0], scene) == "a small dark scratch"
    assert area_percent(scene.defects[0], scene) == pytest.approx(100 * 400 / 65536)


def test_five_fields():
    rng = random.Random(0)
    for scene in (
        scene_of(),
        scene_of(defect()),
        scene_of(defect(), defect("hole", "center", 90), defect("hole", "top", 50)),
    ):
        five = fields(scene, rng)
        assert five.summary.count(ANCHOR_TEXT) == 1
        report = five.report()
        assert ANCHOR_TEXT not in report
        names = ("Expectation:", "Observation:", "Diagnosis:", "Summary:", "Explanation:")
        assert sorted(map(report.index, names)) == [report.index(n) for n in names]


def test_questions_have_many_forms():
    rng = random.Random(0)
    for kind in ("direct", "explain", "describe", "any", "what", "where", "count"):
        assert len({expand(rng.choice(QUESTIONS[kind]), rng) for _ in range(300)}) > 40

import random

import pytest

from agvas_core.evaluation.language import JUDGED, LanguageScore, parse_reply, score_reply
from agvas_core.synthesis.facts import DefectFacts, SceneFacts
from agvas_core.synthesis.words import make_exchange, random_scene


def scene_of(*kinds_places):
    defects = tuple(
        DefectFacts(k, "dark", "thin", 400 - i, (0, 0, 20, 20), (10, 10), p, 0.3)
        for i, (k, p) in enumerate(kinds_places)
    )
    return SceneFacts("brushed metal", None, (), defects, (256, 256))


@pytest.mark.parametrize(
    ("reply", "kinds", "places", "count", "normal"),
    [
        ("There are two defects: a scratch and a stain.", {"scratch", "stain"}, set(), 2, False),
        (
            "I see two small dark scratches in the upper left and a hole at the top.",
            {"scratch", "hole"},
            {"upper left", "top"},
            3,
            False,
        ),
        ("No defect is visible. The wood surface looks as it should.", set(), set(), 0, True),
        ("[NOR][ANO][SEG] No anomaly was found.", set(), set(), 0, True),
        ("No, I see no scratch, but there is a hole in the centre.", {"hole"}, {"center"}, 1, False),
        ("It is not normal.", set(), set(), None, False),
        ("Some rust at the bottom-right corner.", {"corrosion"}, {"lower right"}, None, False),
        ("3 flaws, one of them a fibre on the left", {"fiber"}, {"left"}, 3, False),
        ("Two weave faults and a discoloured area.", {"weave fault", "discoloration"}, set(), 3, False),
        ("A foreign patch, not a stain.", {"foreign patch"}, set(), 1, False),
        ("The image is free of defects and looks normal.", set(), set(), 0, True),
        ("Two scratches, a hole and four more.", {"scratch", "hole"}, set(), 7, False),
        ("That is right.", set(), set(), None, False),
        ("", set(), set(), None, False),
    ],
)
def test_parse(reply, kinds, places, count, normal):
    facts = parse_reply(reply)
    assert (facts.kinds, facts.places, facts.count, facts.says_normal) == (kinds, places, count, normal)


def test_true_answers_score_full_marks():
    rng = random.Random(0)
    for _ in range(400):
        scene = random_scene(rng)
        for kind, judged in JUDGED.items():
            e = make_exchange(kind, scene, rng)
            assert all(score_reply(e.answer, scene, judged).values()), (e.answer, parse_reply(e.answer))


def test_wrong_answers_do_not():
    scene = scene_of(("scratch", "top"), ("hole", "left"))
    assert score_reply("No defect is visible.", scene) == {
        "normal": False,
        "kind": False,
        "place": False,
        "count": False,
    }
    assert score_reply("There is a hole on the left.", scene) == {
        "normal": True,
        "kind": False,
        "place": False,
        "count": False,
    }
    assert score_reply("A scratch at the top.", scene_of()) == {"normal": False}


def test_scores_add_up():
    scene = scene_of(("scratch", "top"))
    good, bad = score_reply("There is a scratch at the top.", scene), score_reply("There is a hole at the top.", scene)
    total = LanguageScore.of([good]) + LanguageScore.of([bad])
    assert total.rates() == {"normal": 1.0, "kind": 0.5, "place": 1.0, "count": 1.0}
    assert total.asked["kind"] == 2

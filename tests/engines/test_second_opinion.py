"""The expert's score beside another engine's mask: words, warnings, and the veto that is off unless asked for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from agvas_core.engines.anomaly_ov import AnomalyOVEngine, Look, heat_map, rule_words
from agvas_core.engines.base import Engine
from agvas_core.engines.names import parse_second_opinion, with_second_opinion
from agvas_core.engines.registry import is_engine
from agvas_core.engines.second_opinion import SecondOpinion, disagreement, opinion, veto
from agvas_core.evaluation.metrics import MetricsMeter
from agvas_core.processing import open_image
from agvas_core.regions import make_prediction, rethreshold, with_kinds
from agvas_core.structures import Conversation, Done, MaskReady, Notice, Request, TextDelta
from agvas_core.writers import verdict_facts
from tests.fakes import CARD, FakeEngine


class FixedSeer:
    """Gives every image one score."""

    device = torch.device("cpu")

    def __init__(self, score: float) -> None:
        self.score = score

    def look(self, image):
        return Look(self.score, np.full(image.size_hw, 0.5, np.float32))

    def speak(self, *args):
        yield "Yes"


def expert(score: float) -> AnomalyOVEngine:
    return AnomalyOVEngine(FixedSeer(score), replace(CARD, name="Second"))


def events(engine, image, mode="direct"):
    request = Request("Segment the anomalies.", image.image_id, mode)
    return list(engine.respond(Conversation().with_image(image), request))


def made(peak: float):
    p = np.full((8, 8), 0.1, np.float32)
    p[2:4, 2:4] = peak
    return make_prediction(image_id="x", p_seg=p, p_nor=1 - p, p_ano=p)


@pytest.mark.parametrize(
    ("peak", "score", "said"),
    [
        (0.9, 0.29, "Take this mask with care."),
        (0.9, 0.3, None),
        (0.2, 0.69, None),
        (0.2, 0.7, "Nothing is marked"),
        (0.2, 0.1, None),
    ],
)
def test_only_a_disagreement_is_warned_about(peak, score, said):
    sentence = disagreement(made(peak), score)
    assert (sentence is None) == (said is None)
    if said:
        assert sentence.startswith(said) and opinion(score) in sentence


@pytest.mark.parametrize(("roi", "score"), [((0, 0, 40, 40), 0.2), ((40, 40, 80, 80), 0.8), (None, 0.8)])
def test_of_a_region_of_interest_the_expert_says_how_suspicious_that_is(roi, score):
    """Nothing was marked in a clean region, but "look again" was said because of what lay elsewhere."""

    class Corner(FixedSeer):
        def look(self, image):
            saliency = np.full(image.size_hw, 0.25, np.float32)
            saliency[60:, 60:] = 1
            return Look(self.score, saliency)

    image = open_image(np.full((80, 80, 3), 128, np.uint8))
    second = SecondOpinion(FakeEngine(pause_s=0.0), AnomalyOVEngine(Corner(0.8), CARD))
    request = Request("Segment the anomalies.", image.image_id, "direct", roi_xyxy=roi)
    seen = list(second.respond(Conversation().with_image(image), request))
    what = "whole image" if roi is None else "region of interest"
    told = next(e.text for e in seen if isinstance(e, Notice) and "second look" in e.text)
    assert opinion(score, what) in told and ("look again" in told) == (score == 0.8)
    (mask,) = [e.prediction for e in seen if isinstance(e, MaskReady)]
    assert mask.image_score == pytest.approx((mask.pred_score + score) / 2)
    words = rule_words(heat_map(second.expert.look(image), image.image_id, request))
    assert f"The {what if roi else 'image'} looks" in words and f"(score {score:.2f})" in words


def test_a_veto_scales_the_maps_below_its_floor_and_survives_the_sliders():
    before = with_kinds(made(0.8), [("hole", 0.9)])
    assert veto(before, 0.5, 0.5) is before
    assert veto(before, 0.0, 0.0) is before
    weak = veto(before, 0.4, 0.5)
    assert weak.pred_score == pytest.approx(0.64) and weak.verdict == "anomaly" and weak.regions[0].kind == "hole"
    gone = veto(before, 0.1, 0.5)
    assert gone.verdict == "normal" and not gone.pred_mask.any()
    assert gone.pred_score == pytest.approx(0.16)
    for alpha in (0.0, 0.5, 1.0):
        assert rethreshold(gone, alpha=alpha).verdict == "normal"
    np.testing.assert_allclose(gone.p_nor + gone.p_ano, 1)


@pytest.mark.parametrize("mode", ["direct", "explain"])
def test_without_a_floor_it_adds_a_sentence_and_changes_nothing(picture, mode):
    image, own = picture(), FakeEngine(pause_s=0)
    both = SecondOpinion(own, expert(0.1))
    assert isinstance(both, Engine)
    assert "Second looks a second time" in both.card.description and "weakens" not in both.card.description
    assert (both.card.name, both.card.engine_id) == ("Fake engine + second opinion", "fake:second-opinion")
    assert both.card.weights.startswith(CARD.weights) and "Second: " in both.card.weights
    plain, checked = events(own, image, mode), events(both, image, mode)
    added = [e for e in checked if isinstance(e, Notice)]
    assert len(added) == 1 and added[0].text.startswith("Take this mask with care.")
    kept = [type(e) for e in checked if not isinstance(e, Notice)]
    assert kept == [type(e) for e in plain]
    masks = [next(e.prediction for e in es if isinstance(e, MaskReady)) for es in (plain, checked)]
    assert np.array_equal(masks[0].anomaly_map, masks[1].anomaly_map)


def test_a_veto_takes_mask_and_words_back_in_direct_mode_only(picture):
    class Talker(FakeEngine):
        def respond(self, conversation, request, *, stop=None):
            for event in super().respond(conversation, request, stop=stop):
                if isinstance(event, Done):
                    yield TextDelta("Sure, it is marked.")
                yield event

    image = picture()
    both = SecondOpinion(Talker(pause_s=0), expert(0.05), veto_floor=0.5)
    direct = events(both, image)
    assert next(e.prediction for e in direct if isinstance(e, MaskReady)).verdict == "normal"
    said = "".join(e.text for e in direct if isinstance(e, TextDelta))
    assert said.startswith("No anomaly found") and "slightly suspicious" in said and "Sure" not in said
    explained = events(both, image, "explain")
    assert next(e.prediction for e in explained if isinstance(e, MaskReady)).verdict == "anomaly"
    assert "Sure" in "".join(e.text for e in explained if isinstance(e, TextDelta))


def test_the_veto_is_part_of_the_name():
    assert parse_second_opinion("agvas-nano") is None and parse_second_opinion("agvas-nano:second") is None
    assert parse_second_opinion("agvas-nano:second-opinion") == ("agvas-nano", 0.0)
    assert parse_second_opinion("saa+:code:second-opinion=0.3") == ("saa+:code", 0.3)
    assert parse_second_opinion("agvas-nano:second-opinion=0.3:rules") is None  # rules upon it
    for wrong in ("=", "=no", "=2", "=nan"):
        with pytest.raises(ValueError, match="from 0 to 1"):
            parse_second_opinion(f"agvas-nano:second-opinion{wrong}")
    assert is_engine("agvas-nano:second-opinion=0.3:rules") and is_engine("agvas-nano:rules:second-opinion")
    assert not is_engine("nobody:second-opinion")
    assert with_second_opinion("agvas-nano, saa+:second-opinion=0.3,") == (
        "agvas-nano:second-opinion,saa+:second-opinion=0.3"
    )
    card = SecondOpinion(FakeEngine(pause_s=0), expert(0.5), veto_floor=0.3).card
    assert card.engine_id == "fake:second-opinion=0.3" and "weakens the map" in card.description


def test_questions_without_an_image_pass_through():
    both = SecondOpinion(FakeEngine(pause_s=0), expert(0.5))
    passed = list(both.respond(Conversation(), Request("Hello")))
    assert [type(e) for e in passed] == [
        type(e) for e in FakeEngine(pause_s=0).respond(Conversation(), Request("Hello"))
    ]


def test_images_are_ranked_by_the_mean_of_mask_and_score(picture):
    engine = SecondOpinion(FakeEngine(pause_s=0.0), expert(0.4))
    shown = next(e.prediction for e in events(engine, picture()) if isinstance(e, MaskReady))
    assert shown.image_score == pytest.approx((shown.pred_score + 0.4) / 2)
    assert rethreshold(shown, threshold=0.9).image_score == shown.image_score
    assert verdict_facts(shown, CARD, "direct")["image_score"] == shown.image_score
    assert "image_score" not in verdict_facts(made(0.9), CARD, "direct")
    meter, normal = MetricsMeter(), np.zeros(shown.size_hw, dtype=bool)
    defect = normal.copy()
    defect[0, 0] = True
    meter.update(replace(shown, image_score=0.9), defect)
    meter.update(replace(shown, image_score=0.1), normal)
    assert meter.compute().auroc == 1.0  # pred_score alone, the same for both, would give 0.5

"""SAA and SAA+ in the chat: the user's sentence sets the rules, the reply tells the fate of each candidate."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from agvas_core.drawing import overlay
from agvas_core.engines import registry, saa_loading
from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.ask import ask
from agvas_core.engines.base import Engine
from agvas_core.engines.dialogue import whole_before
from agvas_core.engines.own_words import NO_IMAGE
from agvas_core.engines.referring import ALL_SHOWN, NOTHING_LEFT_OUT
from agvas_core.engines.ruled import WORDS_BEFORE, RuledEngine
from agvas_core.engines.saa import SAAEngine
from agvas_core.engines.saa_loading import load_saa, parse_saa_name
from agvas_core.processing import open_image
from agvas_core.regions import rethreshold
from agvas_core.saa.candidates import ANY_QUERY, Candidate, ObjectRegion, box_mask, mask_box
from agvas_core.saa.prompts import LanguagePrompts, PropertyPrompts, prompts_for
from agvas_core.saa.report import (
    ALL_DROPPED,
    ANY_COUNTS,
    NO_AREA,
    NO_RULES,
    NOT_ASKED_FOR,
    NOTHING_READ,
    WAY_BACK,
)
from agvas_core.saa.rules import apply_rules
from agvas_core.structures import Conversation, Done, MaskReady, Notice, Request, Stage, TextDelta, Turn
from agvas_core.writers import verdict_facts
from tests.fakes import CARD, FakeEngine

HW = (200, 240)
SPOTS = {"scratch": (0.1, 0.1, 0.3, 0.2), "stain": (0.5, 0.5, 0.9, 0.9), "hole": (0.45, 0.1, 0.5, 0.15)}


class Spots:
    """Three known candidates."""

    def __init__(self):
        self.asked = []

    def half(self, prompts, variant):
        return 0.5

    def propose(self, image, prompts, stopped):
        self.asked.append(prompts)
        found = []
        for score, (phrase, box) in zip((0.6, 0.9, 0.7), SPOTS.items(), strict=True):
            mask = box_mask(box, HW)
            found.append(Candidate(mask_box(mask), float(mask.mean()), score, "any", phrase, mask, 0.8))
        return found, ObjectRegion(0.9, box_mask((0, 0, 1, 0.95), HW))

    def refine(self, image, candidates):
        return list(candidates)


@pytest.fixture
def engine():
    import torch

    return SAAEngine(Spots(), lambda image: torch.ones(3, 4, 4), replace(CARD, name="SAA+", engine_id="saa+"))


@pytest.fixture(scope="module")
def image():
    return open_image(np.random.default_rng(0).integers(0, 255, (*HW, 3), dtype=np.uint8))


def test_the_reply_tells_the_fate_of_every_candidate(engine, image):
    reply = ask(engine, image, Request("look for scratches, at most one, smaller than 10 % of the part"))
    assert [r.kind for r in reply.prediction.regions] == ["hole"]
    assert reply.prediction.regions[0].kind_score == pytest.approx(0.8)
    assert "Kept 1 of 3 candidates; dropped 1 by top-K, 1 by area." in reply.text
    assert "smaller than 10 % of the object" in reply.text and "at most 1" in reply.text
    rows = [line for line in reply.text.splitlines() if line.startswith("| ")][1:]
    assert [row.split("|")[3].strip() for row in rows] == ["hole", "stain", "scratch"]
    assert rows[0].startswith("| A | 1 | hole | kept, rank 1 | top |") and "kept, rank 1" in rows[0]
    assert "dropped by area: it covers 18 % of the object, not below 10 %" in rows[1]
    assert "dropped by top-K: rank 2, only the best 1 are kept" in rows[2]


def test_rules_of_earlier_sentences_stay_in_force(engine, image):
    turns = (
        Turn("user", "at most two", image.image_id),
        Turn("assistant", "Kept 2.", image.image_id),
        Turn("user", "ignore stains", "another image"),
    )
    conversation = Conversation(turns).with_image(image)
    list(engine.respond(conversation, Request("smaller than 10 %", image.image_id)))
    prompts = engine.proposer.asked[-1]
    assert prompts.confidence.top_k == 2 and prompts.property.max_area == 0.1 and prompts.language.excluded == ()


def test_a_kept_candidate_below_the_threshold_is_told(engine, image):
    reply = ask(engine, image, Request("", threshold=0.6))
    assert [r.kind for r in reply.prediction.regions] == ["stain"]
    assert reply.text.count("; below the threshold") == 2
    calm = ask(engine, image, Request("", threshold=0.9))
    assert calm.prediction.verdict == "normal" and calm.text.startswith("No anomaly found. Kept 3 of 3 candidates.")


def test_events_come_in_order_and_end_in_one_done(engine, image):
    conversation = Conversation().with_image(image)
    for mode, used in (("direct", "direct"), ("auto", "explain"), ("describe", "explain"), ("chat", "explain")):
        events = list(engine.respond(conversation, Request("", image.image_id, mode=mode)))
        assert [type(e) for e in events] == [Stage, Stage, Stage, MaskReady, TextDelta, Done]
        assert events[-1].mode == used and list(events[-1].seconds) == [*(e.name for e in events[:3]), "mask"]
        assert ("|" in events[-2].text) == (used == "explain")
    assert isinstance(engine, Engine)


def test_no_image_and_stop(engine, image):
    said = list(engine.respond(Conversation(), Request("look")))
    assert [type(e) for e in said] == [Notice, Done] and said[0].text == NO_IMAGE
    stop = threading.Event()
    stop.set()
    events = list(engine.respond(Conversation().with_image(image), Request("", image.image_id), stop=stop))
    assert events[-1].stopped and not any(isinstance(e, MaskReady) for e in events)


def test_saa_takes_words_but_no_rules(engine, image):
    vanilla = SAAEngine(Spots(), engine.features, CARD, plus=False)
    reply = ask(vanilla, image, Request("at most one, smaller than 1 %"))
    assert "Kept 3 of 3" in reply.text and vanilla.proposer.asked[-1].language.queries == ("anomaly",)
    ask(vanilla, image, Request("look for cracks"))
    assert vanilla.proposer.asked[-1].language.queries == ("crack",)
    vanilla.prepare(image)  # nothing to do ahead


def test_saliency_is_kept_per_image(engine, image):
    calls = []
    features = engine.features
    engine.features = lambda picture: calls.append(1) or features(picture)
    engine.prepare(image)
    for _ in range(2):
        ask(engine, image, Request(""))
    assert len(calls) == 1


def test_a_photo_larger_than_the_working_grid(engine):
    big = open_image(np.zeros((1500, 2100, 3), np.uint8))
    from agvas_core.saa.candidates import work_hw

    def propose(picture, prompts, stopped):
        mask = box_mask((0.5, 0.5, 0.9, 0.9), work_hw(picture.size_hw))
        return [Candidate(mask_box(mask), float(mask.mean()), 0.9, "any", "stain", mask)], ObjectRegion()

    engine.proposer.propose = propose
    found = ask(engine, big, Request("")).prediction
    assert found.size_hw == (1500, 2100) and len(found.regions) == 1
    assert found.regions[0].box_xyxy == pytest.approx((1050, 750, 1890, 1350), abs=3)


# --- over the bundled model ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["saa", "saa+", "saa+:code"])
def test_over_a_checkpoint_of_ours(checkpoint, picture, name):
    engine = load_saa(name, checkpoint, "cpu")
    assert engine.card.engine_id == name and engine.card.trained and "made for tests" in engine.card.weights
    assert "Not the paper's detectors" in engine.card.markdown
    photo = picture(1, (70, 96))
    engine.prepare(photo)
    reply = ask(engine, photo, Request("look for scratches", threshold=0.0))
    assert reply.prediction.size_hw == (70, 96) and np.isfinite(reply.prediction.anomaly_map).all()
    assert {r.kind for r in reply.prediction.regions} <= {"scratch", "hole", "defect"}
    again = ask(engine, photo, Request("look for scratches", threshold=0.0))
    np.testing.assert_array_equal(again.prediction.anomaly_map, reply.prediction.anomaly_map)


def test_features_cover_the_image_without_the_canvas(checkpoint, picture):
    proposer = load_saa("saa+", checkpoint, "cpu").proposer
    wide = proposer.features(picture(2, (32, 96)))
    square = proposer.features(picture(2, (96, 96)))
    assert wide.shape[2] == square.shape[2] and wide.shape[1] == pytest.approx(square.shape[1] / 3, abs=1)


def test_asked_kinds_come_first():
    from agvas_core.saa.bundled import parts_of, weigh

    p = np.zeros((20, 20), np.float32)
    p[2:6, 2:6], p[12:15, 12:15], p[12, 2] = 0.9, 0.8, 0.05
    p[3, 3] = 0.95
    found = parts_of(p)
    assert [round(c.score, 2) for c in found] == [0.95, 0.8]
    assert int(found[0].mask.sum()) == 16 and found[0].box == (0.1, 0.1, 0.3, 0.3)
    kinds, names = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32), ("stain", "hole")
    holes = weigh(found, kinds, names, LanguagePrompts(class_agnostic=(), class_specific=("blow hole",)))
    assert [c.phrase for c in holes] == ["stain", "hole"]
    assert [c.score for c in holes] == pytest.approx([0.95 * 1.1 / 2, 0.8 * 1.8 / 2])
    anything = weigh(found, kinds, names, LanguagePrompts(class_specific=("blow hole",)))
    assert [c.score for c in anything] == [c.score for c in found]
    unknown = weigh(found, kinds, names, LanguagePrompts(class_agnostic=(), class_specific=("loose screw",)))
    assert [c.score for c in unknown] == [c.score for c in found]
    assert parts_of(np.zeros((4, 4), np.float32)) == []


def test_parts_of_very_different_strength_get_outlines_of_their_own():
    from agvas_core.saa.bundled import parts_of

    ramp = np.array([[0.0, 0.2, 0.6, 0.9, 0.6, 0.2, 0.0, 0.12, 0.2, 0.12]], np.float32)
    strong, weak = parts_of(ramp)
    assert strong.mask.tolist() == [[False, False, True, True, True] + [False] * 5]
    assert weak.mask.tolist() == [[False] * 7 + [True] * 3]


# --- names -----------------------------------------------------------------------------------------------------------


def test_names_and_options():
    said = parse_saa_name("saa+:code:grounding-dino-base:sam-vit-huge")
    assert (said.plus, said.detector, said.sam, said.variant) == (
        True, "IDEA-Research/grounding-dino-base", "facebook/sam-vit-huge", "code",
    )  # fmt: skip
    assert parse_saa_name("saa").detector == "" and not parse_saa_name("saa").plus
    assert parse_saa_name("saa:grounding-dino-tiny").sam == "facebook/sam-vit-base"
    for wrong in ("saa+:nothing", "saa:sam-vit-base", "saa+:grounding-dino-tiny:grounding-dino-base"):
        with pytest.raises(ValueError, match="option|detector"):
            registry.is_engine(wrong)
    assert registry.is_engine("saa+:code") and registry.is_engine("agvas-nano:rules")
    assert not registry.is_engine("nobody:rules")
    assert {"saa", "saa+"} <= set(registry.list_engines())


def test_weights_that_cannot_be_fetched_are_one_sentence(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setitem(saa_loading.DETECTORS, "grounding-dino-tiny", "nobody/has-this-model")
    with pytest.raises(OSError, match="could not be fetched") as error:
        load_saa("saa+:grounding-dino-tiny", registry.CHECKPOINTS, "cpu")
    assert "\n" not in str(error.value)


# --- rules on any engine ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spotted():
    """Grey, with a large dark part at the lower right and a small one at the upper left."""
    rgb = np.full((*HW, 3), 128, np.uint8)
    rgb[120:180, 120:220] = 250
    rgb[20:40, 20:50] = 5
    return open_image(rgb)


def test_rules_clean_any_engines_mask(spotted):
    engine = RuledEngine(FakeEngine(pause_s=0.0))
    assert (engine.card.engine_id, engine.card.name) == ("fake:rules", "Fake engine + rules")
    plain = ask(engine.inner, spotted, Request("segment"))
    assert len(plain.prediction.regions) == 2
    reply = ask(engine, spotted, Request("smaller than 5 % of the image"))
    (left,) = reply.prediction.regions
    assert left.place == "upper left" and left.kind == plain.prediction.regions[1].kind == "hole"
    assert reply.notices[-1].startswith("Rules: Kept 1 of 2 candidates; dropped 1 by area.")
    assert reply.prediction.anomaly_map[150, 170] == 0
    best = ask(engine, spotted, Request("at most one")).prediction.regions
    assert len(best) == 1
    assert WAY_BACK in ask(engine, spotted, Request("ignore holes")).notices[-1]
    hole = ask(engine, spotted, Request("ignore stains larger than 5 % of the image"))
    assert [r.kind for r in hole.prediction.regions] == ["hole"] and "1 by ignored words" in hole.notices[-1]
    assert len(ask(engine, spotted, Request("ignore holes larger than 5 % of the image")).prediction.regions) == 2
    untouched = ask(engine, spotted, Request("segment"))
    assert [r.box_xyxy for r in untouched.prediction.regions] == [r.box_xyxy for r in plain.prediction.regions]
    assert WAY_BACK not in untouched.notices[-1]


def test_words_beside_a_ruled_mask_do_not_count_what_the_rules_dropped(spotted):
    class Counting(FakeEngine):
        """Says in the direct mode what the bundled engine says."""

        def respond(self, conversation, request, *, stop=None):
            for event in super().respond(conversation, request, stop=stop):
                if isinstance(event, Done) and request.mode == "direct":
                    yield TextDelta("Sure, it is marked: 2 regions.")
                yield event

    engine = RuledEngine(Counting(pause_s=0.0))
    direct = ask(engine, spotted, Request("at most one", mode="direct"))
    assert len(direct.prediction.regions) == 1 and direct.text == ""
    assert ask(engine, spotted, Request("segment", mode="direct")).text == "Sure, it is marked: 2 regions."
    explained = ask(engine, spotted, Request("at most one", mode="explain"))
    assert explained.text and explained.notices[-1].endswith(WORDS_BEFORE)
    whole = ask(engine, spotted, Request("segment", mode="explain"))
    assert not any(WORDS_BEFORE in notice for notice in whole.notices)


def test_a_question_sets_no_rule_for_later(spotted):
    engine = RuledEngine(FakeEngine(pause_s=0.0))
    asked = Turn("user", "Is there anything at the left?", spotted.image_id)
    conversation = Conversation((asked, Turn("assistant", "No.", spotted.image_id))).with_image(spotted)
    events = list(engine.respond(conversation, Request("segment", spotted.image_id, mode="direct")))
    (mask,) = [e.prediction for e in events if isinstance(e, MaskReady)]
    assert len(mask.regions) == 2
    for order in ("Could you keep at most one?", "At most one. Is it good?", "Ok, can we keep at most one?"):
        ordered = replace(conversation, turns=(Turn("user", order, spotted.image_id),))
        events = list(engine.respond(ordered, Request("segment", spotted.image_id, mode="direct")))
        assert len(next(e.prediction for e in events if isinstance(e, MaskReady)).regions) == 1, order


def test_rules_rank_by_saliency_when_there_is_one(spotted):
    prediction = ask(FakeEngine(pause_s=0.0), spotted, Request("segment")).prediction
    odd_upper_left = np.zeros(HW, np.float32)
    odd_upper_left[:60, :80] = 2.0
    one = replace(prompts_for(), confidence=replace(prompts_for().confidence, top_k=1))
    ruled, judgements, _ = apply_rules(spotted, prediction, one, lambda image, n: odd_upper_left)
    assert [r.place for r in ruled.regions] == ["upper left"]
    assert sum(j.kept for j in judgements) == 1


def test_rules_on_specks_between_the_working_grids_cells():
    rgb = np.full((1400, 2100, 3), 128, np.uint8)
    big = open_image(rgb)
    p = np.zeros((1400, 2100), np.float32)
    p[::100, ::100] = 0.9
    from agvas_core.regions import make_prediction

    prediction = make_prediction(image_id=big.image_id, p_seg=p, p_nor=1 - p, p_ano=p)
    assert len(prediction.regions) == 294
    free = replace(prompts_for(), property=PropertyPrompts(), confidence=None)
    ruled, judgements, _ = apply_rules(big, prediction, free)
    assert len(judgements) == 200 == len(ruled.regions)  # the rest is not judged
    assert all(j.candidate.mask.sum() == 1 for j in judgements)


def test_dropped_candidates_are_shown_by_their_letters(engine, image):
    """They were told in the table only, so nobody saw where they lay."""
    reply = ask(engine, image, Request("look for scratches, at most one, smaller than 10 % of the part"))
    hole, stain, scratch = reply.prediction.candidates
    assert [c.label for c in (hole, stain, scratch)] == ["A", "B", "C"]
    assert [c.kept for c in (hole, stain, scratch)] == [True, False, False]
    assert stain.box_xyxy == pytest.approx((120, 100, 216, 180), abs=1)
    assert stain.why.startswith("dropped by area: it covers 18 %") and "top-K" in scratch.why
    assert "Dashed boxes" in reply.text and "| B | - | stain |" in reply.text
    grey = Image.new("RGB", (HW[1], HW[0]), (128, 128, 128))
    with_them = np.asarray(overlay(grey, reply.prediction)).astype(int)
    without = np.asarray(overlay(grey, replace(reply.prediction, candidates=()))).astype(int)
    k = with_them.shape[0] // HW[0]
    drawn = np.abs(with_them - without).max(2) > 0
    for c in (stain, scratch):
        left, top, right, bottom = (v * k for v in c.box_xyxy)
        assert (
            drawn[top - 4 * k : top + k, left:right].any()
            and not drawn[top + 2 * k : bottom - 2 * k, left + 2 * k : right - 2 * k].any()
        )
    left, top, right, bottom = (v * k for v in hole.box_xyxy)
    assert not drawn[top:bottom, left:right].any()  # in the mask: it has an outline and a number
    raised = rethreshold(reply.prediction, threshold=0.99)
    assert raised.candidates == reply.prediction.candidates and not raised.pred_mask.any()
    now = np.asarray(overlay(grey, raised)).astype(int)
    assert (np.abs(now - 128).max(2) > 0)[max(0, top - 4 * k) : bottom, left:right].any()  # no longer in the mask
    facts = verdict_facts(reply.prediction, CARD, "explain")
    assert [(c["label"], c["kept"]) for c in facts["candidates"]] == [("A", True), ("B", False), ("C", False)]


def test_rules_on_any_engine_show_what_they_dropped_and_auto_gives_a_mask(spotted):
    engine = RuledEngine(FakeEngine(pause_s=0.0))
    conversation = Conversation().with_image(spotted)
    events = list(engine.respond(conversation, Request("at most one, smaller than 5 % of the image", spotted.image_id)))
    assert engine.inner.seen[-1][1].mode == "explain"  # it was answered as a chat, without a mask and without the rules
    (mask,) = [e.prediction for e in events if isinstance(e, MaskReady)]
    kept, dropped = mask.candidates
    assert (kept.kept, dropped.kept, dropped.label) == (True, False, "B") and "area" in dropped.why
    (told,) = [e.text for e in events if isinstance(e, Notice)]
    assert "B (stain) dropped by area" in told and "In force: smaller than 5 % of the image" in told
    for question in ("are there more than two?", "is it smaller than 5 % of the image?", "where does it come from?"):
        list(engine.respond(conversation, Request(question, spotted.image_id)))
        assert engine.inner.seen[-1][1].mode == "auto"


# --- rules that leave nothing ----------------------------------------------------------------------------------------

LEAVING_NOTHING = (
    "smaller than 0.01 %",
    "larger than 80 % of the image",
    "only in the center",
    "ignore holes and stains",
)


@pytest.mark.parametrize("mode", ["direct", "explain"])
@pytest.mark.parametrize("sentence", LEAVING_NOTHING)
def test_a_part_whose_regions_the_rules_drop_does_not_pass_as_normal(spotted, sentence, mode):
    """Its verdict was "normal", which a folder's table shows as a part without a defect."""
    reply = ask(RuledEngine(FakeEngine(pause_s=0.0)), spotted, Request(sentence, mode=mode))
    assert not reply.prediction.regions and reply.prediction.verdict == "other"
    said = reply.text if mode == "direct" else " ".join(reply.notices)
    assert ALL_DROPPED in said and "No anomaly" not in said
    assert rethreshold(reply.prediction, threshold=0.9).verdict == "other"
    facts = verdict_facts(reply.prediction, CARD, mode)
    assert (facts["verdict"], facts["regions"]) == ("other", [])


def test_a_part_without_regions_stays_normal_under_any_rule(spotted):
    grey = open_image(np.full((*HW, 3), 128, np.uint8))
    reply = ask(RuledEngine(FakeEngine(pause_s=0.0)), grey, Request("smaller than 0.01 %", mode="direct"))
    assert reply.prediction.verdict == "normal" and ALL_DROPPED not in reply.text + " ".join(reply.notices)
    some = ask(RuledEngine(FakeEngine(pause_s=0.0)), spotted, Request("smaller than 5 % of the image", mode="direct"))
    assert some.prediction.verdict == "anomaly" and ALL_DROPPED not in some.text


@pytest.mark.parametrize("mode", ["direct", "explain"])
@pytest.mark.parametrize(
    "sentence", ["smaller than 0.01 %", "only in the lower left", "ignore scratches, stains and holes"]
)
def test_candidates_that_the_rules_drop_are_told_and_are_not_normal(engine, image, sentence, mode):
    reply = ask(engine, image, Request(sentence, mode=mode))
    assert reply.prediction.verdict == "other" and not reply.prediction.pred_mask.any()
    assert reply.text.startswith(f"{ALL_DROPPED} Kept 0 of 3 candidates")
    calm = ask(engine, image, Request(sentence, mode=mode, threshold=0.9))  # nor would they be marked without the rules
    assert calm.prediction.verdict == "normal" and calm.text.startswith("No anomaly found.")


# --- what sets no rule -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("only defects larger than 2 mm", NO_AREA),
        ("ignore what is at most 12 px wide", None),
        ("longer than about a cm, or 3 cm", NO_AREA),
        ("larger than 2 mm²", NO_AREA),
        ("1 px is 0.1 mm", None),
        ("1 px is 0.1 mm. Larger than 2 mm²", None),
        ("1 px is 0.1 mm. Longer than 2 mm", None),
        ("just the darkest", NOTHING_READ),
        ("Suche nach Kratzern", NOTHING_READ),
        ("ingore the stain", NOTHING_READ),
        ("Please segment the anomalies in this image.", None),
        ("larger than 100 px", None),
        ("show all", None),
        ("how many are there?", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("mode", ["direct", "explain"])
def test_words_that_set_no_rule_are_told(engine, image, sentence, told, mode):
    """The reply was as if nothing had been said."""
    assert list(ask(engine, image, Request(sentence, mode=mode)).notices) == ([told] if told else [])


def test_a_rule_that_is_in_force_already_is_read_all_the_same(engine, image):
    conversation = Conversation((Turn("user", "ignore stains", image.image_id),)).with_image(image)
    events = list(engine.respond(conversation, Request("ignore stains", image.image_id)))
    assert not [e for e in events if isinstance(e, Notice)]


def test_saa_says_that_it_has_no_rules(engine, image):
    vanilla = SAAEngine(Spots(), engine.features, CARD, plus=False)
    assert ask(vanilla, image, Request("ignore stains, at most two")).notices == (NO_RULES,)
    assert ask(vanilla, image, Request("look for cracks")).notices == ()


def test_a_length_is_told_beside_the_rules_of_any_engine(spotted):
    notices = ask(RuledEngine(FakeEngine(pause_s=0.0)), spotted, Request("at most one, longer than 2 mm")).notices
    assert notices[-1] == NO_AREA and "at most 1" in notices[-2]


@pytest.mark.parametrize("told", [f"{ALL_SHOWN} Ask the other engine.", NOTHING_LEFT_OUT])
def test_what_the_inner_engine_says_of_all_that_it_shows_is_not_said_of_the_ruled_mask(spotted, told):
    """Beside a mask from which a rule had dropped a region it stood that the mask shows everything."""

    class Telling(FakeEngine):
        def respond(self, *question, **options):
            yield Notice(told)
            yield from super().respond(*question, **options)

    notices = ask(RuledEngine(Telling(pause_s=0.0)), spotted, Request("not in the center", mode="direct")).notices
    assert told not in notices and any("Rules: Kept" in notice for notice in notices)


def test_words_without_a_mask_are_said_to_be_of_the_mask_before_the_rules(spotted):
    """The number told was of what the rules had dropped, too, and nothing said so."""
    engine = RuledEngine(FakeEngine(pause_s=0.0))
    told = []
    for rule in ("not in the center", "find all defects"):
        conversation = Conversation((Turn("user", rule, spotted.image_id),)).with_image(spotted)
        events = engine.respond(conversation, Request("how many are there?", spotted.image_id, mode="chat"))
        told.append([e.text for e in events if isinstance(e, Notice)])
    assert [len(notices) for notices in told] == [1, 0]
    assert told[0][0].startswith(WORDS_BEFORE) and "not at center" in told[0][0]


def test_questions_after_a_ruled_mask_are_about_what_the_rules_left(spotted):
    """The answer to "how many?" counted what the rules had dropped, too."""
    engine = RuledEngine(FakeEngine(pause_s=0.0))
    ruled = ask(engine, spotted, Request("only what is smaller than 5 % of the image")).prediction
    said = Turn("user", "only what is smaller than 5 % of the image", spotted.image_id)
    shown = Turn("assistant", "A hole.", spotted.image_id, "explain", ruled)
    conversation = Conversation((said, shown)).with_image(spotted)
    events = list(engine.respond(conversation, Request("how many are there?", spotted.image_id, mode="chat")))
    read, _ = engine.inner.seen[-1]
    assert whole_before(read.turns, spotted.image_id) is ruled and len(ruled.regions) == 1
    (notice,) = [e.text for e in events if isinstance(e, Notice)]
    assert WORDS_BEFORE not in notice and "smaller than 5 % of the image" in notice and WAY_BACK in notice


def test_showing_all_again_drops_the_rules(spotted):
    engine = RuledEngine(FakeEngine(pause_s=0.0))
    said = Turn("user", "only what is smaller than 5 % of the image", spotted.image_id)
    conversation = Conversation((said, Turn("assistant", "A hole.", spotted.image_id))).with_image(spotted)
    masks = {}
    for words in ("segment", "show everything again"):
        events = engine.respond(conversation, Request(words, spotted.image_id, mode="direct"))
        (masks[words],) = [e.prediction for e in events if isinstance(e, MaskReady)]
    assert [len(mask.regions) for mask in masks.values()] == [1, 2]


def test_a_mistyped_rule_is_read_and_told(engine, spotted, image):
    for asked, photo in ((RuledEngine(FakeEngine(pause_s=0.0)), spotted), (engine, image)):
        reply = ask(asked, photo, Request("ignore stians", mode="direct"))
        assert reply.notices[0] == 'I read "stians" as stains.'
        assert "stain" not in [region.kind for region in reply.prediction.regions]
    assert [region.kind for region in reply.prediction.regions]


def test_an_area_in_px_is_a_share_of_this_image(engine, image):
    kept = ask(engine, image, Request("ignore anything smaller than 300 px")).prediction  # the hole has 120
    assert sorted(r.kind for r in kept.regions) == ["scratch", "stain"]
    assert engine.proposer.asked[-1].property.min_area == pytest.approx(300 / np.prod(HW))


def test_a_length_in_mm_is_a_rule_once_the_scale_is_known(engine, image):
    """The spots are 52, 126 and 16 px long; it was said that a photo has no scale."""
    said = Turn("user", "the image is 24 mm wide", image.image_id)
    conversation = Conversation((said,)).with_image(image)
    events = list(engine.respond(conversation, Request("only defects longer than 3 mm", image.image_id)))
    (mask,) = [e.prediction for e in events if isinstance(e, MaskReady)]
    assert sorted(r.kind for r in mask.regions) == ["scratch", "stain"]
    text = "".join(e.text for e in events if isinstance(e, TextDelta))
    assert "1 by length" in text and "longer than 30 px" in text
    assert "it is not longer than 30 px, but 15.62 px" in text


@pytest.mark.parametrize("area", ["3 mm²", "3 mm2", "3 square millimeters", "0.03 cm²", "3,0 mm^2"])
def test_an_area_in_mm2_is_a_rule_once_the_scale_is_known(engine, image, area):
    conversation = Conversation((Turn("user", "1 px is 0.1 mm", image.image_id),)).with_image(image)
    list(engine.respond(conversation, Request(f"ignore anything smaller than {area}", image.image_id)))
    assert engine.proposer.asked[-1].property.min_area == pytest.approx(300 / np.prod(HW))


class Weighed(Spots):
    """The same, when the words ask for something else: half of each score is left."""

    def propose(self, image, prompts, stopped):
        found, obj = super().propose(image, prompts, stopped)
        return [replace(c, score=c.score / 2, asked=0.5, query=ANY_QUERY) for c in found], obj


def test_what_answers_to_other_words_does_not_pass_as_normal(engine, image):
    """A part with a stain "had no anomaly" when cracks were looked for."""
    engine.proposer = Weighed()
    reply = ask(engine, image, Request("look for cracks"))
    assert reply.prediction.verdict == "other" and reply.text.startswith(f"{NOT_ASKED_FOR} Kept 3 of 3")
    assert ANY_COUNTS in reply.text  # the proposer did not know the word
    assert ANY_COUNTS not in ask(engine, image, Request("")).text
    marked = ask(engine, image, Request("look for cracks", mode="direct", threshold=0.3))
    assert "Regions 1, 2 and 3 look more like something else" in marked.text
    assert "more like something else" not in ask(engine, image, Request("", threshold=0.95)).text
    calm = ask(engine, image, Request("look for cracks", threshold=0.95))
    assert calm.prediction.verdict == "normal" and calm.text.startswith("No anomaly found.")


# --- weights ---------------------------------------------------------------------------------------------------------


def test_engines_of_one_checkpoint_share_its_weights_and_give_them_back(checkpoint, tmp_path):
    """SAA and Anomaly-OV once loaded copies of their own beside AG-VAS."""
    folder = shutil.copytree(checkpoint, tmp_path / "own")
    plain = AGVASEngine(folder, engine_id="a", name="A")
    model = plain.predictor.model
    plus, vanilla = load_saa("saa+", folder, "cpu"), load_saa("saa", folder, "cpu")
    assert plus.proposer.predictor.model is model and vanilla.proposer.predictor is plus.proposer.predictor
    assert AGVASEngine(folder, engine_id="b", name="B").predictor.model is model
    assert load_saa("saa+", checkpoint, "cpu").proposer.predictor.model is not model  # another folder
    one, other = next(model.parameters()), next(plus.proposer.predictor.model.parameters())
    assert one.data_ptr() == other.data_ptr()
    held = weakref.ref(model)
    del plain, plus, vanilla, model, one, other
    gc.collect()
    assert held() is None

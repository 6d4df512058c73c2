"""Words held to their mask: what is true goes through letter by letter, what is not is put right or left out."""

import random

import pytest

from agvas_core.claims import Mention, mentions
from agvas_core.engines.held_words import HeldWords, agrees, answer
from agvas_core.engines.pointing import Finding
from agvas_core.prompts import MAX_MEASURED_REGIONS
from agvas_core.synthesis.sentences import area_percent
from agvas_core.synthesis.words import random_scene, talk

CRACK, PIT = Finding("crack", "center", 1.23), Finding("pit", "lower left", 0.04)
BOTH = (CRACK, PIT)
SEEN = "I see a crack in the center and a pit in the lower left."


def said(text, findings=BOTH, question="", chat=True):
    words = HeldWords(question, findings, chat=chat)
    out = "".join(words.push(text[i : i + 3]) for i in range(0, len(text), 3))
    return out + words.finish(), words.changed


def found_in(scene, indices):
    """What a mask of these defects shows, as far as the words can read it."""
    return [
        Finding(scene.defects[i].kind, scene.defects[i].place, area_percent(scene.defects[i], scene)) for i in indices
    ]


def test_every_true_answer_of_the_training_goes_through_as_it_is():
    exchanges = 0
    for seed in range(250):
        rng = random.Random(seed)
        scene = random_scene(rng)
        if len(scene.defects) > MAX_MEASURED_REGIONS:
            continue  # of the others no kind is read
        for e in talk(scene, rng, (2, 4)):
            shown = e.target if e.mode == "explain" else range(len(scene.defects))
            text = e.answer.replace("[NOR][ANO][SEG]", "").strip()
            assert said(text, found_in(scene, shown), e.instruction, e.mode == "chat") == (text, 0), e
            exchanges += 1
    assert exchanges > 400


def test_answers_about_another_image_are_found_out():
    caught = total = 0
    for seed in range(250):
        rng = random.Random(seed)
        scene, other = random_scene(rng, normal_share=0.0), random_scene(random.Random(seed + 10_000))
        for e in talk(scene, rng, (1, 3)):
            if e.kind in ("where", "count", "any", "what", "verdict", "size", "explain"):
                own, others = (found_in(s, range(min(5, len(s.defects)))) for s in (scene, other))
                if {(f.kind, f.place) for f in own} & {(f.kind, f.place) for f in others}:
                    continue
                text = e.answer.replace("[NOR][ANO][SEG]", "").strip()
                caught += said(text, others, e.instruction, e.mode == "chat")[1] > 0
                total += 1
    assert total > 100 and caught >= 0.98 * total


@pytest.mark.parametrize(
    ("question", "wrong", "right"),
    [
        ("how many?", "I found two defects: two cracks.", "I found two defects: a crack and a pit."),
        ("bad?", "Yes, there are five defects: five cracks.", "Yes, there are two defects: a crack and a pit."),
        ("how many?", "I found one defect: a hole.", "There are two defects: a crack and a pit."),
        ("what is it?", "The image shows a part with two cracks.", "The image shows a part with a crack and a pit."),
        ("good?", "I would reject it: I see a stain at the top.", f"I would reject it: {SEEN}"),
        ("else?", "I also see a stain at the top.", "I also see a pit in the lower left."),
        ("how many?", "The cracks are in the center and on the left.", "There are two defects: a crack and a pit."),
        ("where?", "The crack is on the left.", SEEN),
        ("how big?", "The crack covers about 0.5 % of the image.", "The crack covers about 1.2 % of the image."),
        ("what is at the top?", "I see a crack in the center.", "I see nothing unusual at the top."),
        ("what is in the lower left corner?", SEEN, "In the lower left I see a pit."),
        ("any stains?", "Yes, there is a stain in the center.", "I see no stain, but there is a crack in the center."),
        ("any pits?", "No, I see no pit, but there is a crack in the center.", "There is a pit in the lower left."),
        ("fine?", "No defect is visible. The part looks as it should.", SEEN),
        ("fine?", "It looks minor because the crack is small.", SEEN),
        ("else?", "I see no other defect, only the crack.", SEEN),
    ],
)  # fmt: skip
def test_what_contradicts_the_mask_is_put_right(question, wrong, right):
    assert said(wrong, question=question) == (right, said(wrong, question=question)[1])
    assert agrees(right, BOTH, question) and not agrees(wrong, BOTH, question)


def test_nothing_marked_means_no_defect_is_spoken_of():
    assert said("I see two cracks. The largest is a small crack.", ()) == ("I see no defect.", 2)
    place = "I see no defect in the upper right, so nothing is marked."
    assert said(place, (), "Segment only the largest one.", chat=False) == ("I see no defect.", 1)
    assert said(place, (), "Segment the one in the upper right.", chat=False) == (place, 0)


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("would you reject this part?", "It"), ("Isn't it broken?", "It"),
        ("does it fail?", "It"), ("is it good?", "No, it"), ("pass or fail?", "No, it"),
        ("is it good, and what is wrong?", "No, it"),
    ],
)  # fmt: skip
def test_a_no_never_answers_whether_it_is_bad(question, first):
    """It is bad, said a "No, it is not good" to "would you reject it?"."""
    no = "No, it is not good: I see a crack in the center and a pit in the lower left."
    assert said(no, question=question)[0] == no.replace("No, it", first)


def test_what_is_wrong_is_never_answered_with_an_excuse():
    """It was once read as "that is wrong", and answered "I can make mistakes"."""
    excuse = "I can make mistakes. Please check the marked area, or change the threshold."
    assert said(excuse, question="what is wrong?") == (SEEN, 2)
    assert said(excuse, (), "what is wrong?")[0] == "I see no defect."
    for question in ("you are wrong", "that is not a defect", "what should I do about the crack?", "what are you?"):
        assert said(excuse, question=question) == (excuse, 0)


def test_a_kind_that_nobody_asked_for_is_not_denied():
    """A scratch that an earlier question named was denied to "show me only the biggest"."""
    denial = "I see no scratch, so the mask is empty."
    assert said(denial, (), "show me only the biggest", chat=False)[0] == "I see no defect."
    assert said(denial, (), "segment the scratch", chat=False)[0] == denial


def test_a_later_wrong_sentence_is_left_out_and_its_blank_with_it():
    assert said("I see a crack in the center. The pit is at the top. Please check it.") == (
        "I see a crack in the center. Please check it.",
        1,
    )
    assert said("I see a crack in the center. The pit is at the top.")[0] == "I see a crack in the center."


def test_a_reports_fields_keep_their_names():
    report = (
        "Observation: I see a stain on the left. Diagnosis: Two stains. Explanation: The stain marks the clean surface."
    )
    assert said(report)[0] == (
        "Observation: I see a crack in the center and a pit in the lower left. Diagnosis: A crack and a pit. "
        "Explanation: This is not normal: the crack breaks the surface apart."
    )


def test_words_before_anchors_are_held_too():
    words = HeldWords("", BOTH, chat=False)
    words.push("The anomaly is a stain on the left of the part, as indicated by ")
    assert words.part() == "I see a crack in the center and a pit in the lower left, as indicated by "
    assert words.push(".") + words.finish() == "."
    empty = HeldWords("", (), chat=False)
    empty.push("The part has a stain on the left, as shown by the empty mask ")
    assert empty.part() == "I see no anomaly, as indicated by the mask"


def test_what_is_marked_is_not_taken_back_as_a_shadow():
    harmless = "The shadow comes from the light and is normal."
    assert said(harmless, question="is the crack real or a shadow?")[0] == "There is a crack in the center."
    assert said(harmless, question="Could it be a shadow?")[0] == SEEN
    assert said(harmless, question="is the shadow a defect?") == (harmless, 0)
    assert said(harmless, (), "is it a shadow?") == (harmless, 0)


def test_no_blank_is_left_where_anchors_were():
    """A normal image was described "as shown by the empty mask ."."""
    words = HeldWords("", (), chat=False)
    out = words.push("The surface looks normal, as shown by the empty mask ") + words.part() + words.push(".")
    assert out + words.finish() == "The surface looks normal, as shown by the empty mask."


def test_a_definition_is_no_claim():
    text = "A stain marks the clean surface. It may be caused by a spilled liquid."
    assert said(text, BOTH, "What is a stain?") == (text, 0)
    assert said("The shadow comes from the light and is normal.", BOTH, "And the shadow?")[1] == 0


def test_beyond_what_is_read_kinds_are_not_named():
    many = [CRACK] * MAX_MEASURED_REGIONS + [Finding("", "top", 0.01)] * 2
    assert answer("how many?", many) == "There are seven defects: five cracks and two more."
    assert answer("what is at the top?", many) == "At the top I see a defect and a defect."


def test_mentions_by_hand():
    assert mentions("In the upper left I see a small dark pit and two cracks at the top.") == [
        Mention("pit", "upper left", 1, "small"),
        Mention("crack", "top", 2, None),
    ]
    assert mentions("The largest, the chipped edge on the right, covers about 3 %.") == [
        Mention("chipped edge", "right", None, None)
    ]
    assert mentions("I see no scratch. It may come from material left from another process.") == []


def test_a_kind_is_counted_once_in_a_list():
    """Of three it was said: "two pits and a pit"."""
    three = (PIT, PIT, PIT)
    assert said("I count three defects: two pits and a pit.", three)[0] == "I count three defects: three pits."
    assert said("I count three defects: three pits.", three) == ("I count three defects: three pits.", 0)
    assert (
        answer("what do you see?", (*three, CRACK)) == "I see three pits in the lower left and a crack in the center."
    )
    assert answer("any pits?", three) == "There are three pits in the lower left."

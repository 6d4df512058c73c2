"""Words that point back are the findings that the talk was about; each of these was once told of the largest one."""

from dataclasses import replace

import pytest

from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.dialogue import whole_before
from agvas_core.engines.pointing import findings_of, meant, parts
from agvas_core.engines.pronouns import spelled_out
from agvas_core.regions import with_kinds
from agvas_core.structures import Conversation, Request, Turn
from tests.engines.test_agvas import spy_on_reading
from tests.engines.test_referring import spots

# region 1 in the upper right, 2 at the top, 3 in the upper left
SEEN = with_kinds(spots(5, 80, 160), [("stain", 0.9), ("hole", 0.9), ("hole", 0.9)])


def talk(*exchanges: tuple[str, str]) -> list[Turn]:
    turns = []
    for question, answer in exchanges:
        turns += [Turn("user", question, "i"), Turn("assistant", answer, "i")]
    return turns


def numbers(words: str, *exchanges: tuple[str, str]) -> set[int] | None:
    """Return which regions words mean after a talk."""
    wanted, _ = parts(spelled_out(words, talk(*exchanges), "i", SEEN))
    return meant(wanted, findings_of(SEEN))


@pytest.mark.parametrize(
    ("before", "words", "regions"),
    [
        ("the stain", "how big is it?", {1}), ("the stain", "what about the other ones?", {2, 3}),
        ("only the left hole", "show only that one", {3}), ("only the left hole", "and the rest?", {1, 2}),
        ("both holes", "how big are they?", {2, 3}), ("both holes", "And the other?", {1}),
        ("both holes", "why are they bad?", {2, 3}), ("what is wrong?", "how big are they?", {1, 2, 3}),
        ("only the left hole", "segment the other holes", {2}), ("the stain", "the other stains", {1}),
        ("both holes", "the biggest of them", {2}), ("the stain", "the smallest of them", {3}),
        ("the stain", "segment it again", None), ("the stain", "那另一个呢", {2, 3}),
        ("the stain", "can I ship it?", None), ("what is wrong?", "how big is it?", None),
        ("the stain", "find all defects and mark them", None), ("the stain", "is the part good?", None),
    ],
)  # fmt: skip
def test_what_points_back_is_what_the_talk_was_about(before, words, regions):
    assert numbers(words, (before, "Sure.")) == regions


def test_it_stays_the_same_finding_through_a_talk():
    exchanges = [("only the stain", "Done."), ("how big is it?", "Small."), ("why is it bad?", "A stain marks.")]
    assert numbers("where is it?", *exchanges) == {1}
    assert numbers("and the others", *exchanges) == {2, 3}
    assert numbers("how big are they?", *exchanges, ("and the others", "Two holes.")) == {2, 3}
    assert numbers("how big is it?", ("what is there?", "It is a stain in the upper right.")) == {1}
    spelled = spelled_out("is it bigger than the other ones?", talk(*exchanges), "i", SEEN)
    assert spelled.startswith("is the stain in the upper right bigger than the largest hole at the top and ")


def test_of_one_finding_and_of_another_image_nothing_is_spelled_out():
    alone = with_kinds(spots(5), [("hole", 0.9)])
    assert spelled_out("How big is it?", talk(("the hole", "Here.")), "i", alone) == "How big is it?"
    assert spelled_out("How big is it?", talk(("the stain", "Here.")), "another", SEEN) == "How big is it?"


def test_what_the_other_one_left_of_a_mask_is_not_all_of_it():
    part = with_kinds(spots(160), [("stain", 0.9)])
    turns = []
    for words, shown in (("is it good?", SEEN), ("only the holes", SEEN), ("and the other one", part)):
        turns += [Turn("user", words, "i"), Turn("assistant", "Sure.", "i", "explain", shown)]
    assert whole_before(turns, "i") is SEEN


def test_a_question_about_one_finding_is_answered_from_that_one_alone(checkpoint, picture, monkeypatch):
    """What caused the smaller defect was once told of the largest one."""
    engine, image = AGVASEngine(checkpoint, engine_id="test", name="Test"), picture()
    config = engine.predictor.model.config
    reads_kinds = replace(config, decoder=replace(config.decoder, measured_kinds=True))
    monkeypatch.setattr(engine.predictor.model, "config", reads_kinds)
    kinds = [("stain", 0.9), ("hole", 0.9)]
    monkeypatch.setattr(engine.predictor, "region_kinds", lambda encoded, masks: kinds[-len(masks) :])
    shown = with_kinds(spots(5, image.size_hw[1] - 20, size_hw=image.size_hw), kinds)
    before = Conversation().with_image(image).with_turn(Turn("user", "segment the defects", image.image_id))
    before = before.with_turn(Turn("assistant", "Sure.", image.image_id, "direct", shown))
    seen = spy_on_reading(engine, monkeypatch)
    for words in ("What caused the hole?", "Is the hole worse than the others?"):
        list(engine.respond(before, Request(words, image.image_id, mode="chat", max_new_tokens=2)))
    assert "hole" in seen[0] and "stain" not in seen[0] and "stain" in seen[-1]

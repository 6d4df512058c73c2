"""What a user's words ask for: the mode, all or a part, and what a question is about."""

import pytest

from agvas_core.asking import (
    as_learned,
    asks_about_defects,
    asks_diagnosis,
    asks_how_sure,
    build_instruction,
    choose_mode,
    in_other_language,
    pointing_words,
    singles_out,
    wants_whole_again,
)


@pytest.mark.parametrize(
    ("instruction", "mode"),
    [
        ("", "explain"),
        ("Please segment the anomalies in this image.", "direct"),
        ("Could you localise every flaw?", "direct"),
        ("show me where the defects are", "direct"),
        ("give me a mask", "direct"),
        ("plaese higlight the defects", "direct"),
        ("Is there a defect? If so, mark it.", "direct"),
        ("segment the defects and explain why", "explain"),
        ("Why is this part abnormal?", "explain"),
        ("inspect this part", "explain"),
        ("segment only the scratch", "explain"),
        ("do not segment the stain", "explain"),
        ("Please don't mark the holes", "explain"),
        ("everything except the crack", "explain"),
        ("all but region 1", "explain"),
        ("hide the fiber", "explain"),
        ("I only care about cracks", "explain"),
        ("focus on the upper half", "explain"),
        ("show me the largest one", "explain"),
        ("only show defects you are more than 90% sure about", "explain"),
        ("mask only 1 and 2", "explain"),
        ("look again please", "explain"),
        ("find suspicious areas in this scan", "direct"),
        ("segment the abnormal tissue", "direct"),
        ("Please describe the anomaly.", "describe"),
        ("mark the flaws and describe them", "describe"),
        ("describe the surface", "chat"),
        ("how many defects are there?", "chat"),
        ("Where is the scratch?", "chat"),
        ("is there a hole?", "chat"),
        ("what does the mask show?", "chat"),
        ("how did you segment this?", "chat"),
        ("hello", "chat"),
        ("tell me a joke", "chat"),
        ("请分割图中的缺陷。", "direct"),
        ("标出异常并解释原因", "explain"),
        ("描述缺陷", "describe"),
        ("只标出最大的缺陷", "explain"),
        ("有几个缺陷？", "chat"),
        ("这是什么表面？", "chat"),
    ],
)
def test_auto_mode(instruction, mode):
    assert choose_mode(instruction, has_image=True) == mode
    assert choose_mode(instruction, has_image=False) == "chat"


def test_a_mask_already_shown_makes_why_a_question_about_it():
    assert choose_mode("why is that not normal?", True, has_previous_mask=True) == "chat"
    assert choose_mode("only the left one", True, has_previous_mask=True) == "explain"
    assert choose_mode("segment it again", True, has_previous_mask=True) == "direct"
    for words in ("the largest hole please", "both holes", "region 2", "not the stain"):
        assert choose_mode(words, True, has_previous_mask=True) == "explain"
    for words in ("the hole is deep", "the hole?", "all clear", "the part comes from the left line"):
        assert choose_mode(words, True, has_previous_mask=True) == "chat"


def test_a_question_that_begins_with_what_it_is_about_is_no_request_for_a_part():
    """The second one, how big? was answered with a mask of it, and with no size."""
    assert choose_mode("the second one, how big", True, has_previous_mask=True) == "chat"
    assert choose_mode("the second one", True, has_previous_mask=True) == "explain"


@pytest.mark.parametrize(
    ("words", "pointing"),
    [
        ("only 1 and 3", "only region 1 and 3"), ("hide 2 please", "hide region 2 please"),
        ("difference between 1 and 2?", "difference between region 1 and 2"), ("only 2 images", "only 2 images"),
        ("mark 3 scratches", "mark 3 scratches"), ("show 3 mm", "show 3 mm"), ("is there only 1?", "is there only 1"),
        ("keep 1.5", "keep 1.5"), ("mark 3 largest", "mark 3 largest"),
    ],
)  # fmt: skip
def test_a_bare_number_is_a_regions_where_the_words_point_at_nothing_else(words, pointing):
    assert pointing_words(words) == pointing


def test_words_take_back_what_narrowed_a_mask():
    whole = (
        "show all again", "Show everything again!", "put it back", "all again please", "mark everything", "reset",
        "give me everything back", "now show me all", "everything again", "show the whole mask", "restore",
        "show all of them again", "重新显示全部", "全部标出",
    )  # fmt: skip
    other = (
        "show everything but the stain", "mark all scratches", "look at it again", "mark the rest", "show it",
        "all", "is everything ok?", "hide it", "show all again without the stain", "",
    )  # fmt: skip
    assert [words for words in whole if not wants_whole_again(words)] == []
    assert [words for words in other if wants_whole_again(words)] == []


def test_what_only_a_physician_can_say_is_known():
    assert asks_diagnosis("Is it malignant?") and asks_diagnosis("is there a tumour in it") and asks_diagnosis("良性吗")
    assert not asks_diagnosis("is there a lesion on the left?") and not asks_diagnosis("be patient and look again")
    assert asks_about_defects("is there a polyp") and asks_about_defects("any suspicious tissue?")
    assert as_learned("is it benign?") == "What do you see?"


def test_a_picked_mode_is_asked_for_in_words():
    assert build_instruction("direct", "") == "Please segment the anomalies in this image."
    for mode in ("describe", "explain"):
        for words in ("", "segment the anomalies", "is it ok?"):
            assert choose_mode(build_instruction(mode, words), True) == mode
    plus = build_instruction("describe_plus", "describe the flaw", "A good nut has six sides.")
    assert plus == "A good nut has six sides. describe the flaw"


@pytest.mark.parametrize(
    ("words", "about"),
    [
        ("Is this part good, and where not?", True), ("what is wrong with it?", True), ("How many are there?", True),
        ("OK or NG?", True), ("这个合格吗？", True), ("what should it look like?", False),
        ("what does a good one look like", False), ("hello", False), ("tell me a joke", False), ("thank you", False),
        ("good morning", False), ("ok, hello!", False), ("where are you from?", False), ("is it broken?", True),
        ("what is the capital of France?", False), ("who is the president?", False), ("any pinholes?", True),
        ("list all as a table", True), ("list the materials", False),
        ("write a poem about it", False),
    ],
)  # fmt: skip
def test_questions_about_what_is_wrong_are_told_from_others(words, about):
    assert asks_about_defects(words) == about


@pytest.mark.parametrize("words", ["ignore the stain", "Please exclude the holes", "now leave out the left one"])
def test_what_is_to_be_left_out_asks_for_a_mask(words):
    assert choose_mode(words, has_image=True) == "explain"


@pytest.mark.parametrize(
    ("words", "sure"),
    [
        ("How sure are you?", True), ("are you certain?", True), ("what's the score?", True),
        ("with what confidence", True),
        ("make sure it is clean", False), ("a certain scratch", False), ("how big is it?", False),
    ],
)  # fmt: skip
def test_questions_about_certainty_are_told_from_others(words, sure):
    assert asks_how_sure(words) == sure


@pytest.mark.parametrize(
    "words",
    [
        "segment region two", "mark #3", "segment defect 3", "mark the second one", "only the last defect",
        "segment at most two defects", "mark what is larger than 1 %", "the smaller hole", "mark the big one",
        "segment regions 2 to 4",
    ],
)  # fmt: skip
def test_words_that_ask_for_a_part(words):
    assert singles_out(words)


@pytest.mark.parametrize(
    "words",
    [
        "segment the anomalies",
        "segment the defects of part number 12",
        "mark at least everything",
        "is it larger than usual?",
        "segment it again",
    ],
)
def test_words_that_ask_for_all(words):
    assert not singles_out(words)


@pytest.mark.parametrize(
    ("words", "other"),
    [
        ("Segmentiere nur den Fleck", True), ("Segmente seulement la tache", True),
        ("Wie viele Defekte gibt es?", True),
        ("¿Cuántos defectos hay?", True), ("quanti difetti ci sono?", True), ("Há quantos defeitos?", True),
        ("найди дефект", True), ("傷はどこですか", True), ("결함을 찾아줘", True),
        ("segment only the scratch on the left", False), ("Is the die or the gear broken?", False), ("", False),
        ("请分割图中的缺陷。", False), ("the naïve façade, 5 µm", False), ("a los angeles part", False),
        ("Größe? 👩‍🔧", False),
    ],
)  # fmt: skip
def test_other_languages_are_told_from_english_and_chinese(words, other):
    assert in_other_language(words) == other


@pytest.mark.parametrize(
    ("asked", "learned"),
    [
        ("is it cosmetic or functional?", "Is it serious?"), ("Will it get worse?", "Is it serious?"),
        ("does it meet the spec?", "Is it serious?"), ("How does this work?", "What can you do?"),
        ("summarize it in one sentence", "What do you see?"), ("what caused it?", "what caused it?"),
    ],
)  # fmt: skip
def test_unusual_questions_are_read_in_words_that_were_taught(asked, learned):
    """The bundled model answered "will it get worse?" with what it can inspect."""
    assert as_learned(asked) == learned

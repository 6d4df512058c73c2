"""What the picture shows: no "part" where none stands out, and an honest answer to who asks for the name."""

import pytest

from agvas_core.engines.held_words import HeldWords
from agvas_core.engines.pointing import Finding
from agvas_core.engines.subject import CANNOT_NAME, asks_name, of_a_surface

CRACK = Finding("crack", "center", 1.23)


@pytest.mark.parametrize(
    ("said", "of_surface"),
    [
        (
            "A normal part has a complete shape, clean edges and an even surface.",
            "A normal surface has an even texture and an even color.",
        ),
        (
            "The part looks normal, with a complete shape, clean edges and an even surface.",
            "The surface looks normal, with an even texture and an even color.",
        ),
        ("The image shows a part with a crack.", "The image shows a surface with a crack."),
        ("The image shows a part with a missing part.", "The image shows a surface with a missing part."),
        ("The missing part is in the center of the part.", "The missing part is in the center of the surface."),
        ("A missing part leaves a gap.", "A missing part leaves a gap."),
        (
            "No anomaly is visible. The plastic surface looks normal.",
            "No anomaly is visible. The surface looks normal.",
        ),
        ("The stain marks the clean surface.", "The stain marks the clean surface."),
    ],
)
def test_a_part_becomes_a_surface_and_a_missing_part_stays(said, of_surface):
    assert of_a_surface(said) == of_surface


def test_a_material_is_said_only_where_the_question_named_it():
    """Rolled steel was "the plastic surface"."""
    said = "The wooden surface looks normal."
    assert of_a_surface(said, "is it good?") == "The surface looks normal."
    assert of_a_surface(said, "Is this wooden board good?") == said


@pytest.mark.parametrize(
    "question",
    [
        "What material is this?",
        "What is this made of?",
        "what kind of surface is it",
        "What am I looking at?",
        "What is this a photo of?",
        "What does the image show?",
    ],
)
def test_questions_for_the_name(question):
    assert asks_name(question)


@pytest.mark.parametrize(
    "question",
    [
        "Which part is damaged?",
        "What is wrong with this part?",
        "What is it?",
        "What kind of defect is this?",
        "What should this surface look like?",
        "In which part of the image is it?",
    ],
)
def test_questions_about_the_defect_are_none(question):
    assert not asks_name(question)


def say(text, called, question="What material is this?"):
    words = HeldWords(question, (CRACK,), called=called)
    return words.push(text) + words.finish()


def test_a_reply_calls_it_what_it_is_told_and_owns_that_it_has_no_name():
    text = "The image shows a part with a crack."
    assert say(text, "surface") == f"The image shows a surface with a crack. {CANNOT_NAME}"
    assert say(text, "part") == f"{text} {CANNOT_NAME}"
    assert say(text, "") == text  # words that can name things
    assert say(text, "surface", "Is there a defect?") == "The image shows a surface with a crack."


def test_the_corrected_sentence_still_speaks_of_a_surface():
    assert say("The image shows a part with two stains.", "surface") == (
        f"The image shows a surface with a crack. {CANNOT_NAME}"
    )

import re

import pytest

from agvas_core.asking import singles_out
from agvas_core.kinds import CHINESE, ENGLISH, KIND_WORDS, asked_pattern
from agvas_core.synthesis.facts import DEFECT_KINDS


def test_every_kind_that_is_taught_has_its_spellings():
    assert tuple(ENGLISH) == DEFECT_KINDS
    assert set(CHINESE) < set(ENGLISH)


@pytest.mark.parametrize("kind", DEFECT_KINDS)
def test_the_words_that_the_model_says_are_read_as_that_kind_alone(kind):
    for word in (kind, KIND_WORDS[kind].one, KIND_WORDS[kind].many):
        assert [name for name, pattern in ENGLISH.items() if re.fullmatch(pattern, word)] == [kind]
        assert singles_out(f"Only the {word}, please.")
        assert [name for name in ENGLISH if re.search(asked_pattern(name), f"segment the {word}")][:1] == [kind]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("the chipped one", "chipped edge"), ("where it is rusty", "corrosion"), ("the bent wire", "deformation"),
        ("what is missing", "missing part"), ("the scratched area", "scratch"), ("the rusted side", "corrosion"),
        ("划痕", "scratch"), ("裂纹", "crack"),
    ],
)  # fmt: skip
def test_people_point_with_other_words_too(words, kind):
    assert re.search(asked_pattern(kind), words)
    assert singles_out(words)


def test_a_word_inside_another_names_nothing():
    assert not [kind for kind in ENGLISH if re.search(asked_pattern(kind), "the whole spit of the chipmunk")]

"""Words that ask for a part, and the sentence when the mask shows everything all the same."""

from __future__ import annotations

import numpy as np
import pytest

from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.ask import ask
from agvas_core.engines.referring import ALL_SHOWN, not_singled_out
from agvas_core.engines.ruled import RuledEngine
from agvas_core.regions import make_prediction
from agvas_core.structures import Request


def spots(*lefts, size_hw=(40, 80)):
    """Return a prediction with a square of 8 px at each of the columns."""
    found = np.zeros(size_hw, np.float32)
    for left in lefts:
        found[10:18, left : left + 8] = 0.9
    return make_prediction(image_id="x", p_seg=found, p_nor=1 - found, p_ano=found)


@pytest.mark.parametrize("words", ["segment only the scratch", "the one on the left", "\N{CJK UNIFIED IDEOGRAPH-53EA}"])
def test_everything_although_a_part_was_asked_for_is_said(words):
    said = not_singled_out(words, spots(5, 60), lambda: spots(5, 60), "agvas-nano")
    assert said is not None and said.startswith(ALL_SHOWN) and "agvas-nano:rules" in said


@pytest.mark.parametrize(
    ("words", "shown"),
    [("segment the anomalies", (5, 60)), ("segment only the scratch", (5,)), ("segment only the scratch", (5, 30))],
)
def test_nothing_is_said_of_all_that_was_asked_for_of_one_region_and_of_another_mask(words, shown):
    assert not_singled_out(words, spots(*shown), lambda: spots(5, 60), "agvas-nano") is None


def test_the_engine_says_it_once_and_rules_speak_for_themselves(checkpoint, picture, monkeypatch):
    engine = AGVASEngine(checkpoint, engine_id="test", name="Test")
    image = picture()
    everything = spots(5, image.size_hw[1] - 20, size_hw=image.size_hw)
    monkeypatch.setattr(engine.predictor, "decode", lambda prefix, encoded, **options: everything)
    for mode in ("direct", "explain"):
        part = Request("segment only the scratch", mode=mode, max_new_tokens=2)
        told = [n for n in ask(engine, image, part).notices if n.startswith(ALL_SHOWN)]
        assert len(told) == 1 and "test:rules" in told[0]
    whole = Request("segment the anomalies", mode="direct")
    assert ask(engine, image, whole).notices == ()
    ruled = ask(RuledEngine(engine), image, Request("segment only the scratch", mode="direct")).notices
    assert len(ruled) == 1 and ruled[0].startswith("Rules: ")

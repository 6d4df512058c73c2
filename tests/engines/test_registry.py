"""Engines by name: what a page offers needs no download."""

from __future__ import annotations

import pytest

from agvas_core.engines.registry import is_engine, list_bundled_engines, list_engines, load_engine


def test_what_visitors_may_choose_is_bundled_and_loads():
    names = list_bundled_engines()
    assert names[0] == "agvas-nano"
    assert set(names) < set(list_engines())
    for name in names:
        assert load_engine(name).card.engine_id == name


def test_names_of_the_hub_are_known_without_loading_them():
    assert is_engine("onevision-7b") and is_engine("onevision-7b+dinov3-l+nf4")
    assert not is_engine("onevision-8b")


def test_an_unknown_engine_is_answered_with_the_names():
    with pytest.raises(ValueError, match="agvas-nano.*or a checkpoint's folder"):
        load_engine("nobody")

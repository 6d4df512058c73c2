"""The bundled engine at its smallest, for every test here that does not make its own."""

from __future__ import annotations

import pytest

from agvas_core.engines.agvas import AGVASEngine


@pytest.fixture(scope="module")
def loaded(checkpoint):
    return AGVASEngine(checkpoint, engine_id="test", name="Test")


@pytest.fixture
def engine(loaded):
    """The engine with empty caches."""
    loaded.predictor.__init__(loaded.predictor.model, loaded.predictor.tokenizer)
    return loaded

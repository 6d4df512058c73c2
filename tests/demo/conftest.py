"""A desk with the fake engine and a session whose files go to a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.desk import EngineDesk
from demo.session import FileStore, Session
from tests.demo.pictures import spotted
from tests.fakes import FakeEngine


@pytest.fixture
def engine() -> FakeEngine:
    """An engine without pauses."""
    return FakeEngine(pause_s=0.0)


@pytest.fixture
def desk(engine: FakeEngine) -> EngineDesk:
    """The desk in front of it."""
    return EngineDesk(["fake"], lambda _: engine)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A fresh visitor."""
    return Session(FileStore(tmp_path / "cache"))


@pytest.fixture
def photo(tmp_path: Path) -> str:
    """Path of a photo, 480 x 360, with two dark spots."""
    path = tmp_path / "part.png"
    spotted(2).save(path)
    return str(path)


@pytest.fixture
def clean(tmp_path: Path) -> str:
    """Path of a photo without spots."""
    path = tmp_path / "clean.png"
    spotted(0).save(path)
    return str(path)

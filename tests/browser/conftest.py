"""Chromium, the page with the fake engine, and a photo, for the tests of the page."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.driver import START_S, Open, arrive, chromium_path
from tests.demo.pictures import spotted

ROOT = Path(__file__).resolve().parents[2]
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def _missing(reason: str) -> None:
    """Fail where a browser is required, else skip so loudly that nobody takes it for a pass."""
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(f"!!! THE PAGE WAS NOT TESTED: {reason} !!! (set REQUIRE_BROWSER=1 to make this a failure)")


def _chromium() -> str:
    path = chromium_path()
    if not path:
        _missing("no Chromium found on PATH or in the environment variable CHROMIUM")
    assert path
    return path


def serve(*command: str) -> Iterator[str]:
    """Run a command that serves the page; yield its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "FAKE_PAUSE_S": "0.04", "OMP_NUM_THREADS": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
    process = subprocess.Popen([sys.executable, *command, "--port", str(port)], cwd=ROOT, env=env)
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(START_S * 4):
            if process.poll() is not None:
                pytest.fail(f"the page ended at its start with status {process.returncode}")
            try:
                urllib.request.urlopen(url, timeout=2).read()
                break
            except OSError:
                time.sleep(0.25)
        else:
            pytest.fail(f"the page did not answer within {START_S} s")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def browser():
    """Chromium through Playwright."""
    path = _chromium()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed (pip install playwright)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def url(browser) -> Iterator[str]:
    """The page with the fake engine."""
    yield from serve("-m", "tests.fake_app")


@pytest.fixture
def open_page(browser) -> Iterator[Open]:
    """Open the page as a new visitor; at the end the browser's console must hold no error."""
    contexts, errors = [], []

    def open_page(url: str, **options):
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 860}} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        arrive(page, url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of 480 x 360 with two dark spots."""
    path = tmp_path / "part.png"
    spotted(2).save(path)
    return path

"""What a visitor does on the page: upload, ask, wait, choose, download."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

START_S = 90
REPLY_MS = 40_000

Open = Callable[..., "Page"]  # noqa: F821


def chromium_path() -> str | None:
    """Return where a Chromium is, None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next((p for p in map(shutil.which, names) if p), None)


def arrive(page, url: str) -> None:
    """Open the page and wait until it can be talked to."""
    page.goto(url)
    page.wait_for_selector("#agv-box textarea", timeout=START_S * 1000)
    page.wait_for_function("window.agvSend !== undefined")


def ask(page, words: str, photo: Path | None = None, *, wait: bool = True, limit_ms: int = REPLY_MS) -> None:
    """Upload a photo, type, press Enter; wait until the send button is back."""
    if photo is not None:
        page.set_input_files("#agv-box input[type=file]", str(photo))
        page.wait_for_selector("#agv-box .thumbnail-wrapper")
    page.fill("#agv-box textarea", words)
    page.wait_for_timeout(150)
    before = page.locator("#agv-chat .bot-row").count()
    page.press("#agv-box textarea", "Enter")
    page.wait_for_function(f"document.querySelectorAll('#agv-chat .bot-row').length > {before}", timeout=REPLY_MS)
    if wait:
        done(page, limit_ms)


def done(page, limit_ms: int = REPLY_MS) -> None:
    """Wait for the end of the reply."""
    page.wait_for_selector("#agv-box .submit-button", timeout=limit_ms)
    page.wait_for_timeout(150)


def choose(page, mode: str) -> None:
    """Choose a mode in the side panel."""
    page.check(f"#agv-mode input[value={mode}]")


def fetch(page, selector: str, name: str | None = None) -> bytes:
    """Click a download link and return the file's bytes; the file is called so, where a name is given."""
    with page.expect_download() as started:
        page.click(selector)
    assert name in (None, started.value.suggested_filename)
    return Path(started.value.path()).read_bytes()

"""The clickable examples: assets/examples/examples.json = [{file, mode, instruction, ...}, ...]; see Example."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL import Image

from agvas_core.structures import MODES, Mode
from demo.render import THUMB_PX
from demo.session import FileStore

log = logging.getLogger(__name__)

MAX_EXAMPLES = 12


@dataclass(frozen=True)
class Example:
    """One example: a photo, how to ask about it, its caption in both languages, and what normal looks like there."""

    path: Path
    mode: Mode
    instruction: str
    caption: str
    caption_zh: str = ""
    normal_description: str = ""


def read_examples(folder: Path) -> list[Example]:
    """Return the examples of a folder; none when it is not there. A faulty entry is left out and logged."""
    index = folder / "examples.json"
    if not index.is_file():
        return []
    found: list[Example] = []
    for entry in json.loads(index.read_text(encoding="utf-8"))[:MAX_EXAMPLES]:
        path = (folder / str(entry.get("file", ""))).resolve()
        mode = entry.get("mode", "auto")
        if mode not in MODES or not path.is_relative_to(folder.resolve()) or not path.is_file():
            log.warning("example left out: %s", entry)
            continue
        found.append(
            Example(
                path=path,
                mode=cast(Mode, mode),
                instruction=str(entry.get("instruction", "")),
                caption=str(entry.get("caption") or path.stem),
                caption_zh=str(entry.get("caption_zh", "")),
                normal_description=str(entry.get("normal_description", "")),
            )
        )
    return found


def thumbnails(examples: list[Example], files: FileStore) -> list[str]:
    """Write small pictures of the examples into the served cache and return their paths."""
    if not examples:
        return []
    folder = files.new_folder()
    paths = []
    for n, example in enumerate(examples):
        path = folder / f"example-{n}.webp"  # kept for the life of the server, so not in files.created
        with Image.open(example.path) as picture:
            small = picture.convert("RGB")
            small.thumbnail((THUMB_PX, THUMB_PX))
            small.save(path, format="WEBP", quality=85)
        paths.append(str(path))
    return paths

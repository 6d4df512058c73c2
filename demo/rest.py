"""The REST endpoint /segment: one photo in, verdict, regions, words and the mask file out.

From Python::

    from gradio_client import Client, handle_file

    client = Client("http://127.0.0.1:7860")
    answer = client.predict(
        image=handle_file("part.png"),
        instruction="Please segment the anomalies in this image.",
        mode="direct",
        normal_description="",
        threshold=0.5,
        alpha=0.5,
        engine="saa+",  # or none, for the page's own
        api_name="/segment",
    )
    answer["verdict"], answer["score"], answer["regions"], answer["mask"]  # the mask is a downloaded PNG's path
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

import agvas_core
from agvas_core.engines.ask import ask
from agvas_core.good_parts import MOST_EXAMPLES
from agvas_core.structures import MODES, InspectionImage, Mode, Request
from agvas_core.writers import mask_png, meant, verdict_facts
from demo.desk import EngineDesk
from demo.session import FileStore


class FileMeta(TypedDict):
    """By which gradio knows a file."""

    _type: Literal["gradio.FileData"]


class UploadedFile(TypedDict):
    """A file as gradio's clients send it; MCP clients are told to send a string instead: a data: URL or an address."""

    path: str
    meta: FileMeta


def uploaded_path(file: object, root: Path, name: str = "image") -> Path:
    """Return the path of an uploaded file; raises ValueError for anything that was not uploaded to this page.

    name: the argument that it came as.
    """
    path = file.get("path") if isinstance(file, dict) else file
    if not isinstance(path, str) or not path:
        raise ValueError(f"`{name}` must be an uploaded file: pass gradio_client.handle_file('part.png').")
    resolved = Path(path).resolve()
    if not resolved.is_relative_to(root.resolve()) or not resolved.is_file():
        raise ValueError(f"`{name}` must be a file uploaded to this page; paths on the server are not read.")
    return resolved


def build_segment(desk: EngineDesk, files: FileStore, upload_root: Callable[[], Path]) -> Callable[..., dict]:
    """Return the endpoint's function."""

    def segment(
        image: UploadedFile,
        instruction: str = "Please segment the anomalies in this image.",
        mode: str = "direct",
        normal_description: str = "",
        threshold: float = 0.5,
        alpha: float = 0.5,
        close: bool = False,
        engine: str = "",
        mm_per_px: float = 0.0,
        good: list[UploadedFile] | None = None,
    ) -> dict:
        """Segment the anomalies of one photo; returns verdict, score, regions, text and the mask as a PNG file.

        Args:
            image: the photo, a file uploaded to this page.
            instruction: what to look for or to ask, in plain words.
            mode: "direct" (mask only), "describe", "describe_plus", "explain", "chat" (words only) or "auto".
            normal_description: one sentence about what a good part looks like, for "describe_plus".
            threshold: how sure a pixel must be to count as anomalous, 0 to 1.
            alpha: balance of the two maps: 1 is the segmentation map, 0 the anomaly map.
            close: whether a large photo is looked at in tiles, too.
            engine: one of those that the page offers, as "saa+"; the page's first when it is empty.
            mm_per_px: millimeters a pixel, to measure regions in them too; 0 where they are not known.
            good: photos of good parts, files uploaded to this page, with which AG-VAS compares the photo.
        """
        if engine and engine not in desk.engine_ids:
            raise ValueError(f"`engine` must be one of {', '.join(desk.engine_ids)}; it is {engine!r}.")
        if mode not in MODES:
            raise ValueError(f"`mode` must be one of {', '.join(MODES)}; it is {mode!r}.")
        for name, words in (("instruction", instruction), ("normal_description", normal_description)):
            if not isinstance(words, str):
                raise ValueError(f"`{name}` must be text; it is {words!r}.")
        for name, value in (("threshold", threshold), ("alpha", alpha)):
            if not _is_number(value) or not 0 <= value <= 1:
                raise ValueError(f"`{name}` must be a number between 0 and 1; it is {value!r}.")
        if not _is_number(mm_per_px) or not 0 <= mm_per_px < math.inf:
            raise ValueError(f"`mm_per_px` must be a number, 0 or more; it is {mm_per_px!r}.")
        if good is not None and not isinstance(good, list):
            raise ValueError("`good` must be a list of uploaded files.")
        if len(good or ()) > MOST_EXAMPLES:
            raise ValueError(f"`good` holds at most {MOST_EXAMPLES} photos; there are {len(good or ())}.")
        photo = agvas_core.open_image(str(uploaded_path(image, upload_root())))
        examples = [_example(uploaded_path(file, upload_root(), "good")) for file in good or ()]
        answering = desk.get(engine or None)
        request = Request(
            instruction, photo.image_id, cast(Mode, mode), normal_description, threshold=threshold, alpha=alpha,
            close=close, mm_per_px=mm_per_px or None,
        )  # fmt: skip
        with desk.turn():
            reply = ask(answering, photo, request, good=examples)
        facts = verdict_facts(reply.prediction, answering.card, reply.done.mode, photo.name, reply.scale)
        answer: dict[str, Any] = facts | {"text": reply.text, "notices": list(reply.notices), "mask": None}
        shown = meant(reply.prediction, answering.card)
        if shown is not None:
            path = files.new_answer_file(".png")
            mask_png(shown, path)
            answer["mask"] = {"path": str(path), "orig_name": "mask.png", "meta": {"_type": "gradio.FileData"}}
        return answer

    return segment


def _example(path: Path) -> InspectionImage:
    try:
        return agvas_core.open_image(str(path))
    except ValueError as error:
        raise ValueError(f"`good`: {error}") from error


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

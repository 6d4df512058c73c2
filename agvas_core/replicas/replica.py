"""One copy of an engine: takes a question by HTTP, and streams the events of its reply. It knows of no framework."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from agvas_core.engines.base import Engine
from agvas_core.engines.remote import AT_ONCE
from agvas_core.processing import open_image
from agvas_core.structures import Conversation, Request
from agvas_core.wire import FAILED, SIGN_OF_LIFE, WireError, card_json, pack, pack_event, read_question

log = logging.getLogger(__name__)

SIGN_OF_LIFE_S = 2.0
PIECE_BYTES = 2**20
MAX_QUESTION_BYTES = 2**30  # the largest photo, of 40 MP, with its last mask takes 0.8 GB
Piece = bytes | memoryview


class Replica:
    """Answers GET /card and /who, POST /prepare and /respond.

    Several replies run at once where the engine can share its model (AGVASEngine.share), else one after the other.
    """

    def __init__(self, engine: Engine, name: str = "") -> None:
        self._engine, self._name = engine, name or str(os.getpid())
        share = getattr(engine, "share", None)
        if share is not None:
            share(AT_ONCE)
        self._turn = threading.BoundedSemaphore(AT_ONCE if share is not None else 1)
        self._threads = ThreadPoolExecutor(AT_ONCE + 1, thread_name_prefix="agvas-reply")

    async def answer(self, http: HTTPRequest) -> Response:
        """Return what one HTTP request gets; 400 with a sentence for a question that is none, or too large."""
        path = "/" + http.url.path.rsplit("/", 1)[-1]
        if http.method == "GET" and path == "/card":
            return JSONResponse(card_json(self._engine.card))
        if http.method == "GET" and path == "/who":
            return JSONResponse({"replica": self._name, "pid": os.getpid()})
        if http.method != "POST" or path not in ("/prepare", "/respond"):
            return PlainTextResponse("There are /card, /who, /prepare and /respond.", 404)
        try:
            conversation, request = await asyncio.to_thread(_checked_question, await _read_body(http))
        except ValueError as error:
            return PlainTextResponse(str(error), 400)
        if path == "/prepare":
            await asyncio.get_running_loop().run_in_executor(self._threads, self._prepare, conversation)
            return PlainTextResponse("")
        return StreamingResponse(self._stream(conversation, request), media_type="application/octet-stream")

    def _prepare(self, conversation: Conversation) -> None:
        try:
            with self._turn:
                for image in conversation.images.values():
                    self._engine.prepare(image)
        except Exception:  # the reply itself will tell the user
            log.exception("encoding ahead failed")

    async def _stream(self, conversation: Conversation, request: Request) -> AsyncIterator[Piece]:
        """Yield the reply's frames as they are made, and signs of life between; who goes away stops the reply."""
        stop, loop = threading.Event(), asyncio.get_running_loop()
        frames: asyncio.Queue[list[Piece] | None] = asyncio.Queue()

        def put(frame: list[Piece] | None) -> None:
            loop.call_soon_threadsafe(frames.put_nowait, frame)

        def work() -> None:
            try:
                for frame in self._frames(conversation, request, stop):
                    put(frame)
            finally:
                put(None)

        self._threads.submit(work)
        try:
            yield b"".join(pack({"kind": SIGN_OF_LIFE}))
            while True:
                try:
                    frame = await asyncio.wait_for(frames.get(), SIGN_OF_LIFE_S)
                except TimeoutError:
                    frame = pack({"kind": SIGN_OF_LIFE})
                if frame is None:
                    return
                for piece in frame:
                    for start in range(0, len(piece), PIECE_BYTES):
                        yield bytes(piece[start : start + PIECE_BYTES])
        finally:
            stop.set()

    def _frames(self, conversation: Conversation, request: Request, stop: threading.Event) -> Iterator[list[Piece]]:
        with self._turn:
            if stop.is_set():
                return
            try:
                for event in self._engine.respond(conversation, request, stop=stop):
                    yield pack_event(event)
            except Exception as error:
                log.exception("engine failed")
                yield pack({"kind": FAILED, "sentence": str(error) or type(error).__name__})


async def _read_body(http: HTTPRequest) -> bytes:
    """Return the body; WireError when it is too large, before any of it is read where its length is told."""
    _check_length(int(http.headers.get("content-length", 0)))
    pieces, length = [], 0
    async for piece in http.stream():
        length += len(piece)
        _check_length(length)
        pieces.append(piece)
    return b"".join(pieces)


def _check_length(length: int) -> None:
    if length > MAX_QUESTION_BYTES:
        raise WireError(f"A question of {length:,} bytes or more is too large; the limit is {MAX_QUESTION_BYTES:,}.")


def _checked_question(body: bytes) -> tuple[Conversation, Request]:
    """Return what is asked; ValueError when it is none, or an image's name is another image's.

    What a copy keeps of an image is found by its id, so a wrong id would give other visitors a wrong answer.
    """
    conversation, request = read_question(body)
    for image_id, image in conversation.images.items():
        if open_image(image.rgb, image.name).image_id != image_id:
            raise WireError(f"The picture {image.name} is not the one that {image_id} names.")
    return conversation, request


def asgi(replica: Replica) -> Any:
    """Return the copy as an ASGI app, for any server."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    return Starlette(routes=[Route("/{path:path}", replica.answer, methods=["GET", "POST"])])

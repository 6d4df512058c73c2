"""What the page does, as plain functions on a Session: no gradio. Generators yield when the page should redraw."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agvas_core.drawing import SHOWN_PX, shrink
from agvas_core.processing import open_image
from agvas_core.structures import (
    Done,
    EngineCard,
    InspectionImage,
    MaskReady,
    Mode,
    Notice,
    Request,
    Stage,
    TextDelta,
)
from demo import render
from demo.desk import EngineDesk
from demo.i18n import say
from demo.naming import compared_images, image_in_words
from demo.pictures import delete_files, file_url, show_prediction, write_downloads
from demo.session import Exchange, Reply, Session

log = logging.getLogger(__name__)

REDRAW_S = 0.1  # the page redraws at most ten times a second


@dataclass(frozen=True)
class Settings:
    """The side panel's values at the moment of a question."""

    engine_id: str | None = None
    mode: Mode = "auto"
    normal_description: str = ""
    threshold: float = 0.5
    alpha: float = 0.5
    min_area_px: int = 0


# --- images ---


def read_upload(session: Session, path: str) -> InspectionImage:
    """Open an uploaded file once and remember it; raises ValueError with a sentence for the user."""
    known = session.images.get(session.uploads.get(path, ""))
    if known is None:
        known = open_image(path)
        if known.name in ("image", ""):
            known = replace(known, name=Path(path).name)
        session.uploads[path] = known.image_id
    known = session.images.get(known.image_id, known)
    session.add_image(known)
    if known.image_id not in session.photo_urls:
        stem = known.image_id[:16]
        for urls, size_px in ((session.photo_urls, SHOWN_PX), (session.thumb_urls, render.THUMB_PX)):
            file = session.new_file(f"photo-{stem}-{size_px}.webp")
            shrink(known.rgb, size_px).save(file, format="WEBP", quality=88, method=2)
            urls[known.image_id] = file_url(file)
    return known


def encode_ahead(session: Session, desk: EngineDesk, engine_id: str | None, paths: Sequence[str]) -> None:
    """Read freshly uploaded files and start encoding them before anything is asked; errors wait for the question."""
    for path in paths:
        if path in session.uploads:
            continue
        try:
            image = read_upload(session, path)
        except (ValueError, OSError):
            continue
        desk.prepare(engine_id, image)


# --- answering ---


def ask(
    session: Session, desk: EngineDesk, question: str, paths: Sequence[str], settings: Settings
) -> Iterator[Reply | None]:
    """Answer a question, with the photos that came along; yield the growing reply."""
    question = question.strip()
    if not question and not paths:
        return
    if not session.busy.acquire(blocking=False):
        raise RuntimeError(say("busy", session.lang))
    try:
        session.stop.clear()
        errors, shown = [], []
        for path in paths:
            try:
                shown.append(read_upload(session, path).image_id)
            except (ValueError, OSError) as error:
                errors.append(_sentence(error))
        yield from _answer(session, desk, question, tuple(dict.fromkeys(shown)), settings, errors)
    finally:
        session.stop.set()
        session.busy.release()


def ask_again(
    session: Session, desk: EngineDesk, index: int, settings: Settings, question: str | None = None
) -> Iterator[Reply | None]:
    """Retry the exchange at `index`, or ask it with other words; what came after it is forgotten."""
    if not session.busy.acquire(blocking=False):
        raise RuntimeError(say("busy", session.lang))
    try:
        session.stop.clear()
        dropped = session.truncate(index)
        if not dropped:
            return
        old = dropped[0]
        image_id = old.reply.request.image_id
        if image_id in session.images:
            session.current_image_id = image_id
        delete_files(session, dropped)
        words = old.question if question is None else question.strip()
        yield from _answer(session, desk, words, old.shown_image_ids, settings, [])
    finally:
        session.stop.set()
        session.busy.release()


def _sentence(error: Exception) -> str:
    return str(error) or type(error).__name__


def _answer(
    session: Session,
    desk: EngineDesk,
    question: str,
    shown: tuple[str, ...],
    settings: Settings,
    errors: list[str],
) -> Iterator[Reply | None]:
    lang = session.lang
    begun = time.perf_counter()
    yield None
    pair = None
    try:
        pair = compared_images(session, question)
    except ValueError as error:
        errors = [*errors, str(error)]
    named = pair[0] if pair else image_in_words(session, question)
    if named is not None:
        session.current_image_id = named
    question = question or say("no_question", lang)
    request = Request(
        instruction=say("no_question") if pair else question,
        image_id=session.current_image_id,
        mode="direct" if pair else settings.mode,
        normal_description=settings.normal_description.strip(),
        threshold=settings.threshold,
        alpha=settings.alpha,
        min_area_px=settings.min_area_px,
    )
    try:
        engine = desk.get(settings.engine_id)
    except Exception as error:
        log.exception("engine could not be loaded")
        name = settings.engine_id or desk.default
        session.exchanges.append(
            _failed(question, shown, request, name, say("engine_missing", lang, name=name, e=_sentence(error)))
        )
        yield session.exchanges[-1].reply
        return
    conversation = session.conversation()
    reply = session.start(question, shown, engine.card, request)
    if pair is not None:
        reply.compared = Reply("r" + secrets.token_hex(8), engine.card, replace(request, image_id=pair[1]))
    elif named is not None:
        n = list(session.images).index(named) + 1
        reply.notices.append(say("about_image", lang, n=n, name=session.images[named].name))
    reply.errors += errors
    if request.image_id is None and settings.mode != "chat" and not errors:
        reply.errors.append(say("no_image", lang))
    if reply.errors:
        reply.total_s = 0.0
        yield reply
        return
    yield reply
    has_turn = False
    for ahead in desk.wait(session.stop):
        if ahead == 0:
            has_turn = True
            break
        reply.stage = say("waiting", lang, n=ahead), 0.0
        yield reply
    if not has_turn:
        reply.stopped, reply.total_s = True, time.perf_counter() - begun
        yield reply
        return
    begun = time.perf_counter()
    try:
        drawn = 0.0
        for part in reply.parts:
            for event in engine.respond(conversation, part.request, stop=session.stop):
                if reply.compared is not None and isinstance(event, TextDelta):
                    continue  # what differs is said from the measures
                urgent = _take(session, part, event, time.perf_counter() - begun)
                if part is not reply.parts[-1]:
                    part.total_s = None  # the reply ends with its last part
                now = time.perf_counter()
                if urgent or now - drawn > REDRAW_S:
                    drawn = now
                    yield reply
            if session.stop.is_set():
                break
        session.selected_reply_id = reply.reply_id if reply.prediction is not None else session.selected_reply_id
    except GeneratorExit:  # the visitor left or pressed stop
        session.stop.set()
        reply.stopped = True
        raise
    except Exception as error:
        log.exception("engine failed")
        reply.errors.append(say("engine_error", lang, e=_sentence(error)))
    finally:
        desk.leave()
        for part in reply.parts:
            part.stage = None
            part.total_s = time.perf_counter() - begun if part.total_s is None else part.total_s
    if not (reply.text or reply.facts or reply.notices or reply.errors or reply.stopped):
        reply.errors.append(say("empty_reply", lang))
    session.bound_memory()
    yield reply


def _failed(question: str, shown: tuple[str, ...], request: Request, name: str, sentence: str) -> Exchange:
    card = EngineCard(name, name, "", "", "", True, (), "", 0.0)
    reply = Reply("r" + secrets.token_hex(8), card, request, errors=[sentence], total_s=0.0)
    return Exchange(question, shown, reply)


def _take(session: Session, reply: Reply, event: object, elapsed_s: float) -> bool:
    """Put one event of the engine into the reply; True when the page should redraw now."""
    if isinstance(event, TextDelta):
        reply.text_first = reply.text_first or reply.prediction is None
        reply.text += event.text
        return False
    if isinstance(event, Stage):
        reply.stage = event.name, min(1.0, max(0.0, event.fraction))
        return False
    if isinstance(event, MaskReady):
        reply.mask_s = elapsed_s
        reply.answered = event.prediction
        show_prediction(session, reply, event.prediction, render.SHOWN_KINDS)
        session.selected_reply_id = reply.reply_id
    elif isinstance(event, Notice):
        reply.notices.append(event.text)
    elif isinstance(event, Done):
        reply.mode, reply.seconds, reply.stopped = event.mode, dict(event.seconds), event.stopped
        write_downloads(session, reply)
        reply.stage, reply.total_s = None, elapsed_s
    return True


def undo(session: Session) -> str:
    """Forget the last exchange and return its question, to be put back into the box."""
    dropped = session.truncate(len(session.exchanges) - 1)
    delete_files(session, dropped)
    return dropped[0].question if dropped else ""

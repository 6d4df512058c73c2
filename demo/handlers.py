"""What the page does, as plain functions on a Session: no gradio. Generators yield when the page should redraw."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import agvas_core  # whose open_image brings torch with it, and only when it is used: the page opens sooner
from agvas_core.drawing import SHOWN_PX, shrink
from agvas_core.engines.base import Engine
from agvas_core.regions import rethreshold
from agvas_core.structures import (
    Conversation,
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
from demo import render, told
from demo.desk import POLL_S, EngineDesk
from demo.i18n import is_chinese, say
from demo.naming import compared_images, image_in_words, question_before, without_image
from demo.pictures import delete_files, file_url, measure_anew, show_prediction, write_downloads
from demo.replies import Exchange, Reply, can_ask_other, new_reply
from demo.session import Session

log = logging.getLogger(__name__)

REDRAW_S = 0.1  # the page redraws at most ten times a second


@dataclass(frozen=True)
class Settings:
    """The side panel's values at the moment of a question."""

    engine_id: str | None = None
    mode: Mode = "auto"
    normal_description: str = ""
    close: bool = False
    threshold: float = 0.5
    alpha: float = 0.5
    min_area_px: int = 0


# --- images ---


def read_upload(session: Session, path: str, *, ahead: bool = False) -> InspectionImage:
    """Open an uploaded file once and remember it; raises ValueError with a sentence for the user.

    ahead: nothing has been asked with it yet, and it may be taken out of the box again, so it gets no number and the
        current image stays.
    """
    known = session.images.get(session.uploads.get(path, ""))
    if known is None:
        known = agvas_core.open_image(path)
        if known.name in ("image", ""):
            known = replace(known, name=Path(path).name)
        session.uploads[path] = known.image_id
    known = session.images.get(known.image_id, known)
    session.add_image(known, ahead=ahead)
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
            image = read_upload(session, path, ahead=True)
        except (ValueError, OSError):
            continue
        desk.prepare(engine_id, image)


# --- answering ---


def ask(
    session: Session, desk: EngineDesk, question: str, paths: Sequence[str], settings: Settings
) -> Iterator[Reply | None]:
    """Answer a question, with the photos that came along; yield the growing reply.

    Several photos are answered one after the other, unless the words compare or name one. "Undo that" takes the last
    exchange back.
    """
    question = question.strip()
    if not question and not paths:
        return
    with _answering(session):
        if told.is_undo(question) and not paths and session.exchanges:
            undo(session)
            yield None
            return
        errors: list[str] = []
        photos: dict[str, str] = {}  # paths by image id
        for path in paths:
            try:
                photos[read_upload(session, path).image_id] = path
            except (ValueError, OSError) as error:
                errors.append(say("unreadable", session.lang, name=Path(path).name, e=_sentence(error)))
        each = len(photos) > 1 and not errors and _names_none(session, question)
        for group in [(image_id,) for image_id in photos] if each else [tuple(photos)]:
            if each:
                read_upload(session, photos[group[0]])  # makes it current; it may have been let go since
            yield from _answer(session, desk, question, group, settings, errors)
            if session.stop.is_set():
                break


def _names_none(session: Session, question: str) -> bool:
    """Return whether the words speak of no image in particular."""
    try:
        return compared_images(session, question) is None and image_in_words(session, question) is None
    except ValueError:  # of one that is not there
        return False


def ask_again(
    session: Session, desk: EngineDesk, index: int, settings: Settings, question: str | None = None
) -> Iterator[Reply | None]:
    """Retry the exchange at `index` as it was asked, or ask it with other words; what came after it is forgotten.

    A retry keeps the reply's own mode and normal sentence, and its engine where that could be loaded: those of the
    side panel may have been another question's.
    """
    with _answering(session):
        if not 0 <= index < len(session.exchanges):
            return
        reply = session.exchanges[index].reply
        lost = next(filter(None, (_gone(session, part.request.image_id) for part in reply.parts)), None)
        if lost and question is None:  # the old answer is all that is left of it
            if lost not in reply.notices:
                reply.notices.append(lost)
            yield reply
            return
        dropped = session.truncate(index)
        old = dropped[0]
        image_id = old.reply.request.image_id
        if image_id in session.seen:
            session.current_image_id = image_id
        delete_files(session, dropped)
        if question is None:
            asked = old.reply.request
            settings = replace(settings, mode=asked.mode, normal_description=asked.normal_description)
            if not old.reply.unanswered:
                settings = replace(settings, engine_id=old.reply.engine_id)
        words = old.question if question is None else question.strip()
        unread = list(old.unread) if question is None else []
        yield from _answer(session, desk, words, old.shown_image_ids, settings, unread)


def ask_other(session: Session, desk: EngineDesk, engine_id: str) -> Iterator[Reply | None]:
    """Answer the last question by another engine too, beside the first answer, which stays as it is."""
    if engine_id not in desk.engine_ids:
        return
    with _answering(session):
        exchange = session.exchanges[-1] if session.exchanges else None
        if exchange is None or not can_ask_other(exchange):
            return
        request = exchange.reply.request
        again = [old for old in exchange.others if old.engine_id == engine_id]
        delete_files(session, [Exchange("", (), old) for old in again])
        exchange.others = [old for old in exchange.others if old.engine_id != engine_id]
        reply = new_reply(_card(desk, engine_id), request, engine_id)
        exchange.others.append(reply)
        engine = yield from _loaded(session, desk, reply)
        if engine is None:
            return
        lost = _gone(session, request.image_id)
        if lost:
            _fail(reply, lost)
            yield reply
            return
        session.hold(request.image_id, *session.good_ids())
        yield from _run(session, desk, engine, session.conversation(before=exchange), reply)


@contextmanager
def _answering(session: Session) -> Iterator[None]:
    """Let one question of a visitor be answered at a time; RuntimeError with a sentence when one is."""
    if not session.busy.acquire(blocking=False):
        raise RuntimeError(say("busy", session.lang))
    try:
        if not session.clearing:
            session.stop.clear()
        session.late_knobs = {}
        yield
    finally:
        session.stop.set()
        for reply in session.replies():
            if reply.running:  # the visitor left before it began
                reply.stage, reply.total_s, reply.stopped = None, 0.0, True
        session.hold()
        session.busy.release()


def _card(desk: EngineDesk, engine_id: str) -> EngineCard:
    """Return the engine's card, or one with its name only while it is not loaded."""
    engine = desk.loaded(engine_id)
    return engine.card if engine else EngineCard(engine_id, engine_id, "", "", "", True, (), "", 0.0)


def _loaded(session: Session, desk: EngineDesk, reply: Reply) -> Generator[Reply, None, Engine | None]:
    """Return the reply's engine; while it is being loaded, the visitor reads so. None: it cannot be, or was stopped."""
    engine = desk.loaded(reply.engine_id)
    if engine is None:
        begun = time.perf_counter()
        reply.stage = say("loading_engine", session.lang), 0.0
        yield reply
        coming = desk.load(reply.engine_id)
        while not wait([coming], timeout=POLL_S).done:
            if session.stop.is_set():
                reply.stage, reply.stopped, reply.total_s = None, True, time.perf_counter() - begun
                yield reply
                return None
        try:
            engine = coming.result()
        except Exception as error:
            log.exception("engine could not be loaded")
            _fail(reply, say("engine_missing", session.lang, name=reply.engine_id, e=_sentence(error)))
            yield reply
            return None
    reply.card = engine.card
    return engine


def _fail(reply: Reply, sentence: str) -> None:
    reply.errors.append(sentence)
    reply.stage, reply.total_s, reply.unanswered = None, 0.0, True


def _gone(session: Session, image_id: str | None) -> str | None:
    """Return a sentence when an image was let go since it was shown."""
    if image_id is None or image_id in session.images or image_id not in session.seen:
        return None
    return say("image_gone", session.lang, name=session.seen[image_id])


def _sentence(error: Exception) -> str:
    return str(error) or type(error).__name__


def _answer(
    session: Session,
    desk: EngineDesk,
    question: str,
    shown: tuple[str, ...],
    settings: Settings,
    unread: list[str],
) -> Iterator[Reply | None]:
    """unread: sentences about the files that came along and could not be read."""
    lang, errors = session.lang, unread
    settings = replace(settings, **session.late_knobs)  # moved while the photo before was answered
    yield None
    pair = named = None
    try:
        pair = compared_images(session, question)
        named = pair[0] if pair else image_in_words(session, question)
    except ValueError as error:
        errors = [*errors, str(error)]
    if named is not None:
        session.current_image_id = named
    for image_id in pair or (session.current_image_id,):
        lost = _gone(session, image_id)
        errors = [*errors, lost] if lost else errors
    session.hold(*(pair or (session.current_image_id,)), *session.good_ids(question))
    question = question or say("no_question", lang)
    again = None if pair else question_before(session, question)
    asked = without_image(question) if named else question
    request = Request(
        instruction=say("no_question") if pair else again or asked,
        image_id=session.current_image_id,
        mode="direct" if pair else settings.mode,
        normal_description=settings.normal_description.strip(),
        close=settings.close,
        threshold=settings.threshold,
        alpha=settings.alpha,
        min_area_px=settings.min_area_px or None,  # a slider at 0 asks for no more than the engine's own
    )
    engine_id = settings.engine_id if settings.engine_id in desk.engine_ids else desk.default
    conversation = session.conversation()
    reply = session.start(question, shown, _card(desk, engine_id), request, engine_id)
    session.exchanges[-1].unread = tuple(unread)
    reply.notices += [] if errors or pair else told.answer(session, question)
    if reply.notices:
        reply.total_s, reply.refused = 0.0, True
        yield reply
        return
    engine = yield from _loaded(session, desk, reply)
    if engine is None:
        return
    if pair is not None:
        reply.compared = new_reply(engine.card, replace(request, image_id=pair[1]), engine_id)
    elif named is not None:
        n = list(session.seen).index(named) + 1
        reply.notices.append(say("about_image", lang, n=n, name=session.seen[named]))
    if again:
        reply.notices.append(say("asked_before", lang, words=again))
    reply.errors += errors
    if request.image_id is None and settings.mode != "chat" and not errors:
        reply.errors.append(say("no_image", lang))
    if reply.errors:
        reply.total_s, reply.refused = 0.0, True
        yield reply
        return
    yield from _run(session, desk, engine, conversation, reply)


def _run(
    session: Session, desk: EngineDesk, engine: Engine, conversation: Conversation, reply: Reply
) -> Iterator[Reply | None]:
    """Wait for the engine, and put its events into the reply and its parts; yield it when it should be drawn."""
    lang = session.lang
    begun = time.perf_counter()
    yield reply
    has_turn = False
    for ahead in desk.wait(session.stop):
        if ahead == 0:
            has_turn = True
            break
        reply.stage = say("preparing" if desk.preparing and ahead == 1 else "waiting", lang, n=ahead), 0.0
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
        if reply.text and is_chinese(reply.request.instruction) and not is_chinese(reply.text):
            reply.notices.append(say("in_english", lang))
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
        with session.guard:  # a scale that was said measures the masks before it, too
            for image_id in {part.request.image_id for part in reply.parts}:
                measure_anew(session, image_id)
    if not (reply.text or reply.facts or reply.notices or reply.errors or reply.stopped):
        reply.errors.append(say("empty_reply", lang))
    session.bound_memory()
    yield reply


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
        with session.guard:  # the sliders may move it from now on
            reply.answered = event.prediction
            moved = rethreshold(event.prediction, **session.late_knobs) if session.late_knobs else event.prediction
            show_prediction(session, reply, moved, render.SHOWN_KINDS)
            session.selected_reply_id = reply.reply_id
    elif isinstance(event, Notice):
        reply.notices.append(event.text)
    elif isinstance(event, Done):
        reply.mode, reply.seconds, reply.stopped = event.mode, dict(event.seconds), event.stopped
        with session.guard:
            write_downloads(session, reply)
        reply.stage, reply.total_s = None, elapsed_s
    return True


def undo(session: Session) -> str:
    """Forget the last exchange and return its question, to be put back into the box."""
    dropped = session.truncate(len(session.exchanges) - 1)
    delete_files(session, dropped)
    return dropped[0].question if dropped else ""

"""What the page does, as plain functions on a Session: no gradio. Generators yield when the page should redraw."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agvas_core.processing import open_image
from agvas_core.regions import rethreshold
from agvas_core.structures import (
    Done,
    EngineCard,
    InspectionImage,
    MaskReady,
    Mode,
    Notice,
    Prediction,
    Request,
    Stage,
    TextDelta,
)
from demo import render
from demo.desk import EngineDesk
from demo.i18n import say
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


def file_url(path: Path) -> str:
    """Return the URL of a file in gradio's cache, relative to the page so that it works behind a proxy's prefix."""
    return f"gradio_api/file={path}"


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
        for urls, size_px in ((session.photo_urls, render.SHOWN_PX), (session.thumb_urls, render.THUMB_PX)):
            file = session.new_file(f"photo-{stem}-{size_px}.webp")
            render.shrink(known.rgb, size_px).save(file, format="WEBP", quality=88, method=2)
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


_ORDINALS = {
    "first": 1,
    "1st": 1,
    "second": 2,
    "2nd": 2,
    "third": 3,
    "3rd": 3,
    "fourth": 4,
    "4th": 4,
    "fifth": 5,
    "5th": 5,
}
_CHINESE = {"一": 1, "二": 2, "三": 3, "四": 4, "五": 5}
_BY_WORD = re.compile(rf"\b({'|'.join(_ORDINALS)}|last|latest|previous)\s+(?:image|picture|photo)\b", re.I)
_BY_NUMBER = re.compile(r"\b(?:image|picture|photo)\s*#?\s*(\d{1,2})\b", re.I)
_BY_CHINESE = re.compile(r"第\s*([一二三四五]|\d{1,2})\s*[张幅个]|(?:图像|图片)\s*(\d{1,2})")
_COMPARES = re.compile(r"\b(?:compare|compared|than|difference|differ|versus|vs)\b|比较|对比|相比", re.I)


def image_in_words(session: Session, words: str) -> str | None:
    """Return the id of the image that the words name ("the first image", "image 2"), or None.

    A comparison stays with the current image: the engine finds the other one in the conversation.
    """
    ids = list(session.images)
    if len(ids) < 2 or _COMPARES.search(words):
        return None
    n: int | None = None
    if found := _BY_WORD.search(words):
        word = found[1].lower()
        if word == "previous" and session.current_image_id in ids:
            n = ids.index(session.current_image_id)  # 1-based number of the one before
        else:
            n = _ORDINALS.get(word, len(ids))
    elif found := _BY_NUMBER.search(words):
        n = int(found[1])
    elif found := _BY_CHINESE.search(words):
        n = _CHINESE.get(found[1], 0) or int(found[1] or found[2])
    return ids[n - 1] if n and 1 <= n <= len(ids) else None


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
        _delete_files(session, dropped)
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
    named = image_in_words(session, question)
    if named is not None:
        session.current_image_id = named
    question = question or say("no_question", lang)
    request = Request(
        instruction=question,
        image_id=session.current_image_id,
        mode=settings.mode,
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
    if named is not None:
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
        for event in engine.respond(conversation, request, stop=session.stop):
            urgent = _take(session, reply, event, time.perf_counter() - begun)
            now = time.perf_counter()
            if urgent or now - drawn > REDRAW_S:
                drawn = now
                yield reply
    except GeneratorExit:  # the visitor left or pressed stop
        session.stop.set()
        reply.stopped = True
        raise
    except Exception as error:
        log.exception("engine failed")
        reply.errors.append(say("engine_error", lang, e=_sentence(error)))
    finally:
        desk.leave()
        reply.stage = None
        reply.total_s = time.perf_counter() - begun if reply.total_s is None else reply.total_s
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
        show_prediction(session, reply, event.prediction, render.SHOWN_KINDS)
        session.selected_reply_id = reply.reply_id
    elif isinstance(event, Notice):
        reply.notices.append(event.text)
    elif isinstance(event, Done):
        reply.mode, reply.seconds, reply.stopped = event.mode, dict(event.seconds), event.stopped
        _write_downloads(session, reply)
        reply.stage, reply.total_s = None, elapsed_s
    return True


# --- the picture of a reply ---


def show_prediction(
    session: Session, reply: Reply, prediction: Prediction, kinds: Sequence[str] = render.KINDS
) -> None:
    """Store a prediction in its reply and write pictures and downloads; nothing is drawn from random weights."""
    reply.prediction = prediction
    image = session.images[prediction.image_id]
    mode = reply.mode or reply.request.mode
    reply.facts = render.verdict_facts(prediction, reply.card, mode, image.name)
    if not any(region.index == reply.selected_region for region in prediction.regions):
        reply.selected_region = None
    reply.version += 1
    if not reply.card.trained:
        return
    paths = render.write_reply_files(
        image, prediction, reply.facts, reply.selected_region, _new_file(session, reply), kinds
    )
    _keep(reply, paths)


def _new_file(session: Session, reply: Reply) -> Callable[[str, str], Path]:
    """Return a maker of file names; the file of two versions ago is deleted, the last one may still be on its way."""

    def new_file(kind: str, suffix: str) -> Path:
        for old in session.folder.glob(f"{reply.reply_id}-{kind}-*{suffix}"):
            if int(old.stem.rsplit("-", 1)[1]) < reply.version - 1 and file_url(old) != reply.assets.get(kind):
                session.drop_file(old)
        return session.new_file(f"{reply.reply_id}-{kind}-{reply.version}{suffix}")

    return new_file


def _write_downloads(session: Session, reply: Reply) -> None:
    """Write what the picture did not need: the exact map, and the facts with the mode that was used at last."""
    image = session.images.get(reply.request.image_id or "")
    if reply.prediction is None or image is None or not reply.card.trained:
        return
    reply.facts["mode"] = reply.mode or reply.request.mode
    new_file = _new_file(session, reply)
    _keep(
        reply,
        render.write_reply_files(
            image,
            reply.prediction,
            reply.facts,
            None,
            new_file,
            [k for k in render.KINDS if k not in render.SHOWN_KINDS],
        ),
    )


def _keep(reply: Reply, paths: dict[str, Path]) -> None:
    reply.assets = {**reply.assets, **{kind: file_url(path) for kind, path in paths.items()}}


def _delete_files(session: Session, exchanges: Sequence[Exchange]) -> None:
    for exchange in exchanges:
        for path in session.folder.glob(f"{exchange.reply.reply_id}-*"):
            session.drop_file(path)


def adjust(session: Session, threshold: float, alpha: float, min_area_px: int) -> Reply | None:
    """Move the selected reply's mask from its stored maps, without the model; return the reply if it changed."""
    reply = session.selected
    if reply is None or reply.prediction is None or reply.running or reply.request.image_id not in session.images:
        return None
    before = reply.prediction
    if (before.threshold, before.alpha, before.min_area_px) == (threshold, alpha, min_area_px):
        return None
    after = rethreshold(before, threshold=threshold, alpha=alpha, min_area_px=int(min_area_px))
    show_prediction(session, reply, after, ("overlay", "mask", "json") if before.alpha == alpha else render.KINDS)
    return reply


def pick_region(session: Session, reply_id: str, index: int) -> Reply | None:
    """Draw one region in blue, or none when it was blue already; the reply becomes the selected one."""
    reply = session.reply(reply_id)
    if reply is None or not reply.facts:
        return None
    session.selected_reply_id = reply_id
    reply.selected_region = None if reply.selected_region == index else index
    image = session.images.get(reply.request.image_id or "")
    if reply.prediction is not None and image is not None and reply.card.trained:
        reply.version += 1
        kinds = ("overlay",)
        _keep(
            reply,
            render.write_reply_files(
                image, reply.prediction, reply.facts, reply.selected_region, _new_file(session, reply), kinds
            ),
        )
    return reply


def undo(session: Session) -> str:
    """Forget the last exchange and return its question, to be put back into the box."""
    dropped = session.truncate(len(session.exchanges) - 1)
    _delete_files(session, dropped)
    return dropped[0].question if dropped else ""

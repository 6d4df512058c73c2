"""From a session to what gradio shows: chat messages, strips and the side panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from demo import cards, compare, figure, panel, prose, verdict
from demo.follow_ups import follow_ups
from demo.i18n import say
from demo.replies import Exchange, Reply, can_ask_other
from demo.session import Session

LARGEST_MIN_AREA_PX = 2000
Part = tuple[str, str]  # ("html" | "text", content)


def exchange_parts(session: Session, exchange: Exchange, engine_ids: Sequence[str] = ()) -> list[Part]:
    """The answers to a question: one, or several engines' side by side; and by whom else it can be answered."""
    parts = reply_parts(session, exchange.reply)
    if exchange.others:
        panels = [_panel(session, reply) for reply in (exchange.reply, *exchange.others)]
        parts = [("html", cards.beside(panels))]
    last = bool(session.exchanges) and session.exchanges[-1] is exchange
    if last and can_ask_other(exchange):
        answered = {reply.engine_id for reply in exchange.replies if not reply.unanswered}
        menu = cards.ask_other([e for e in engine_ids if e not in answered], session.lang)
        parts = [*parts, ("html", menu)] if menu else parts
    return parts


def _panel(session: Session, reply: Reply) -> str:
    """One engine's reply as a piece of HTML, for several beside each other."""
    return "".join(c if kind == "html" else prose.words(c) for kind, c in reply_parts(session, reply))


def reply_parts(session: Session, reply: Reply) -> list[Part]:
    """One engine's side: who, verdict, picture, words, downloads; the words first where they came first."""
    lang = session.lang
    picture = _comparison(session, reply) if reply.compared else _picture(session, reply)
    words: list[Part] = [("text", reply.text)] if reply.text else []
    middle: list[Part] = [("html", picture)] if picture else []
    foot = cards.notes(reply, lang)
    if not reply.running:
        copied = cards.plain_text(reply, lang, compare.sentences(session, reply, lang))
        foot += cards.files("" if reply.compared else _downloads(session, reply), cards.copy_button(copied, lang))
    parts = [("html", cards.reply_head(reply, lang)), *(words + middle if reply.text_first else middle + words)]
    return [*parts, ("html", foot)] if foot else parts


def _picture(session: Session, reply: Reply) -> str:
    """The picture in its views, its skeleton while it is computed, or nothing."""
    image_id = reply.request.image_id or ""
    image, url = session.images.get(image_id), session.photo_urls.get(image_id, "")
    if reply.facts:
        return figure.picture(reply, url, image.name if image else "image", session.lang)
    words_only = reply.request.mode == "chat"
    if not reply.running or (words_only and reply.text):
        return ""
    return figure.skeleton(reply, None if words_only else image, url, session.lang)


def _downloads(session: Session, reply: Reply) -> str:
    image = session.images.get(reply.request.image_id or "")
    selected = reply.reply_id == session.selected_reply_id
    return cards.foot(reply, image.name if image else "image", selected, session.lang)


def _comparison(session: Session, reply: Reply) -> str:
    """Both images with their verdicts and masks, and the measured difference."""
    lang = session.lang
    panels = []
    for part in reply.parts:
        image = session.images.get(part.request.image_id or "")
        title = compare.name_of(session, part, lang) + (f" · {image.name}" if image else "")
        below = "" if reply.running else cards.files(_downloads(session, part))
        content = verdict.badge(part, lang) + _picture(session, part) + below
        panels.append((title, content + (cards.notes(part, lang) if part is not reply else "")))
    return cards.comparison(panels, compare.sentences(session, reply, lang), lang)


def messages(session: Session, engine_ids: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The whole conversation as gradio's Chatbot takes it: one message per side of an exchange.

    engine_ids: all engines of the page, which may be asked the last question too.
    """
    shown: list[dict[str, Any]] = []
    for exchange in session.exchanges:
        shown.append({"role": "user", "content": [_content(("html", cards.question(session, exchange)))]})
        parts = exchange_parts(session, exchange, engine_ids)
        shown.append({"role": "assistant", "content": [_content(part) for part in parts]})
    return shown


def above_box(session: Session) -> str:
    """What stands above the message box: this conversation's images, and what could be asked next."""
    offered = follow_ups(session, session.exchanges[-1]) if session.exchanges else []
    return cards.images(session) + cards.next_questions(offered, session.lang)


def _content(part: Part) -> Any:
    kind, content = part
    if kind == "text":
        return {"type": "text", "text": content}
    return gr.HTML(content, js_on_load=None, render=False)


def side(session: Session) -> tuple[str, str]:
    """The selected reply's heading and table."""
    reply = session.selected
    return panel.selected_title(reply, session.lang, _which(session, reply)), panel.regions_table(reply, session.lang)


def _which(session: Session, reply: Reply | None) -> str:
    """Return what tells the selected reply from the others: its image and engine, where there are several."""
    if reply is None:
        return ""
    image = [compare.name_of(session, reply, session.lang)] if len(session.seen) > 1 else []
    engine = [reply.card.name] if len({other.engine_id for other in session.replies()}) > 1 else []
    return " · ".join([*image, *engine])


def sliders(session: Session) -> tuple[Any, Any, Any]:
    """The three sliders at the selected reply's values, or at those that the next reply starts from."""
    knobs = session.shown_knobs
    largest = max(LARGEST_MIN_AREA_PX, 2 * knobs.min_area_px)  # a photo of 40 MP has specks of 4,000 px
    smallest = gr.update(value=knobs.min_area_px, maximum=largest)
    return gr.update(value=knobs.threshold), gr.update(value=knobs.alpha), smallest


def box_waiting(lang: str, *, clear: bool) -> Any:
    """The message box while a reply runs: empty, with a stop button."""
    return (
        gr.update(value=None, submit_btn=False, stop_btn=True) if clear else gr.update(submit_btn=False, stop_btn=True)
    )


def box_ready(lang: str) -> Any:
    """The message box when a question can be asked."""
    return gr.update(submit_btn=True, stop_btn=False, placeholder=say("ask", lang), label=say("message", lang))

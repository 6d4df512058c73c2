"""From a session to what gradio shows: chat messages, strips and the side panel."""

from __future__ import annotations

from typing import Any

import gradio as gr

from demo import cards, compare, panel
from demo.i18n import say
from demo.session import Reply, Session

Part = tuple[str, str]  # ("html" | "text", content)


def reply_parts(session: Session, reply: Reply) -> list[Part]:
    """The engine's side: who, verdict, picture, words, downloads; the words first where they came first."""
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
        return cards.picture(reply, url, image.name if image else "image", session.lang)
    words_only = reply.request.mode == "chat"
    if not reply.running or (words_only and reply.text):
        return ""
    return cards.skeleton(reply, None if words_only else image, url, session.lang)


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
        content = cards.verdict(part, lang) + _picture(session, part) + below
        panels.append((title, content + (cards.notes(part, lang) if part is not reply else "")))
    return cards.comparison(panels, compare.sentences(session, reply, lang), lang)


def messages(session: Session) -> list[dict[str, Any]]:
    """The whole conversation as gradio's Chatbot takes it: one message per side of an exchange."""
    shown: list[dict[str, Any]] = []
    for exchange in session.exchanges:
        shown.append({"role": "user", "content": [_content(("html", cards.question(session, exchange)))]})
        shown.append({"role": "assistant", "content": [_content(p) for p in reply_parts(session, exchange.reply)]})
    return shown


def _content(part: Part) -> Any:
    kind, content = part
    if kind == "text":
        return {"type": "text", "text": content}
    return gr.HTML(content, js_on_load=None, render=False)


def side(session: Session) -> tuple[str, str]:
    """The selected reply's heading and table."""
    reply = session.selected
    return panel.selected_title(reply, session.lang), panel.regions_table(reply, session.lang)


def sliders(session: Session) -> tuple[Any, Any, Any]:
    """The three sliders at the selected reply's values, or at those that the next reply starts from."""
    reply, knobs = session.selected, session.knobs
    values: tuple[Any, ...] = (knobs.threshold, knobs.alpha, knobs.min_area_px)
    if reply is not None and reply.facts:
        values = tuple(reply.facts[key] for key in ("threshold", "alpha", "min_area_px"))
    return gr.update(value=values[0]), gr.update(value=values[1]), gr.update(value=values[2])


def box_waiting(lang: str, *, clear: bool) -> Any:
    """The message box while a reply runs: empty, with a stop button."""
    return (
        gr.update(value=None, submit_btn=False, stop_btn=True) if clear else gr.update(submit_btn=False, stop_btn=True)
    )


def box_ready(lang: str) -> Any:
    """The message box when a question can be asked."""
    return gr.update(submit_btn=True, stop_btn=False, placeholder=say("ask", lang), label=say("message", lang))

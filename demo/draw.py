"""From a session to what gradio shows: chat messages, strips and the side panel."""

from __future__ import annotations

from typing import Any

import gradio as gr

from demo import cards
from demo.i18n import say
from demo.session import Reply, Session

Part = tuple[str, str]  # ("html" | "text", content)


def reply_parts(session: Session, reply: Reply) -> list[Part]:
    """The engine's side: who, verdict, picture, words, downloads; the words first where they came first."""
    lang = session.lang
    image_id = reply.request.image_id or ""
    image = session.images.get(image_id)
    name = image.name if image else "image"
    photo_url = session.photo_urls.get(image_id, "")
    picture = None
    if reply.facts:
        picture = cards.picture(reply, photo_url, name, lang)
    elif reply.running and not (reply.request.mode == "chat" and reply.text):
        words_only = reply.request.mode == "chat"
        picture = cards.skeleton(reply, None if words_only else image, photo_url, lang)
    words: list[Part] = [("text", reply.text)] if reply.text else []
    middle: list[Part] = [("html", picture)] if picture else []
    foot = cards.notes(reply, lang)
    if not reply.running:
        foot += cards.foot(reply, name, reply.reply_id == session.selected_reply_id, lang)
    parts = [("html", cards.reply_head(reply, lang)), *(words + middle if reply.text_first else middle + words)]
    return [*parts, ("html", foot)] if foot else parts


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
    return cards.selected_title(reply, session.lang), cards.regions_table(reply, session.lang)


def sliders(session: Session) -> tuple[Any, Any, Any]:
    """The three sliders at the selected reply's values."""
    reply = session.selected
    if reply is None or not reply.facts:
        return gr.skip(), gr.skip(), gr.skip()
    facts = reply.facts
    return gr.update(value=facts["threshold"]), gr.update(value=facts["alpha"]), gr.update(value=facts["min_area_px"])


def box_waiting(lang: str, *, clear: bool) -> Any:
    """The message box while a reply runs: empty, with a stop button."""
    return (
        gr.update(value=None, submit_btn=False, stop_btn=True) if clear else gr.update(submit_btn=False, stop_btn=True)
    )


def box_ready(lang: str) -> Any:
    """The message box when a question can be asked."""
    return gr.update(submit_btn=True, stop_btn=False, placeholder=say("ask", lang), label=say("message", lang))

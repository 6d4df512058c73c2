"""The page: its layout, and which handler answers which control; handlers say what happens, cards how it looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

import demo
from agvas_core.structures import MODES
from demo import cards, draw, handlers, panel
from demo.desk import EngineDesk
from demo.gallery import read_examples, thumbnails
from demo.handlers import Settings
from demo.i18n import mode_name, say
from demo.pictures import adjust, file_url, pick_region
from demo.rest import build_segment
from demo.session import FileStore, Knobs, Session
from demo.shelf import Shelf

EXAMPLES = Path(__file__).resolve().parent.parent / "assets" / "examples"
AT_ONCE = 16  # replies that may stream or wait at the same time; the desk lets one run
OVERTAKEN_S = 1.0  # a move that was on its way while the sliders were sent is no longer what the page shows
# Browser events arrive here from page.js (examples, next questions, regions, images, other engines, cards, Esc,
# finished uploads).
BRIDGE_JS = """
const kinds = ['example', 'ask', 'edit', 'image', 'region', 'reply', 'upload', 'halt', 'other', 'card'];
window.agvSend = (kind, data) => { if (kinds.includes(kind)) trigger(kind, data); };
"""
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
NOW: dict[str, Any] = {**PRIVATE, "queue": False}


def build_page(desk: EngineDesk, examples_folder: Path | None = None) -> gr.Blocks:
    """Lay out the page; no engine is loaded here."""
    examples_folder = EXAMPLES if examples_folder is None else examples_folder
    files = FileStore()
    examples = read_examples(examples_folder)
    thumbs = [file_url(Path(p)) for p in thumbnails(examples, files)]

    def example_strip(lang: str) -> str:
        captions = [(e.caption_zh or e.caption) if lang == "zh" else e.caption for e in examples]
        words = [e.instruction for e in examples]
        return cards.examples(list(zip(thumbs, captions, words, strict=True)), lang)

    def messages(current: Session) -> list[dict[str, Any]]:
        return draw.messages(current, desk.engine_ids)

    only = desk.default if len(desk.engine_ids) == 1 else ""

    with gr.Blocks(
        title="AG-VAS Chat",
        fill_width=True,
        delete_cache=(demo.CACHE_CHECK_S, demo.CACHE_AGE_S),
        analytics_enabled=False,
    ) as page:
        page.temp_file_sets.append(files.created)
        session = gr.State(Session(files, Shelf()), time_to_live=demo.CACHE_AGE_S, delete_callback=Session.close)
        bridge = gr.HTML("", js_on_load=BRIDGE_JS, elem_classes="agv-bridge")
        with gr.Row(elem_id="agv-top", equal_height=False):
            header = gr.HTML(cards.header("en"), elem_id="agv-name")
            new = gr.Button(say("clear"), size="sm", elem_id="agv-new", scale=0)
            engine = gr.Dropdown(
                list(desk.engine_ids), value=desk.default, label=say("engine"), elem_id="agv-engine", container=False,
                show_label=False, visible=len(desk.engine_ids) > 1, min_width=150, scale=0, filterable=False,
            )  # fmt: skip
            card_button = gr.HTML(cards.card_button(only, "en"), elem_id="agv-card-button")
            language = gr.Button(say("language"), size="sm", elem_id="agv-lang", scale=0)
            help_button = gr.HTML(cards.help_button("en"), elem_id="agv-help")
        with gr.Column(elem_id="agv-card"):
            card = gr.HTML("")
            card_text = gr.Markdown("")
        banner = gr.HTML("")
        with gr.Row(elem_id="agv-main"):
            with gr.Column(scale=7, elem_id="agv-talk"):
                chat = gr.Chatbot(
                    elem_id="agv-chat",
                    label=say("chat"),
                    show_label=False,
                    placeholder=cards.welcome("en"),
                    layout="bubble",
                    buttons=[],
                    height=None,
                    feedback_options=None,
                    autoscroll=False,  # page.js scrolls: the verdict of a new reply stays in view
                    allow_tags=False,
                )
                shots = gr.HTML("")
                box = gr.MultimodalTextbox(
                    elem_id="agv-box",
                    label=say("message"),
                    show_label=False,
                    placeholder=say("ask"),
                    file_count="multiple",  # of any type: a sentence says what is no photo
                    sources=["upload"],
                    autofocus=True,
                    max_lines=6,
                )
                strip = gr.HTML(example_strip("en"))
            with (
                gr.Column(scale=3, min_width=320, elem_id="agv-side"),
                gr.Accordion(say("panel"), elem_id="agv-drawer") as drawer,
            ):
                mode = gr.Radio(_modes("en"), value="auto", label=say("mode"), elem_id="agv-mode")
                about = gr.HTML(panel.about_mode("auto", "en"))
                normal = gr.Textbox(
                    label=say("normal"), placeholder=say("normal_hint"), info=say("normal_tip"), lines=2, max_lines=4
                )
                close = gr.Checkbox(False, label=say("close"), info=say("close_tip"), elem_id="agv-close")
                title = gr.HTML(panel.selected_title(None, "en"))
                threshold = gr.Slider(0, 1, 0.5, step=0.01, label=say("threshold"), info=say("threshold_tip"))
                alpha = gr.Slider(0, 1, 0.5, step=0.01, label=say("alpha"), info=say("alpha_tip"))
                smallest = gr.Slider(
                    0, draw.LARGEST_MIN_AREA_PX, 0, step=1, label=say("min_area"), info=say("min_area_tip")
                )
                table = gr.HTML(panel.regions_table(None, "en"))

        settings = [engine, mode, normal, close]
        knobs = [threshold, alpha, smallest]
        talk = [chat, box, shots, title, table, *knobs]

        # --- answering ---

        def shown(current: Session, box_now: Any, *, sliders: bool) -> list[Any]:
            moved = draw.sliders(current) if sliders else (gr.skip(), gr.skip(), gr.skip())
            current.sliders_sent_at = time.monotonic() if sliders else current.sliders_sent_at
            return [messages(current), box_now, draw.above_box(current), *draw.side(current), *moved]

        def asked(current: Session, engine_id: str, mode: str, normal: str, close: bool) -> Settings:
            # not the sliders: they are the reply's
            return Settings(engine_id, mode, normal, close, **asdict(current.knobs))

        def stream(current: Session, replies: Iterator[Any], *, clear: bool) -> Iterator[list[Any]]:
            nothing = [gr.skip()] * len(talk)
            moved = current.moved_by_words
            sent = current.slider_source  # whose values the sliders show; sent again, they would undo a move
            try:
                waiting = draw.box_waiting(current.lang, clear=clear)
                for _ in replies:
                    other, sent = sent != current.slider_source, current.slider_source
                    yield nothing if current.clearing else shown(current, waiting, sliders=other)
                    waiting = gr.skip()
            except RuntimeError as busy:
                gr.Warning(str(busy))
                yield nothing
                return
            if current.clearing:  # drawn now, the old chat could come to the page after the new one
                yield nothing
            else:
                # of two updates at once the page takes the last
                again = sent != current.slider_source or moved != current.moved_by_words
                yield shown(current, draw.box_ready(current.lang), sliders=again)

        def on_submit(current: Session, message: dict[str, Any] | None, *values: Any) -> Iterator[list[Any]]:
            message = message or {}
            paths = [f if isinstance(f, str) else f["path"] for f in message.get("files") or []]
            replies = handlers.ask(current, desk, message.get("text") or "", paths, asked(current, *values))
            yield from stream(current, replies, clear=True)

        def on_next(current: Session, event: gr.EventData, *values: Any) -> Iterator[list[Any]]:
            chosen = replace(asked(current, *values), mode="auto")  # "how big is it?" is no mask, whatever was picked
            yield from stream(current, handlers.ask(current, desk, str(event._data["value"]), [], chosen), clear=False)

        def on_retry(current: Session, *values: Any) -> Iterator[list[Any]]:
            index = len(current.exchanges) - 1  # gradio offers retry on the last reply only
            yield from stream(current, handlers.ask_again(current, desk, index, asked(current, *values)), clear=False)

        def on_edit(current: Session, event: gr.EventData, *values: Any) -> Iterator[list[Any]]:
            ids = [exchange.reply.reply_id for exchange in current.exchanges]
            if event._data["reply"] in ids:
                index, words = ids.index(event._data["reply"]), str(event._data["value"])
                replies = handlers.ask_again(current, desk, index, asked(current, *values), question=words)
                yield from stream(current, replies, clear=False)

        def on_other(current: Session, event: gr.EventData) -> Iterator[list[Any]]:
            yield from stream(current, handlers.ask_other(current, desk, str(event._data["value"])), clear=False)

        def on_example(current: Session, event: gr.EventData, *values: Any) -> Iterator[list[Any]]:
            n = int(event._data["value"])
            if not 0 <= n < len(examples):
                return
            example = examples[n]
            chosen = asked(current, values[0], example.mode, example.normal_description or values[2], values[3])
            replies = handlers.ask(current, desk, example.instruction, [str(example.path)], chosen)
            filled = gr.update(value=example.normal_description) if example.normal_description else gr.skip()
            for update in stream(current, replies, clear=False):
                yield [*update, filled]
                filled = gr.skip()

        answering: dict[str, Any] = {**PRIVATE, "concurrency_limit": AT_ONCE, "concurrency_id": "answer"}
        box.submit(on_submit, [session, box, *settings], talk, **answering)
        chat.retry(on_retry, [session, *settings], talk, **answering)
        bridge.ask(on_next, [session, *settings], talk, **answering)
        bridge.edit(on_edit, [session, *settings], talk, **answering)
        bridge.other(on_other, session, talk, **answering)
        bridge.example(on_example, [session, *settings], [*talk, normal], **answering)

        def on_stop(current: Session) -> None:
            current.stop.set()

        box.stop(on_stop, session, None, **NOW)
        bridge.halt(on_stop, session, None, **NOW)

        def on_upload(current: Session, message: dict[str, Any] | None, engine_id: str) -> str:
            files_now = [f if isinstance(f, str) else f["path"] for f in (message or {}).get("files") or []]
            if not current.busy.locked():
                handlers.encode_ahead(current, desk, engine_id, files_now)
            return draw.above_box(current)

        bridge.upload(on_upload, [session, box, engine], shots, **PRIVATE, concurrency_limit=AT_ONCE)

        # --- the conversation ---

        def on_undo(current: Session) -> list[Any]:
            if current.busy.locked():
                gr.Warning(say("busy", current.lang))
                return [gr.skip()] * len(talk)
            question = handlers.undo(current)
            return shown(current, {"text": question, "files": []}, sliders=True)

        def on_clear(current: Session) -> list[Any]:
            current.clearing = True
            current.stop.set()
            with current.busy:
                current.clear()
            return [*shown(current, draw.box_ready(current.lang), sliders=True), "auto", "", False]

        chat.undo(on_undo, session, talk, **PRIVATE)
        new.click(on_clear, session, [*talk, mode, normal, close], **PRIVATE)

        # --- the selected reply ---

        def taking(name: str) -> Callable[[Session, float], list[Any]]:
            def on_knob(current: Session, value: float) -> list[Any]:
                current.move_knob(name, value)
                overtaken = time.monotonic() - current.sliders_sent_at < OVERTAKEN_S
                back = gr.update(value=value) if overtaken else gr.skip()
                if adjust(current, **{name: value}) is None:
                    return [gr.skip(), gr.skip(), gr.skip(), back]
                return [messages(current), *draw.side(current), back]

            return on_knob

        for field, knob in zip(fields(Knobs), knobs, strict=True):
            gr.on(
                [knob.input, knob.release], taking(field.name), [session, knob], [chat, title, table, knob],
                trigger_mode="always_last", concurrency_limit=4, concurrency_id="knobs", **PRIVATE,
            )  # fmt: skip

        def on_region(current: Session, event: gr.EventData) -> list[Any]:
            data = event._data
            if pick_region(current, str(data["reply"]), int(data["value"])) is None:
                return [gr.skip()] * 6
            return [messages(current), *draw.side(current), *draw.sliders(current)]

        def on_reply(current: Session, event: gr.EventData) -> list[Any]:
            if current.reply(event._data["value"]) is not None:
                current.selected_reply_id = event._data["value"]
            return [messages(current), *draw.side(current), *draw.sliders(current)]

        bridge.region(on_region, session, [chat, title, table, *knobs], **PRIVATE)
        bridge.reply(on_reply, session, [chat, title, table, *knobs], **PRIVATE)

        def on_image(current: Session, event: gr.EventData) -> str:
            if event._data["value"] in current.images:
                current.current_image_id = event._data["value"]
            return draw.above_box(current)

        bridge.image(on_image, session, shots, **NOW)

        # --- words and cards ---

        mode.change(lambda current, chosen: panel.about_mode(chosen, current.lang), [session, mode], about, **NOW)

        def on_engine(current: Session, engine_id: str) -> list[Any]:
            try:
                found = desk.get(engine_id).card
            except Exception as error:
                sentence = say("engine_missing", current.lang, name=engine_id, e=error)
                return ["", f'<p class="agv-error" role="alert">{cards.escape(sentence)}</p>', ""]
            return [cards.banner(found, current.lang), panel.engine_card(found, current.lang), found.markdown]

        def on_card(current: Session, engine_id: str, event: gr.EventData) -> list[Any]:
            wanted = str((event._data or {}).get("value") or engine_id)
            return on_engine(current, wanted if wanted in desk.engine_ids else engine_id)[1:]

        def on_name(current: Session, engine_id: str) -> str:
            found = desk.loaded(engine_id)
            return cards.card_button(found.card.name if found and only else "", current.lang)

        about_it = [banner, card, card_text]
        described = gr.on([page.load, engine.change], on_engine, [session, engine], about_it, **PRIVATE)
        bridge.card(on_card, [session, engine], [card, card_text], **PRIVATE)
        described.then(on_name, [session, engine], card_button, **NOW)

        def on_language(current: Session, chosen: str, engine_id: str) -> list[Any]:
            current.lang = lang = "en" if current.lang == "zh" else "zh"
            heading, rows = draw.side(current)
            found = desk.loaded(engine_id)
            return [
                cards.header(lang),
                cards.card_button(found.card.name if found and only else only, lang),
                cards.help_button(lang),
                gr.update(value=say("clear", lang)),
                gr.update(value=say("language", lang)),
                cards.banner(found.card if found else None, lang),
                gr.update(value=messages(current), placeholder=cards.welcome(lang), label=say("chat", lang)),
                draw.above_box(current),
                gr.update(placeholder=say("ask", lang), label=say("message", lang)),
                example_strip(lang),
                gr.update(label=say("panel", lang)),
                gr.update(choices=_modes(lang), label=say("mode", lang), value=chosen),
                panel.about_mode(chosen, lang),
                gr.update(
                    label=say("normal", lang), placeholder=say("normal_hint", lang), info=say("normal_tip", lang)
                ),
                gr.update(label=say("close", lang), info=say("close_tip", lang)),
                heading,
                gr.update(label=say("threshold", lang), info=say("threshold_tip", lang)),
                gr.update(label=say("alpha", lang), info=say("alpha_tip", lang)),
                gr.update(label=say("min_area", lang), info=say("min_area_tip", lang)),
                rows,
                gr.update(label=say("engine", lang)),
            ]

        language.click(
            on_language,
            [session, mode, engine],
            [header, card_button, help_button, new, language, banner, chat, shots, box, strip, drawer, mode, about,
             normal, close, title, *knobs, table, engine],
            **PRIVATE,
        )  # fmt: skip

        gr.api(
            build_segment(desk, files, lambda: Path(get_upload_folder())),
            api_name="segment",
            concurrency_limit=AT_ONCE,
            concurrency_id="answer",
        )
    return page


def _modes(lang: str) -> list[tuple[str, str]]:
    return [(mode_name(m, lang), m) for m in MODES]

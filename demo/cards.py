"""The page's pieces of HTML: header, reply, images, examples; foreign words are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from agvas_core.structures import EngineCard
from demo import verdict
from demo.figure import flag
from demo.i18n import about_engine, mode_name, percent, say
from demo.replies import Exchange, Reply
from demo.session import Session

LONG_CHARS, LONG_LINES = 240, 8  # a longer question is folded where it does not fit


def _s(seconds: float) -> str:
    return f"{seconds:.1f}"


# --- page ---


def header(lang: str) -> str:
    """The page's title line."""
    return f"""<header class="agv-header" data-stopping="{say("stopping", lang)}">
<div class="agv-logo" aria-hidden="true"></div>
<div class="agv-title"><h1>AG-VAS Chat</h1><p>{say("tagline", lang)}</p></div></header>"""


def card_button(name: str, lang: str) -> str:
    """The button that opens the engine's card, with the engine's name where there is no choice of engines."""
    who = f'<span class="agv-who">{escape(name)}</span>' if name else ""
    return (
        f'<button type="button" class="agv-tool" data-agv-panel="agv-card" aria-expanded="false" '
        f'aria-controls="agv-card" title="{say("card_title", lang)}">{who}{say("card", lang)}</button>'
    )


def help_button(lang: str) -> str:
    """The question mark, with keys and what the sliders mean."""
    name = say("help", lang)
    return f"""<details class="agv-help"><summary aria-label="{name}" title="{name}">?</summary>
<div class="agv-pop"><p>{say("help_body", lang)}</p><p>{say("help_knobs", lang)}</p></div></details>"""


def banner(card: EngineCard | None, lang: str) -> str:
    """A warning across the page when the weights are random."""
    if card is None or card.trained:
        return ""
    return f'<div class="agv-banner" role="alert">{say("untrained", lang)}</div>'


def welcome(lang: str) -> str:
    """What an empty conversation shows."""
    return f'<div class="agv-welcome"><h2>{say("welcome", lang)}</h2><p>{say("welcome_sub", lang)}</p></div>'


def examples(items: Sequence[tuple[str, str, str]], lang: str) -> str:
    """The clickable examples from (thumbnail URL, caption, question) triples."""
    if not items:
        return ""
    cards = "".join(
        f'<button type="button" class="agv-example" data-agv="example" data-value="{i}" '
        f'data-words="{escape(words)}" title="{escape(caption)}: {escape(words)}">'
        f'<img src="{escape(url)}" alt="" loading="lazy"><span>{escape(caption)}</span></button>'
        for i, (url, caption, words) in enumerate(items)
    )
    return f'<section class="agv-examples" aria-label="{say("examples", lang)}">{cards}</section>'


def next_questions(questions: Sequence[str], lang: str) -> str:
    """Questions that a click asks; nothing without any."""
    buttons = "".join(
        f'<button type="button" class="agv-next" data-agv="ask" data-value="{escape(words)}">{escape(words)}</button>'
        for words in questions
    )
    return f'<section class="agv-nexts" aria-label="{say("nexts", lang)}">{buttons}</section>' if buttons else ""


def images(session: Session) -> str:
    """This conversation's images to go back to, and which are no longer there; not one that the chat itself shows."""
    lang = session.lang
    gone = f'<p class="agv-note">{escape(say("images_gone", lang, names=", ".join(session.gone)))}</p>'
    gone = gone if session.gone else ""
    good = session.good_ids()
    known = session.busy.locked() or session.current_image_id in _in_chat(session)
    if len(session.seen) < 2 and known and not good:
        return gone
    buttons = []
    for n, image_id in enumerate(session.seen, 1):
        image = session.images.get(image_id)
        if image is None:
            continue
        current = image_id == session.current_image_id
        label = say("image_n", lang, n=n) + (f" · {say('good_example', lang)}" if image_id in good else "")
        buttons.append(
            f'<button type="button" class="agv-shot" data-agv="image" data-value="{escape(image_id)}" '
            f'aria-pressed="{str(current).lower()}" title="{escape(image.name)}">'
            f'<img src="{escape(session.thumb_urls.get(image_id, ""))}" alt="{escape(image.name)}"><span>{label}'
            f"{' · ' + say('current', lang) if current else ''}</span></button>"
        )
    return f'<section class="agv-shots" aria-label="{say("images", lang)}">{"".join(buttons)}</section>{gone}'


def _in_chat(session: Session) -> set[str | None]:
    """The images that the conversation shows; after an undo one may be in use that it shows nowhere."""
    shown: set[str | None] = {None}
    for exchange in session.exchanges:
        shown.update(exchange.shown_image_ids, (reply.request.image_id for reply in exchange.replies))
    return shown


# --- one exchange ---


def question(session: Session, exchange: Exchange) -> str:
    """The user's side: photos that came along, the words, and a way to ask with other words."""
    lang = session.lang
    photos = ""
    for image_id in exchange.shown_image_ids:
        image = session.images.get(image_id)
        name = escape(image.name if image else "image")
        url = escape(session.photo_urls.get(image_id, ""))
        photos += f'<div class="agv-asked"><img src="{url}" alt="{name}"><small>{name}</small></div>'
    words = exchange.question
    edit = (
        f'<details class="agv-edit"><summary>{say("edit", lang)}</summary>'
        f'<textarea rows="2" aria-label="{say("edit", lang)}">{escape(words)}</textarea>'
        f'<button type="button" data-agv-edit="{exchange.reply.reply_id}">{say("ask_again", lang)}'
        f"</button></details>"
    )
    fold, more = "", ""
    if len(words) > LONG_CHARS or words.count("\n") > LONG_LINES:
        fold, less = " agv-folded", say("less", lang)
        more = (
            f'<button type="button" data-agv-more="{exchange.reply.reply_id}" data-more="{say("more", lang)}" '
            f'data-less="{less}" aria-expanded="false">{say("more", lang)}</button>'
        )
    return f'<div class="agv-question">{photos}<p class="agv-said{fold}">{escape(words)}</p>{more}{edit}</div>'


def who(reply: Reply, lang: str) -> str:
    """Who answered; a click opens the card."""
    name = escape(reply.card.name)
    if not reply.engine_id:
        return f"<strong>{name}</strong>"
    tip = escape(say("whose_card", lang, name=reply.card.name))
    return (
        f'<button type="button" class="agv-whose" data-agv="card" data-value="{escape(reply.engine_id)}" '
        f'title="{tip}" aria-haspopup="dialog"><strong>{name}</strong></button>'
    )


def reply_head(reply: Reply, lang: str) -> str:
    """Who answered, mode and seconds; then the verdict."""
    mode = mode_name(reply.mode or reply.request.mode, lang) if reply.compared is None else say("compare", lang)
    if reply.mode == "chat" and reply.mask_s is not None:
        mode = say("chat_masked", lang)
    times = []
    if reply.compared is not None and reply.total_s is not None:
        times.append(say("total_s", lang, s=_s(reply.total_s)))
    elif reply.mask_s is not None:
        times.append(say("mask_s", lang, s=_s(reply.mask_s)))
        if reply.total_s is not None and reply.text_first:
            times.append(say("in_all_s", lang, s=_s(reply.total_s)))
        elif reply.total_s is not None and reply.text:
            times.append(say("words_s", lang, s=_s(max(0.0, reply.total_s - reply.mask_s))))
    elif reply.total_s is not None and not reply.refused:  # "0.0 s" for nothing says nothing
        times.append(say("total_s", lang, s=_s(reply.total_s)))
    tip = ", ".join(f"{name} {value:.2f} s" for name, value in reply.seconds.items())
    answered = f"{who(reply, lang)}<span>{mode}</span>"
    when = f'<span class="agv-time" title="{escape(tip)}">{", ".join(times)}</span>' if times else ""
    badge = verdict.badge(reply, lang) if reply.compared is None else ""
    return f'<div class="agv-head">{answered}{when}</div>{badge}'


def comparison(panels: Sequence[tuple[str, str]], lines: Sequence[str], lang: str) -> str:
    """What the masks of two images measure, then the images side by side: (title, content) each."""
    said = "".join(f"<li>{escape(line)}</li>" for line in lines)
    label = say("compare_measured", lang)
    facts = f'<div class="agv-measured"><b>{label}</b><ul>{said}</ul></div>' if lines else ""
    pair = "".join(f'<div class="agv-part"><h2>{escape(title)}</h2>{content}</div>' for title, content in panels)
    return f'{facts}<div class="agv-pair">{pair}</div>'


def beside(panels: Sequence[str]) -> str:
    """Several engines' replies to one question, side by side."""
    parts = "".join(f'<div class="agv-part">{panel}</div>' for panel in panels)
    return f'<div class="agv-pair agv-beside">{parts}</div>'


def ask_other(engine_ids: Sequence[str], lang: str) -> str:
    """The menu by which other engines answer the last question too."""
    buttons = "".join(
        f'<button type="button" data-agv="other" data-value="{escape(engine_id)}" '
        f'title="{escape(about_engine(engine_id, lang))}">{escape(engine_id)}</button>'
        for engine_id in engine_ids
    )
    summary = f'<summary title="{say("ask_other_tip", lang)}">{say("ask_other", lang)}</summary>'
    return f'<details class="agv-other">{summary}<div>{buttons}</div></details>' if buttons else ""


def notes(reply: Reply, lang: str) -> str:
    """Sentences from the engine or the page: notices and errors."""
    lines = [f'<p class="agv-note">{escape(text)}</p>' for text in reply.notices]
    lines += [f'<p class="agv-error" role="alert">{escape(text)}</p>' for text in reply.errors]
    if reply.moved and reply.text:
        lines.append(f'<p class="agv-note">{say("words_before", lang)}</p>')
    if reply.stopped:
        lines.append(f'<p class="agv-note">{say("stopped", lang)}</p>')
    return "".join(lines)


def plain_text(reply: Reply, lang: str, measured: Sequence[str] = ()) -> str:
    """The reply as plain words, for the clipboard: verdict, regions, words; or what a comparison measured."""
    lines = list(measured)
    if reply.compared is None and reply.facts and reply.card.trained:
        regions = reply.facts["regions"]
        assert isinstance(regions, list)
        score = f"{float(str(reply.facts['score'])):.2f}"
        lines.append(f"{verdict.said(reply.facts, lang)} ({score})")
        for r in regions:
            kind = f"{say(r['kind'], lang)}, " if r["kind"] else ""
            lines.append(f"{r['index']}. {kind}{say(r['place'], lang)}, {percent(r['area_percent'])}")
    return "\n".join([*lines, reply.text.strip(), *reply.notices]).strip()


def foot(reply: Reply, name: str, selected: bool, lang: str) -> str:
    """Downloads, and the button that gives the reply to the side panel."""
    if not reply.assets or not reply.card.trained:
        return ""
    stem = escape(name.rsplit(".", 1)[0] or "image")
    files = {"mask": "mask.png", "map": "map.png", "json": "regions.json"}
    links = "".join(
        f'<a href="{escape(reply.assets[kind])}" download="{stem}_{file}" '
        f'aria-label="{say("download", lang)} {file}">{file}</a>'
        for kind, file in files.items()
        if kind in reply.assets and not (kind == "mask" and reply.card.heat_map_only)
    )
    if reply.card.heat_map_only:  # there is no mask to adjust
        return links
    return (
        f'{links}<button type="button" data-agv="reply" data-value="{reply.reply_id}" aria-pressed="{flag(selected)}" '
        f'title="{say("adjust_tip", lang)}">{say("adjust", lang)}</button>'
    )


def copy_button(words: str, lang: str) -> str:
    """The button that puts the reply's words on the clipboard."""
    if not words:
        return ""
    done = say("copied", lang)
    return f'<button type="button" data-agv-copy="{escape(words)}" data-done="{done}">{say("copy", lang)}</button>'


def files(*buttons: str) -> str:
    """A row of downloads and buttons; nothing when there are none."""
    return f'<div class="agv-files">{"".join(buttons)}</div>' if any(buttons) else ""

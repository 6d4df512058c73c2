"""The page's pieces of HTML: header, reply, picture, verdict, regions, images, examples; foreign words are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from agvas_core.structures import EngineCard, InspectionImage
from demo.i18n import mode_name, say
from demo.session import Exchange, Reply, Session

VIEWS = ("overlay", "photo", "mask", "heat")


def percent(share: float) -> str:
    """Return a percentage with as many digits as it needs."""
    return "<0.1 %" if 0 < share < 0.095 else f"{share:.1f} %" if share < 10 else f"{share:.0f} %"


def _flag(value: bool) -> str:
    return str(value).lower()


def _s(seconds: float) -> str:
    return f"{seconds:.1f}"


# --- page ---


def header(lang: str) -> str:
    """The page's title line."""
    return f"""<header class="agv-header"><div class="agv-logo" aria-hidden="true"></div>
<div class="agv-title"><h1>AG-VAS Chat</h1><p>{say("tagline", lang)}</p></div>
<details class="agv-help"><summary aria-label="{say("help", lang)}" title="{say("help", lang)}">?</summary>
<p>{say("help_body", lang)}</p></details></header>"""


def banner(card: EngineCard | None, lang: str) -> str:
    """A warning across the page when the weights are random."""
    if card is None or card.trained:
        return ""
    return f'<div class="agv-banner" role="alert">{say("untrained", lang)}</div>'


def welcome(lang: str) -> str:
    """What an empty conversation shows."""
    return f'<div class="agv-welcome"><h2>{say("welcome", lang)}</h2><p>{say("welcome_sub", lang)}</p></div>'


def examples(items: Sequence[tuple[str, str]], lang: str) -> str:
    """The clickable examples from (thumbnail URL, caption) pairs."""
    if not items:
        return ""
    cards = "".join(
        f'<button type="button" class="agv-example" data-agv="example" data-value="{i}" title="{escape(caption)}">'
        f'<img src="{escape(url)}" alt="" loading="lazy"><span>{escape(caption)}</span></button>'
        for i, (url, caption) in enumerate(items)
    )
    return f'<section class="agv-examples" aria-label="{say("examples", lang)}">{cards}</section>'


def images(session: Session) -> str:
    """This conversation's images to go back to; nothing while there is only one."""
    lang = session.lang
    if len(session.images) < 2:
        return ""
    buttons = []
    for n, (image_id, image) in enumerate(session.images.items(), 1):
        current = image_id == session.current_image_id
        label = say("image_n", lang, n=n)
        buttons.append(
            f'<button type="button" class="agv-shot" data-agv="image" data-value="{escape(image_id)}" '
            f'aria-pressed="{str(current).lower()}" title="{escape(image.name)}">'
            f'<img src="{escape(session.thumb_urls.get(image_id, ""))}" alt="{escape(image.name)}"><span>{label}'
            f"{' · ' + say('current', lang) if current else ''}</span></button>"
        )
    return f'<section class="agv-shots" aria-label="{say("images", lang)}">{"".join(buttons)}</section>'


def about_mode(mode: str, lang: str) -> str:
    """One line about the chosen mode."""
    return f'<p class="agv-about" aria-live="polite">{say("about_" + mode, lang)}</p>'


def engine_card(card: EngineCard) -> str:
    """The engine's card as a small table."""
    rows = {
        "Name": card.name, "Weights": card.weights, "Licence": card.licence, "Device": card.device,
        "Memory": f"{card.memory_mb:.0f} MB", "Modes": ", ".join(mode_name(m) for m in card.modes),
    }  # fmt: skip
    body = "".join(f"<tr><th scope='row'>{k}</th><td>{escape(v)}</td></tr>" for k, v in rows.items())
    return f'<p class="agv-about">{escape(card.description)}</p><table class="agv-card">{body}</table>'


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
    return f'<div class="agv-question">{photos}<p class="agv-said">{escape(words)}</p>{edit}</div>'


def reply_head(reply: Reply, lang: str) -> str:
    """Who answered, mode and seconds; then the verdict."""
    mode = mode_name(reply.mode or reply.request.mode, lang)
    times = []
    if reply.mask_s is not None:
        times.append(say("mask_s", lang, s=_s(reply.mask_s)))
        if reply.total_s is not None and reply.text:
            times.append(
                say("words_s", lang, s=_s(max(0.0, reply.total_s - (0 if reply.text_first else reply.mask_s))))
            )
    elif reply.total_s is not None:
        times.append(say("total_s", lang, s=_s(reply.total_s)))
    tip = ", ".join(f"{name} {value:.2f} s" for name, value in reply.seconds.items())
    who = f"<strong>{escape(reply.card.name)}</strong><span>{mode}</span>"
    when = f'<span class="agv-time" title="{escape(tip)}">{", ".join(times)}</span>' if times else ""
    return f'<div class="agv-head">{who}{when}</div>{verdict(reply, lang)}'


def verdict(reply: Reply, lang: str) -> str:
    """The verdict's badge with its numbers; empty while there is no mask."""
    if not reply.facts:
        return ""
    if not reply.card.trained:
        return f'<div class="agv-verdict" data-verdict="none"><b>{say("untrained_verdict", lang)}</b></div>'
    score, regions = float(str(reply.facts["score"])), reply.facts["regions"]
    assert isinstance(regions, list)
    if reply.facts["verdict"] == "anomaly":
        n = len(regions)
        count = say("region_1", lang) if n == 1 else say("region_n", lang, n=n)
        share = say("of_image", lang, p=percent(float(str(reply.facts["area_percent"]))))
        return (
            f'<div class="agv-verdict" data-verdict="anomaly"><b>{say("verdict_anomaly", lang)}</b>'
            f'<b class="agv-score" title="{say("scale", lang)}">{score:.2f}</b>'
            f"<span>{count}</span><span>{share}</span></div>"
        )
    threshold = float(str(reply.facts["threshold"]))
    if score > threshold:
        detail = say("highest_small", lang, s=f"{score:.2f}", a=reply.facts["min_area_px"])
    else:
        detail = say("highest", lang, s=f"{score:.2f}", t=f"{threshold:.2f}")
    calm = say("verdict_normal", lang)
    return f'<div class="agv-verdict" data-verdict="normal"><b>{calm}</b><span>{detail}</span></div>'


def skeleton(reply: Reply, image: InspectionImage | None, photo_url: str, lang: str) -> str:
    """The place of the picture while it is computed: the photo, the stage's name and a bar."""
    name, fraction = reply.stage or (say("thinking", lang), 0.0)
    bar = (
        f'<div class="agv-stage-name" role="status">{escape(name)}…</div>'
        f'<div class="agv-bar" role="progressbar" aria-label="{escape(name)}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * fraction:.0f}"><i style="width:{max(3.0, 100 * fraction):.0f}%"></i></div>'
    )
    if image is None:
        return f'<div class="agv-skeleton agv-skeleton-bare">{bar}</div>'
    h, w = image.size_hw
    return (
        f'<div class="agv-skeleton" style="--w:{w};--h:{h}"><img src="{escape(photo_url)}" alt="">'
        f'<div class="agv-progress">{bar}</div></div>'
    )


def picture(reply: Reply, photo_url: str, name: str, lang: str) -> str:
    """The mask in its views over the photo, with a before/after slider, and the list of regions."""
    h, w = reply.facts["size_hw"]  # type: ignore[misc]
    photo = f'<img class="agv-photo" src="{escape(photo_url)}" alt="{escape(name)}">'
    if not reply.card.trained:
        return f'<figure class="agv-pic" style="--w:{w};--h:{h}"><div class="agv-canvas">{photo}</div></figure>'
    layers = "".join(
        f'<img class="agv-layer agv-layer-{view}" src="{escape(reply.assets[view])}" alt="{say(view, lang)}">'
        for view in ("overlay", "mask", "heat")
    )
    views = "".join(
        f'<button type="button" data-agv-view="{view}" aria-pressed="{_flag(view == "overlay")}">'
        f"{say(view, lang)}</button>"
        for view in VIEWS
    )
    drag = say("drag", lang)
    threshold = float(str(reply.facts["threshold"]))
    style = f"--w:{w};--h:{h};--cut:100%"
    return f"""<figure class="agv-pic" data-reply="{reply.reply_id}" data-view="overlay" style="{style}">
<div class="agv-views" role="group" aria-label="{say("view", lang)}">{views}</div>
<div class="agv-canvas">{photo}<div class="agv-top">{layers}</div><i class="agv-handle" aria-hidden="true"></i>
<input class="agv-slide" type="range" min="0" max="100" step="0.5" value="100" aria-label="{drag}" title="{drag}"></div>
<div class="agv-scale"><span>0</span>
<i><b style="left:{100 * threshold:.0f}%" title="{say("threshold", lang)}"></b></i><span>1</span>
<em>{say("scale", lang)}</em></div>{chips(reply, lang)}</figure>"""


def chips(reply: Reply, lang: str) -> str:
    """The regions as small buttons under the picture."""
    regions = reply.facts["regions"]
    assert isinstance(regions, list)
    buttons = "".join(
        f'<button type="button" class="agv-chip" data-agv="region" data-reply="{reply.reply_id}" '
        f'data-value="{r["index"]}" '
        f'aria-pressed="{str(r["index"] == reply.selected_region).lower()}"><b>{r["index"]}</b>'
        f"{say(r['place'], lang)}<span>{percent(r['area_percent'])}</span></button>"
        for r in regions[:8]
    )
    more = f'<span class="agv-more">+{len(regions) - 8}</span>' if len(regions) > 8 else ""
    return f'<div class="agv-chips">{buttons}{more}</div>' if buttons else ""


def notes(reply: Reply, lang: str) -> str:
    """Sentences from the engine or the page: notices and errors."""
    lines = [f'<p class="agv-note">{escape(text)}</p>' for text in reply.notices]
    lines += [f'<p class="agv-error" role="alert">{escape(text)}</p>' for text in reply.errors]
    if reply.stopped:
        lines.append(f'<p class="agv-note">{say("stopped", lang)}</p>')
    return "".join(lines)


def plain_text(reply: Reply, lang: str) -> str:
    """The reply as plain words, for the clipboard: verdict, regions, words."""
    lines = []
    if reply.facts and reply.card.trained:
        regions = reply.facts["regions"]
        assert isinstance(regions, list)
        score = f"{float(str(reply.facts['score'])):.2f}"
        lines.append(f"{say('verdict_' + str(reply.facts['verdict']), lang)} ({score})")
        lines += [f"{r['index']}. {say(r['place'], lang)}, {percent(r['area_percent'])}" for r in regions]
    return "\n".join([*lines, reply.text.strip(), *reply.notices]).strip()


def foot(reply: Reply, name: str, selected: bool, lang: str) -> str:
    """Downloads, copy, and the button that gives the reply to the side panel."""
    links = adjust = ""
    if reply.assets and reply.card.trained:
        stem = escape(name.rsplit(".", 1)[0] or "image")
        files = {"mask": "mask.png", "map": "map.png", "json": "regions.json"}
        links = "".join(
            f'<a href="{escape(reply.assets[kind])}" download="{stem}_{file}" '
            f'aria-label="{say("download", lang)} {file}">{file}</a>'
            for kind, file in files.items()
            if kind in reply.assets
        )
        adjust = (
            f'<button type="button" data-agv="reply" data-value="{reply.reply_id}" aria-pressed="{_flag(selected)}" '
            f'title="{say("adjust_tip", lang)}">{say("adjust", lang)}</button>'
        )
    words = plain_text(reply, lang)
    copy = (
        f'<button type="button" data-agv-copy="{escape(words)}" data-done="{say("copied", lang)}">'
        f"{say('copy', lang)}</button>"
        if words
        else ""
    )
    return f'<div class="agv-files">{links}{adjust}{copy}</div>' if links or copy else ""


# --- side panel ---


def regions_table(reply: Reply | None, lang: str) -> str:
    """The selected reply's regions with their measures."""
    if reply is None or not reply.facts or not reply.card.trained:
        return f'<p class="agv-about">{say("no_selected", lang)}</p>'
    old = f'<p class="agv-about">{say("too_old", lang)}</p>' if reply.prediction is None else ""
    regions = reply.facts["regions"]
    assert isinstance(regions, list)
    if not regions:
        return f'<p class="agv-about agv-calm">{say("verdict_normal", lang)}</p>{old}'
    head = "".join(f'<th scope="col">{say(k, lang)}</th>' for k in ("place", "share", "area", "score"))
    rows = "".join(
        f'<tr aria-selected="{str(r["index"] == reply.selected_region).lower()}" title="{say("box", lang)}: '
        f'{", ".join(map(str, r["box_xyxy"]))}"><td>'
        f'<button type="button" data-agv="region" data-reply="{reply.reply_id}" '
        f'data-value="{r["index"]}" aria-pressed="{str(r["index"] == reply.selected_region).lower()}" '
        f'aria-label="{say("region_1", lang)}: {r["index"]}">{r["index"]}</button></td><td>{say(r["place"], lang)}</td>'
        f"<td>{percent(r['area_percent'])}</td><td>{r['area_px']:,} px</td><td>{r['score']:.2f}</td></tr>"
        for r in regions[:40]
    )
    return (
        f'<div class="agv-table-box"><table class="agv-table"><thead><tr><th scope="col">#</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{old}"
    )


def selected_title(reply: Reply | None, lang: str) -> str:
    """The side panel's heading of the selected reply, with its verdict."""
    title = f'<h2 class="agv-h2">{say("selected", lang)}</h2>'
    return title + (verdict(reply, lang) if reply is not None else "")

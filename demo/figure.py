"""A reply's picture as HTML: its skeleton, its views over the photo, and the list of regions; see picture.js."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from agvas_core.structures import InspectionImage
from demo.i18n import percent, say
from demo.replies import Reply

VIEWS = ("overlay", "photo", "mask", "heat")
CHIPS, MOST_CHIPS = 8, 40  # regions listed at once, and when all are opened, as in the side panel's table


def flag(value: bool) -> str:
    """Return an ARIA attribute's value."""
    return str(value).lower()


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
    seen = ("heat", "photo") if reply.card.heat_map_only else VIEWS
    layers = "".join(
        f'<img class="agv-layer agv-layer-{view}" src="{escape(reply.assets[view])}" alt="{say(view, lang)}">'
        for view in seen
        if view != "photo"
    )
    views = "".join(
        f'<button type="button" data-agv-view="{view}" aria-pressed="{flag(view == seen[0])}">'
        f"{say(view, lang)}</button>"
        for view in seen
    )
    drag, cut = say("drag", lang), say("cut", lang)
    enlarge, large = say("enlarge", lang), escape(say("enlarged", lang, name=name))
    threshold = float(str(reply.facts["threshold"]))
    style = f"--w:{w};--h:{h};--cut:100%"
    return f"""<figure class="agv-pic" data-reply="{reply.reply_id}" data-view="{seen[0]}" style="{style}">
<div class="agv-tools"><div class="agv-views" role="group" aria-label="{say("view", lang)}">{views}</div>
<button type="button" data-agv-enlarge title="{enlarge}" aria-haspopup="dialog" data-title="{large}"
data-close="{say("close_large", lang)}"><span>{enlarge}</span></button></div>
<div class="agv-canvas" title="{drag}">{photo}<div class="agv-top">{layers}</div>
<i class="agv-handle" aria-hidden="true"></i>
<input class="agv-slide" type="range" min="0" max="100" step="0.5" value="100" aria-label="{cut}"></div>
<div class="agv-scale"><span>0</span>
<i><b style="left:{100 * threshold:.0f}%" title="{say("threshold", lang)}"></b></i><span>1</span>
<em>{say("scale", lang)}</em></div>{chips(reply, lang)}</figure>"""


def chips(reply: Reply, lang: str) -> str:
    """The regions as small buttons beside the picture: the largest at once, more of them when they are opened."""
    regions = reply.facts["regions"]
    assert isinstance(regions, list)
    buttons = [_chip(reply, region, lang) for region in regions[:MOST_CHIPS]]
    if len(regions) <= CHIPS:
        return f'<div class="agv-chips">{"".join(buttons)}</div>' if buttons else ""
    rest = len(regions) - len(buttons)
    smaller = f"<p>{say('rest_regions', lang, n=rest)}</p>" if rest else ""
    n = len(regions) - CHIPS
    return (
        f'<div class="agv-chips">{"".join(buttons[:CHIPS])}<details class="agv-more">'
        f'<summary title="{say("more_regions", lang, n=n)}">+{n}</summary>'
        f"<div>{''.join(buttons[CHIPS:])}{smaller}</div></details></div>"
    )


def _chip(reply: Reply, region: Mapping[str, Any], lang: str) -> str:
    return (
        f'<button type="button" class="agv-chip" data-agv="region" data-reply="{reply.reply_id}" '
        f'data-value="{region["index"]}" data-box="{",".join(map(str, region["box_xyxy"]))}" '
        f'aria-pressed="{flag(region["index"] == reply.selected_region)}"><b>{region["index"]}</b>'
        f"{kind(region, lang)}{say(region['place'], lang)}<span>{percent(region['area_percent'])}</span></button>"
    )


def kind(region: Mapping[str, object], lang: str) -> str:
    """The likeliest kind of defect, with a question mark below one half; nothing when the engine cannot tell."""
    sure = float(str(region["kind_score"]))
    if not region["kind"]:
        return ""
    word = say(str(region["kind"]), lang) + ("" if sure >= 0.5 else "?")
    tip = say("kind_tip", lang, p=f"{100 * sure:.0f} %")
    return f'<em class="agv-kind" title="{escape(tip)}">{escape(word)}</em>'

"""The side panel's pieces of HTML: the mode's sentence, the selected reply with its regions; and the engine's card."""

from __future__ import annotations

from html import escape
from typing import Any

from agvas_core.scale import Scale
from agvas_core.structures import EngineCard
from demo import verdict
from demo.figure import flag, kind
from demo.i18n import mode_name, percent, say
from demo.replies import Reply


def about_mode(mode: str, lang: str) -> str:
    """One line about the chosen mode."""
    return f'<p class="agv-about" aria-live="polite">{say("about_" + mode, lang)}</p>'


def engine_card(card: EngineCard, lang: str) -> str:
    """The engine's card as a small table."""
    rows = {
        "name": card.name, "weights": card.weights, "licence": card.licence, "device": card.device,
        "memory": f"{card.memory_mb:.0f} MB", "modes": ", ".join(mode_name(m, lang) for m in card.modes),
    }  # fmt: skip
    body = "".join(
        f"<tr><th scope='row'>{say(f'card_{k}', lang)}</th><td>{escape(v)}</td></tr>" for k, v in rows.items()
    )
    return f'<p class="agv-about">{escape(card.description)}</p><table class="agv-card">{body}</table>'


def regions_table(reply: Reply | None, lang: str) -> str:
    """The selected reply's regions with their measures."""
    if reply is None or not reply.facts or not reply.card.trained:
        return f'<p class="agv-about">{say("no_selected", lang)}</p>'
    old = f'<p class="agv-about">{say("too_old", lang)}</p>' if reply.prediction is None else ""
    regions = reply.facts["regions"]
    assert isinstance(regions, list)
    if not regions:
        return f'<p class="agv-about agv-calm">{verdict.said(reply.facts, lang)}</p>{old}'
    kinds = any(r["kind"] for r in regions)
    size = "length_width" if "mm_per_px" in reply.facts else "area"
    columns = (*(["kind"] if kinds else []), "place", "share", size, "score")
    head = "".join(f'<th scope="col">{say(k, lang)}</th>' for k in columns)
    rows = "".join(_row(reply, r, kinds, lang) for r in regions[:40])
    return (
        f'<div class="agv-table-box"><table class="agv-table"><thead><tr><th scope="col">#</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{old}"
    )


def _row(reply: Reply, region: dict[str, Any], kinds: bool, lang: str) -> str:
    pressed = flag(region["index"] == reply.selected_region)
    box = f"{say('box', lang)}: {', '.join(map(str, region['box_xyxy']))}"
    label = say("region", lang, n=region["index"])
    button = (
        f'<button type="button" data-agv="region" data-reply="{reply.reply_id}" data-value="{region["index"]}" '
        f'aria-pressed="{pressed}" aria-label="{label}">{region["index"]}</button>'
    )
    cells = [button, *([kind(region, lang)] if kinds else []), say(region["place"], lang)]
    cells += [percent(region["area_percent"]), _size(reply, region), f"{region['score']:.2f}"]
    return f'<tr title="{box}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _size(reply: Reply, region: dict[str, Any]) -> str:
    """Return "1,492 px", or "2.8 x 1.3 mm" where the image's scale was said."""
    mm_per_px = reply.facts.get("mm_per_px")
    if not isinstance(mm_per_px, float):
        return f"{region['area_px']:,} px"
    scale = Scale(mm_per_px)
    length, width = (scale.length(region[side]) for side in ("length_px", "width_px"))
    same_unit = length.split()[1] == width.split()[1]
    return f"{length.split()[0] if same_unit else length} x {width}"


def selected_title(reply: Reply | None, lang: str, which: str = "") -> str:
    """The side panel's heading of the selected reply, with its verdict; which: one of several, by image and engine."""
    named = f'<span class="agv-which"> · {escape(which)}</span>' if which else ""
    title = f'<h2 class="agv-h2">{say("selected", lang)}{named}</h2>'
    if reply is None:
        return title
    badge = verdict.badge(reply, lang, by_sliders=True)
    return f'{title}{badge}<p class="agv-about agv-rule">{say("next_reply", lang)}</p>'

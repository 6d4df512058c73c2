"""The report of an inspected folder: a page that any browser opens, offline, to sort and filter by what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

NAMES = {
    "anomaly": "anomaly",
    "other": "not what was asked for",
    "normal": "normal",
    "none": "no verdict",
    "error": "not answered",
}

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --hot: #b3400a; --calm: #1a7f37; --odd: #8a6d00 }
@media (prefers-color-scheme: dark) { :root { --hot: #ff9a62; --calm: #5fd07f; --odd: #e5c34a } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 24px auto; max-width: 1200px; padding: 0 16px }
h1 { font-size: 22px; margin: 0 0 4px } p { margin: 4px 0 }
nav { display: flex; flex-wrap: wrap; gap: 8px; margin: 16px 0 }
button { font: inherit; padding: 4px 12px; border: 1px solid var(--line); border-radius: 8px }
button { background: none; color: inherit; cursor: pointer }
button[aria-pressed=true], button:focus-visible { outline: 2px solid #0072b2 }
div { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { padding: 8px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th button { border: 0; padding: 0; font-weight: 600 }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
img { display: block; width: 160px; height: 120px; object-fit: contain; background: #8882 }
.anomaly { color: var(--hot) } .normal { color: var(--calm) } .other, .none, .error { color: var(--odd) }
.name { word-break: break-word }
"""
_SCRIPT = """
const body = document.querySelector('tbody'), rows = [...body.rows];
document.querySelectorAll('nav button').forEach(b => b.onclick = () => {
  document.querySelectorAll('nav button').forEach(o => o.setAttribute('aria-pressed', o === b));
  rows.forEach(r => r.hidden = b.value !== '' && r.dataset.verdict !== b.value);
});
document.querySelectorAll('th button').forEach(b => b.onclick = () => {
  const at = b.closest('th').cellIndex, up = b.closest('th').ariaSort === 'descending';
  document.querySelectorAll('th').forEach(h => h.ariaSort = 'none');
  b.closest('th').ariaSort = up ? 'ascending' : 'descending';
  const key = r => r.cells[at].dataset.key, number = rows.every(r => !isNaN(key(r)));
  rows.sort((a, c) => (number ? key(a) - key(c) : key(a).localeCompare(key(c))) * (up ? 1 : -1));
  body.append(...rows);
});
"""
_COLUMNS = ("", "image", "verdict", "score", "marked", "longest", "largest mark", "seconds")


def report_html(
    title: str, about: Mapping[str, object], rows: Sequence[Mapping[str, Any]], pictures: Mapping[str, tuple[str, str]]
) -> str:
    """Return the page of the rows of results.json, the most suspicious image first.

    Args:
        title: of the page.
        about: what is said above the table: engine, threshold and the like.
        rows: as `agvas inspect` returns them.
        pictures: image -> the thumbnail and what it leads to, as paths from the page; none of those without a mask.
    """
    ordered = sorted(rows, key=lambda row: (bool(row["error"]), -(row["score"] or 0), row["image"]))
    verdicts = [_verdict(row) for row in rows]
    buttons = [f'<button value="" aria-pressed="true">all {len(rows)}</button>']
    buttons += [
        f'<button value="{verdict}" aria-pressed="false">{name} {verdicts.count(verdict)}</button>'
        for verdict, name in NAMES.items()
        if verdict in verdicts
    ]
    heads = "".join(f'<th scope="col"><button>{name}</button></th>' if name else "<th></th>" for name in _COLUMNS)
    facts = " · ".join(f"{escape(key)}: {escape(str(value))}" for key, value in about.items())
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1><p>{facts}</p>\n"
        f"<nav>{''.join(buttons)}</nav>\n<div><table><thead><tr>{heads}</tr></thead>\n<tbody>\n"
        + "\n".join(_row(row, pictures.get(row["image"])) for row in ordered)
        + f"\n</tbody></table></div><script>{_SCRIPT}</script></body></html>\n"
    )


def _verdict(row: Mapping[str, Any]) -> str:
    return "error" if row["error"] else str(row["verdict"]) if row["verdict"] in NAMES else "none"


def _row(row: Mapping[str, Any], pictures: tuple[str, str] | None) -> str:
    verdict, name, picture, longest = _verdict(row), str(row["image"]), "", ""
    if pictures is not None:
        thumb, mask = map(quote, pictures)
        picture = f'<a href="{mask}"><img loading="lazy" alt="{escape(name)}, marked" src="{thumb}"></a>'
    if row["longest_px"]:
        longest = f"{row['longest_mm']:.3g} mm" if row["longest_mm"] else f"{row['longest_px']:,.0f} px"
    largest = " ".join(str(part) for part in (row["largest_kind"], row["largest_place"]) if part)
    said = escape(str(row["error"] or row["text"]))
    cells = (
        ("", "", picture),
        (name, "name", f"{escape(name)}<p><small>{said}</small></p>"),
        (list(NAMES).index(verdict), verdict, NAMES[verdict]),
        (row["score"] or 0, "n", "" if row["score"] == "" else f"{row['score']:.2f}"),
        (
            row["area_percent"] or 0,
            "n",
            "" if row["area_percent"] == "" else f"{row['area_percent']:.2f} %, {row['regions']}",
        ),
        (row["longest_px"] or 0, "n", longest),
        (largest, "", escape(largest)),
        (row["seconds"] or 0, "n", "" if row["seconds"] == "" else f"{row['seconds']:.1f}"),
    )
    tds = "".join(f'<td class="{kind}" data-key="{escape(str(key))}">{shown}</td>' for key, kind, shown in cells)
    return f'<tr data-verdict="{verdict}">{tds}</tr>'

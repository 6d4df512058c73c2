"""A reply's words as HTML where gradio does not set them: paragraphs, and markdown's tables; all words are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby


def words(text: str) -> str:
    """Return a reply's words as paragraphs and tables."""
    lines = [line.strip() for line in text.strip().split("\n") if line.strip()]
    pieces = []
    for is_table, group in groupby(lines, key=lambda line: line.startswith("|")):
        block = list(group)
        pieces += [_table(block)] if is_table else [f'<p class="agv-words">{escape(line)}</p>' for line in block]
    return "".join(pieces)


def _table(lines: Sequence[str]) -> str:
    """Return a markdown table, whose first line is its head, as HTML that scrolls sideways."""
    head, *rows = [_cells(line) for line in lines if not _is_rule(line)]
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    table = f'<table class="agv-table"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="agv-table-box" tabindex="0">{table}</div>'


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _is_rule(line: str) -> bool:
    return set(line) <= set("|-: ")

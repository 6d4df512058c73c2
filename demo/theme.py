"""The page's look: system fonts (nothing is fetched), quiet greys, Okabe-Ito blue for actions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradio.themes import Base

HERE = Path(__file__).parent
SCRIPTS = ("redraw.js", "picture.js", "panel.js", "page.js")  # in this order
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Noto Sans CJK SC", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def build_theme() -> Base:
    """Return the gradio theme."""
    from gradio import themes

    blue = themes.Color(
        "#eef6fb",
        "#d8eaf5",
        "#b0d4ea",
        "#7fb8db",
        "#3f97c9",
        "#0072b2",
        "#00639b",
        "#00527f",
        "#004166",
        "#00314d",
        "#002236",
    )
    theme = themes.Base(
        primary_hue=blue,
        secondary_hue=blue,
        neutral_hue="zinc",
        font=list(FONTS),
        font_mono=list(MONO),
        radius_size="md",
    )
    return theme.set(
        body_background_fill="#f6f7f8",
        body_background_fill_dark="#111315",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#191c1f",
        block_border_width="1px",
        block_border_color="#e2e5e8",
        block_border_color_dark="#2c3136",
        block_background_fill="#ffffff",
        block_background_fill_dark="#191c1f",
        block_shadow="none",
        block_label_text_color="#3f454c",
        block_label_text_color_dark="#c9ced4",
        block_info_text_color="#565d65",
        block_info_text_color_dark="#a9b0b8",
        body_text_color_subdued="#565d65",
        body_text_color_subdued_dark="#a9b0b8",
        input_background_fill="#ffffff",
        input_background_fill_dark="#131618",
        slider_color="#0072b2",
        slider_color_dark="#3f97c9",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_dark="#22262a",
    )


def css() -> str:
    """Return the page's style sheet."""
    return (HERE / "page.css").read_text(encoding="utf-8")


def head() -> str:
    """Return the page's scripts as tags for the document's head."""
    return "".join(f"<script>{(HERE / name).read_text(encoding='utf-8')}</script>" for name in SCRIPTS)

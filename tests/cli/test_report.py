"""The report of an inspected folder: every row once, nothing that a name could run, no address but its own."""

import re

from agvas_core.cli.folder import COLUMNS
from agvas_core.cli.report import report_html


def row(image, **values):
    return dict.fromkeys(COLUMNS, "") | {"image": image} | values


ROWS = [
    row("calm.png", verdict="normal", score=0.2, regions=0, area_percent=0.0, seconds=0.5, text="Fine."),
    row("<b>&x.png", verdict="anomaly", score=0.9, regions=2, area_percent=1.5, longest_px=40.2, longest_mm=4.02,
        largest_kind="crack", largest_place="left", seconds=0.5, text="<script>alert(1)</script>"),
    row("deep/a b#.png", verdict="other", score=0.7, regions=0, area_percent=0.0, seconds=0.5, text="No dent."),
    row("broken.png", error="This file is a PDF."),
    row("raw.png", verdict="none: untrained weights", score=0.5, regions=0, area_percent=0.0, seconds=0.1),
]  # fmt: skip


def test_rows_are_told_once_the_most_suspicious_first_and_errors_last():
    page = report_html("parts", {"engine": "test"}, ROWS, {})
    names = re.findall(r'<td class="name" data-key="([^"]*)"', page)
    assert names == ["&lt;b&gt;&amp;x.png", "deep/a b#.png", "raw.png", "calm.png", "broken.png"]
    assert 'value="anomaly" aria-pressed="false">anomaly 1<' in page and "all 5<" in page and "no verdict 1<" in page
    assert ">4.02 mm<" in page and ">1.50 %, 2<" in page and "This file is a PDF." in page


def test_what_a_name_or_the_words_hold_is_text_and_pictures_are_the_folder_s_own():
    pictures = {"deep/a b#.png": ("thumbs/deep/a b#.png.jpg", "masks/deep/a b#.png.png")}
    page = report_html("<i>", {"engine": "<u>"}, ROWS, pictures)
    assert "<b>" not in page and "alert(1)</script>" not in page and "<i>" not in page and "<u>" not in page
    assert re.findall(r'(?:src|href)="([^"]+)"', page) == [
        "masks/deep/a%20b%23.png.png", "thumbs/deep/a%20b%23.png.jpg",
    ]  # fmt: skip
    assert "://" not in page

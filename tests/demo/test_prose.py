"""Words as HTML where gradio does not set them."""

from __future__ import annotations

from demo.prose import words


def test_a_table_is_a_table_and_everything_is_escaped():
    """A table of candidates once stood as lines with bars beside another engine's reply."""
    html = words("Kept <1>.\n\n| candidate | fate |\n|---|---:|\n| A | kept, 0.5 < 1 |\n| B | - |\n\nand 2 more")
    assert html.startswith('<p class="agv-words">Kept &lt;1&gt;.</p>') and html.endswith(
        '<p class="agv-words">and 2 more</p>'
    )
    assert html.count("<tr>") == 3 and '<th scope="col">candidate</th>' in html and "<td>kept, 0.5 &lt; 1</td>" in html
    assert "|" not in html and "---" not in html and "<td>-</td>" in html


def test_lines_are_paragraphs():
    assert words(" One.\n\n\nTwo. ") == '<p class="agv-words">One.</p><p class="agv-words">Two.</p>'
    assert words("") == ""

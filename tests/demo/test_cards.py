"""The small pieces of a reply's card."""

from __future__ import annotations

from dataclasses import replace

from agvas_core.engines.registry import list_bundled_engines
from agvas_core.structures import Request
from demo.cards import ask_other, foot, plain_text
from demo.figure import chips, picture
from demo.panel import regions_table
from demo.replies import Reply
from demo.verdict import badge, region_count
from tests.fakes import CARD


def test_regions_of_one_finding_are_told_apart_from_findings():
    assert region_count([{"finding": 1}, {"finding": 2}], "en") == "2 regions"
    assert region_count([{"finding": 1}], "zh") == "1 个区域"
    assert ">2 regions in 1 finding<" in region_count([{"finding": 1}, {"finding": 1}], "en")
    assert ">3 regions in 2 findings<" in region_count([{"finding": 1}, {"finding": 2}, {"finding": 1}], "en")


def test_a_mask_without_the_kind_that_was_asked_for_is_no_verdict_of_no_anomaly():
    facts = {"verdict": "other", "score": 0.4, "threshold": 0.5, "regions": []}
    reply = Reply("r", CARD, Request("segment only the scratch"), facts=facts)
    assert "Nothing of what you ask for" in badge(reply, "en") and "No anomaly" not in badge(reply, "en")
    assert "No anomaly" not in regions_table(reply, "en")


def test_of_a_heat_map_the_page_shows_no_mask_to_look_at_or_to_take():
    facts = {"verdict": "anomaly", "score": 0.9, "threshold": 0.5, "regions": [], "size_hw": [4, 6], "area_percent": 0}
    assets = {kind: f"{kind}.png" for kind in ("overlay", "heat", "mask", "map", "json")}
    reply = Reply("r", replace(CARD, heat_map_only=True), Request("segment"), facts=facts, assets=assets)
    shown = picture(reply, "photo.webp", "part", "en")
    assert 'data-view="heat"' in shown and "agv-layer-heat" in shown
    assert "agv-layer-mask" not in shown and "agv-layer-overlay" not in shown
    below = foot(reply, "part.png", False, "en")
    assert "region" not in badge(reply, "en") and "map.png" in below
    assert "mask.png" not in below and "Adjust mask" not in below


def test_a_score_just_below_the_threshold_is_borderline_and_told_apart_from_it():
    """A green "no anomaly found" once said "highest suspicion 0.50, below the threshold 0.50"."""
    said = {}
    for score in (0.4996, 0.46, 0.44, 0.5):
        facts = {"verdict": "normal", "score": score, "threshold": 0.5, "regions": [], "min_area_px": 0}
        reply = Reply("r", CARD, Request("segment"), facts=facts)
        said[score] = badge(reply, "en")
        assert ("borderline" in said[score]) == ("borderline" in plain_text(reply, "en")) == (score != 0.44)
    assert "0.499, below the threshold 0.500" in said[0.4996] and "agv-borderline" in said[0.4996]
    assert "0.46, below the threshold 0.50" in said[0.46] and "just at" in said[0.5]
    assert "No anomaly found" in said[0.44] and "agv-borderline" not in said[0.44]


def test_an_anomaly_says_under_which_threshold_when_it_is_not_the_pages_own():
    facts = {"verdict": "anomaly", "score": 0.9, "regions": [{"finding": 1}], "area_percent": 1.0}
    said = [badge(Reply("r", CARD, Request("segment"), facts=facts | {"threshold": t}), "en") for t in (0.5, 0.3)]
    assert "threshold" not in said[0] and "threshold 0.30" in said[1]


def test_every_bundled_engine_is_told_in_a_line_before_it_is_asked():
    for name in list_bundled_engines():
        assert all(f'title="{name}"' not in ask_other([name], lang) for lang in ("en", "zh")), name


def test_all_regions_up_to_the_tables_forty_can_be_opened():
    """Of 26 regions 18 were no more than a number."""
    region = {"kind": "", "kind_score": 0.0, "place": "top", "area_percent": 0.1, "box_xyxy": [1, 2, 3, 4]}
    for count, listed, beyond in ((8, 8, ""), (26, 26, "+18"), (50, 40, "The 10 smallest are in regions.json")):
        facts = {"regions": [region | {"index": n} for n in range(1, count + 1)]}
        shown = chips(Reply("r", CARD, Request("segment"), facts=facts), "en")
        assert shown.count('agv-chip"') == listed and beyond in shown and ("<details" in shown) == bool(beyond)

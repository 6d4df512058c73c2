"""The small pieces of a reply's card."""

from __future__ import annotations

from dataclasses import replace

from agvas_core.structures import Request
from demo.cards import foot, region_count, verdict
from demo.figure import picture
from demo.panel import regions_table
from demo.replies import Reply
from tests.fakes import CARD


def test_regions_of_one_finding_are_told_apart_from_findings():
    assert region_count([{"finding": 1}, {"finding": 2}], "en") == "2 regions"
    assert region_count([{"finding": 1}], "zh") == "1 个区域"
    assert ">2 regions in 1 finding<" in region_count([{"finding": 1}, {"finding": 1}], "en")
    assert ">3 regions in 2 findings<" in region_count([{"finding": 1}, {"finding": 2}, {"finding": 1}], "en")


def test_a_mask_without_the_kind_that_was_asked_for_is_no_verdict_of_no_anomaly():
    facts = {"verdict": "other", "score": 0.4, "threshold": 0.5, "regions": []}
    reply = Reply("r", CARD, Request("segment only the scratch"), facts=facts)
    assert "Nothing of what you ask for" in verdict(reply, "en") and "No anomaly" not in verdict(reply, "en")
    assert "No anomaly" not in regions_table(reply, "en")


def test_of_a_heat_map_the_page_shows_no_mask_to_look_at_or_to_take():
    facts = {"verdict": "anomaly", "score": 0.9, "threshold": 0.5, "regions": [], "size_hw": [4, 6], "area_percent": 0}
    assets = {kind: f"{kind}.png" for kind in ("overlay", "heat", "mask", "map", "json")}
    reply = Reply("r", replace(CARD, heat_map_only=True), Request("segment"), facts=facts, assets=assets)
    shown = picture(reply, "photo.webp", "part", "en")
    assert 'data-view="heat"' in shown and "agv-layer-heat" in shown
    assert "agv-layer-mask" not in shown and "agv-layer-overlay" not in shown
    assert "region" not in verdict(reply, "en") and "mask.png" not in foot(reply, "part.png", False, "en")

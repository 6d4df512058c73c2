"""The small pieces of a reply's card."""

from __future__ import annotations

from demo.cards import region_count


def test_regions_of_one_finding_are_told_apart_from_findings():
    assert region_count([{"finding": 1}, {"finding": 2}], "en") == "2 regions"
    assert region_count([{"finding": 1}], "zh") == "1 个区域"
    assert ">2 regions in 1 finding<" in region_count([{"finding": 1}, {"finding": 1}], "en")
    assert ">3 regions in 2 findings<" in region_count([{"finding": 1}, {"finding": 2}, {"finding": 1}], "en")

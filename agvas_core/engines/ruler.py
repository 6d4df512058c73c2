"""Ruler: how long and wide a mask's findings are, in px, and in mm where the user said what a pixel is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agvas_core.calipers import calipers
from agvas_core.engines.pointing import Finding, told_apart
from agvas_core.regions import region_labels
from agvas_core.scale import UNITS, Scale, unit_mm
from agvas_core.structures import InspectionImage, Prediction
from agvas_core.wording import at, capital, join, number, smaller_ones

NO_SCALE = (
    "I cannot say it in millimeters: a picture has no scale. Tell me one, such as "
    '"1 px is 0.05 mm" or "the image is 40 mm wide".'
)
NO_OBJECT = (
    "I see no single object before an even background, so its size sets no scale. Say how wide the image is instead, "
    'such as "the image is 40 mm wide".'
)
MOST_TOLD = 3

_LIMIT = re.compile(
    r"\b(?:(?P<below>(?:shorter|smaller|narrower|thinner|less) than|below|under|within|at most|(?:no|not) more than"
    r"|up to)|(?:(?:longer|larger|bigger|wider|broader|thicker|greater|more) than|above|over|at least|exceed\w*))"
    rf"\s+(?P<value>\d+(?:[.,]\d+)?)\s*(?P<square>(?:square|sq\.?)\s+)?(?P<unit>{UNITS})(?P<squared>²|\^?2\b|\s+squared)?"
)
_ASKS = re.compile(
    r"^(?:and |so |but |ok )*(?:is|are|does|do|which|what|any|how many|has|have)\b|\b(?:is|are) (?:it|they|that)\b"
)
_ACROSS = re.compile(r"\b(?:wider|broader|thicker|narrower|thinner|width|wide|across)\b")


class Ruler:
    """Measures the findings of one mask; scale: of its image, None where nobody said it."""

    def __init__(self, prediction: Prediction, scale: Scale | None = None) -> None:
        self.prediction, self.scale = prediction, scale

    @cached_property
    def _labels(self) -> NDArray[np.int64]:
        return region_labels(self.prediction.pred_mask)  # (H, W)

    def reach(self, finding: Finding) -> tuple[float, float]:
        """Return a finding's length and width, px; see calipers."""
        assert finding.box_xyxy is not None
        left, top, right, bottom = finding.box_xyxy
        return calipers(np.isin(self._labels[top:bottom, left:right], list(finding.numbers)))

    def told(self, finding: Finding) -> str:
        """Return "3.2 mm long, 0.4 mm wide, 1.1 mm²", in px where no scale is known."""
        length, width = self.reach(finding)
        if self.scale is None:
            return f"{length:,.0f} px long, {width:,.0f} px wide"
        area = self.scale.area(finding.area_px)
        return f"{self.scale.length(length)} long, {self.scale.length(width)} wide, {area}"

    def told_all(self, findings: Sequence[Finding]) -> str:
        """Return the largest findings' sizes as a sentence."""
        told = [f"{the(f)} is {self.told(f)}" for f in told_apart(findings)[:MOST_TOLD]]
        return f"{capital('; '.join([*told, *smaller_ones(len(findings) - MOST_TOLD)]))}."


def with_lengths(findings: Sequence[Finding], prediction: Prediction) -> list[Finding]:
    """Return a mask's findings with their lengths and widths measured."""
    ruler = Ruler(prediction)
    reaches = [ruler.reach(finding) for finding in findings]
    return [replace(f, length_px=length, width_px=width) for f, (length, width) in zip(findings, reaches, strict=True)]


def in_px(words: str, scale: Scale) -> str:
    """Return words with their limits in px: "larger than 2 mm" as "longer than 40 px", "above 1 mm²" as an area."""

    def written(limit: re.Match[str]) -> str:
        px, squared = _limit_px(limit, scale)
        way = ("smaller", "larger") if squared else ("shorter", "longer")
        if not squared and _ACROSS.search(limit[0]):
            way = ("narrower", "wider")
        return f"{way[not limit['below']]} than {px:.2f} px"

    return _LIMIT.sub(written, words.casefold())


def names_limit(words: str) -> bool:
    """Return whether words name a limit in millimeters or the like."""
    return bool(_LIMIT.search(words.casefold()))


def noted(scale: Scale, image: InspectionImage) -> str:
    """Return that a scale was understood, and what it makes of the image, so that a slip is seen."""
    height, width = image.size_hw
    size = f"{scale.length(width)} wide and {scale.length(height)} high"
    if scale.measured:
        return f"Noted: {scale.measured}. So 1 px is {scale.length(1)}, and this image is {size}."
    return f"Noted: 1 px is {scale.length(1)}, so this image is {size}."


def asks_limit(text: str) -> bool:
    """Return whether a question, in lower case, asks for sizes against a limit: "is it longer than 2 mm?"."""
    return bool(_LIMIT.search(text) and _ASKS.search(text))


def against_limit(text: str, findings: Sequence[Finding], ruler: Ruler) -> str:
    """Return which of the findings, largest first and one at least, keep the limit that a question names."""
    limit, scale = _LIMIT.search(text), ruler.scale
    assert limit is not None and findings
    if scale is None:
        return NO_SCALE
    limit_px, squared = _limit_px(limit, scale)
    across = bool(_ACROSS.search(text))
    sizes, told = [], []
    for finding in findings:
        if squared:
            sizes.append(float(finding.area_px))
            told.append(f"{the(finding)} covers {scale.area(sizes[-1])}")
        else:
            sizes.append(ruler.reach(finding)[across])
            told.append(f"{the(finding)} is {scale.length(sizes[-1])} {'wide' if across else 'long'}")
    hits = [i for i, size in enumerate(sizes) if (size < limit_px if limit["below"] else size > limit_px)]
    if len(findings) == 1:
        return f"{'Yes' if hits else 'No'}: {told[0]}."
    count = number(len(findings))
    if not hits:
        nearest = (min if limit["below"] else max)(range(len(sizes)), key=sizes.__getitem__)
        return f"None of the {count} findings: {told[nearest]}."
    more = [f"{number(len(hits) - MOST_TOLD)} more"] if len(hits) > MOST_TOLD else []
    those = f"{number(len(hits))} of the {count}"
    if len(hits) == len(findings):
        those = "both" if len(hits) == 2 else f"all {count}"
    return f"{those.capitalize()} findings: {join([*(told[i] for i in hits[:MOST_TOLD]), *more])}."


def _limit_px(limit: re.Match[str], scale: Scale) -> tuple[float, bool]:
    """Return a limit's length in px, or its area in px, and whether it is an area."""
    unit_px, squared = unit_mm(limit["unit"]) / scale.mm_per_px, bool(limit["square"] or limit["squared"])
    return float(limit["value"].replace(",", ".")) * (unit_px**2 if squared else unit_px), squared


def the(finding: Finding) -> str:
    """Return what a finding is called in a sentence: "the stain in the lower left", with its regions beside another."""
    numbers = sorted(finding.numbers)
    regions = f" (region{'s' if len(numbers) > 1 else ''} {join([str(n) for n in numbers])})" if finding.alike else ""
    return f"the {finding.noun} {at(finding.place)}{regions}"

"""What may stand behind an engine's name: ":rules", ":second-opinion". Importing this loads no model's code."""

from __future__ import annotations

import re

RULES = ":rules"
SECOND_OPINION = ":second-opinion"
EXPERT = "anomaly-ov-nano"  # whose second opinion it is, whoever answers
_NAME = re.compile(rf"(?P<engine>.+){SECOND_OPINION}(?:=(?P<floor>[^:]*))?")


def parse_second_opinion(name: str) -> tuple[str, float] | None:
    """Return the inner engine's name and the veto's floor, 0 for none; None when a name asks for no second opinion.

    Raises:
        ValueError: when the floor is no number from 0 to 1.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        floor = float("0" if match["floor"] is None else match["floor"])
    except ValueError:
        floor = -1.0
    if not 0 <= floor <= 1:
        raise ValueError(f"A second opinion's floor is a number from 0 to 1, as in {SECOND_OPINION}=0.3; got {name!r}.")
    return match["engine"], floor


def with_second_opinion(names: str) -> str:
    """Return "a,b" as "a:second-opinion,b:second-opinion"; a name that asks for one already stays as it is."""
    told = (name.strip() for name in names.split(",") if name.strip())
    return ",".join(name if SECOND_OPINION in name else name + SECOND_OPINION for name in told)

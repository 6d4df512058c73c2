"""Are the words right? Kind, place, count and verdict of a reply, compared with the facts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from agvas_core.claims import parse_reply
from agvas_core.synthesis.facts import SceneFacts

FACTS = ("normal", "kind", "place", "count")
# What a true answer to a family of questions (Exchange.kind) always says.
JUDGED: Mapping[str, tuple[str, ...]] = {
    "describe": FACTS, "describe_plus": FACTS, "explain": FACTS, "report": FACTS, "where": ("normal", "kind", "place"),
    "count": ("normal", "kind", "count"), "any": ("normal", "kind", "count"), "ok": ("normal", "kind", "count"),
    "what": ("normal", "kind", "count"),
}  # fmt: skip


def score_reply(reply: str, scene: SceneFacts, judged: Collection[str] = FACTS) -> dict[str, bool]:
    """Return which facts a reply about the whole image has right, of those that are judged (see JUDGED).

    "normal" (the verdict) always; for a scene with defects also "kind" and "place" (the largest defect's are named) and
    "count"; a fact that the reply leaves out is wrong.
    """
    facts = parse_reply(reply)
    if not scene.defects:
        return {"normal": facts.says_normal}
    largest = scene.defects[0]
    right = {
        "normal": not facts.says_normal,
        "kind": largest.kind in facts.kinds,
        "place": largest.place in facts.places,
        "count": facts.count == len(scene.defects),
    }
    return {name: value for name, value in right.items() if name in judged}


@dataclass(frozen=True)
class LanguageScore:
    """Scores of many replies added up.

    Attributes:
        right: per fact, replies that had it right.
        asked: per fact, replies that were judged on it.
    """

    right: Mapping[str, int] = field(default_factory=dict)
    asked: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, scores: Iterable[Mapping[str, bool]]) -> LanguageScore:
        """Add up what score_reply returned."""
        right: dict[str, int] = {}
        asked: dict[str, int] = {}
        for score in scores:
            for name, correct in score.items():
                right[name] = right.get(name, 0) + int(correct)
                asked[name] = asked.get(name, 0) + 1
        return cls(right, asked)

    def __add__(self, other: LanguageScore) -> LanguageScore:
        """Return both together."""
        names = dict.fromkeys((*self.asked, *other.asked))
        return LanguageScore(
            {n: self.right.get(n, 0) + other.right.get(n, 0) for n in names},
            {n: self.asked.get(n, 0) + other.asked.get(n, 0) for n in names},
        )

    def rates(self) -> dict[str, float]:
        """Return the share of right replies per fact, 0 to 1."""
        return {name: self.right.get(name, 0) / n for name, n in self.asked.items() if n}

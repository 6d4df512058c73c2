"""Words from facts: talks about one image, the questions in many forms, the answers short, regular and true."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from agvas_core.anchors import ANCHOR_TEXT
from agvas_core.kinds import kind_words
from agvas_core.prompts import DIRECT_ANSWER, ChatTurn, Exchange, exchange_turns, measured_line
from agvas_core.regions import PLACES, place_of
from agvas_core.synthesis.facts import DEFECT_KINDS, DefectFacts, SceneFacts
from agvas_core.synthesis.phrases import NORMAL_NUISANCES, REFERRING, SLIP_SHARE, expand, roughen
from agvas_core.synthesis.phrases import question as ask
from agvas_core.synthesis.sentences import (
    ABOUT_DEFECTS,
    SMALL_TALK,
    FiveFields,
    about_surface,
    after_mask,
    area_percent,
    expectation,
    fields,
    listed,
    look_of,
    normal_answer,
    normal_sentence,
    subject,
    summary,
    with_articles,
)
from agvas_core.wording import a, at, join

__all__ = ["FiveFields", "fields", "make_exchange", "measured_regions", "random_scene", "talk", "talk_turns"]

# --- exchanges -------------------------------------------------------------------------------------------------------


def _segmentation(kind: str, scene: SceneFacts, rng: random.Random, slip_share: float) -> Exchange:
    everything = tuple(range(len(scene.defects)))
    question = roughen(ask("describe" if kind == "describe_plus" else kind, rng), rng, slip_share)
    if kind == "direct":
        return Exchange(question, DIRECT_ANSWER, "direct", everything, kind)
    if kind == "describe":
        return Exchange(question, summary(scene, rng), "describe", everything, kind)
    if kind == "describe_plus":
        return Exchange(
            f"{normal_sentence(scene, rng)} {question}", summary(scene, rng), "describe_plus", everything, kind
        )
    return Exchange(question, f"{ANCHOR_TEXT} {after_mask(scene, everything, rng)}", "explain", everything, kind)


def _selected(scene: SceneFacts, rng: random.Random) -> tuple[str, tuple[int, ...], str]:
    """Return (question, target, what was asked for) of a referring request; the target may be empty."""
    defects = scene.defects
    options: list[tuple[str, tuple[int, ...], str, dict[str, str]]] = []

    def offer(family: str, target: Sequence[int], asked: str, **names: str) -> None:
        options.append((family, tuple(target), asked, names))

    for kind in dict.fromkeys(d.kind for d in defects):
        same = [i for i, d in enumerate(defects) if d.kind == kind]
        words = kind_words(kind)
        offer("kind", same, words.one, noun=words.one if len(same) == 1 else words.many, plain_place="")
        if len({defects[i].place for i in same}) == len(same):
            offer("kind", same[:1], words.one, noun=words.one, plain_place=at(defects[same[0]].place))
        if len(same) < len(defects):
            noun = words.one if len(same) == 1 else words.many
            offer("except", [i for i in range(len(defects)) if i not in same], "other defect", noun=noun)
    for place in dict.fromkeys(d.place for d in defects):
        offer("place", [i for i, d in enumerate(defects) if d.place == place], "defect", place=at(place))
    if len(defects) >= 2:
        for selector, i in _selectors(scene):
            offer("selector", [i], "defect", selector=selector)
    if not options or rng.random() < 0.25:  # something that is not there
        absent = rng.choice([k for k in DEFECT_KINDS if all(d.kind != k for d in defects)])
        free = [p for p in PLACES if all(d.place != p for d in defects)]
        words = kind_words(absent)
        options = [("kind", (), words.one, {"noun": rng.choice((words.one, words.many)), "plain_place": ""})]
        if free:
            place = rng.choice(free)
            options.append(("place", (), f"defect {at(place)}", {"place": at(place)}))
    family, target, asked, names = rng.choice(options)
    return expand(rng.choice(REFERRING[family]), rng, **names), target, asked


def _selectors(scene: SceneFacts) -> list[tuple[str, int]]:
    """Return the unambiguous ways to single out one of several defects: (word, index)."""
    found = []
    defects, (height, width) = scene.defects, scene.size_hw
    if defects[0].area_px >= 1.3 * defects[1].area_px:
        found += [("largest", 0), ("biggest", 0)]
    if defects[-2].area_px >= 1.3 * defects[-1].area_px:
        found.append(("smallest", len(defects) - 1))
    for axis, extent, low, high in ((1, width, "left", "right"), (0, height, "upper", "lower")):
        order = sorted(range(len(defects)), key=lambda i: defects[i].centroid_yx[axis])
        first, second, last, before = order[0], order[1], order[-1], order[-2]
        if defects[second].centroid_yx[axis] - defects[first].centroid_yx[axis] > 0.12 * extent:
            found.append((low, first))
        if defects[last].centroid_yx[axis] - defects[before].centroid_yx[axis] > 0.12 * extent:
            found.append((high, last))
    colors = Counter(d.color for d in defects)
    found += [
        (d.color, i)
        for i, d in enumerate(defects)
        if colors[d.color] == 1 and d.color != "mixed" and kind_words(d.kind).colored
    ]
    return found


def _refer(scene: SceneFacts, rng: random.Random, slip_share: float) -> Exchange:
    question, target, asked = _selected(scene, rng)
    question = roughen(question, rng, slip_share)
    if rng.random() < 0.3:  # the mode pinned to direct: a fixed answer, only the mask differs
        return Exchange(question, DIRECT_ANSWER, "direct", target, "refer")
    if target:
        opening = "(I marked|This is)" if len(target) == 1 else "I marked"
        text = expand(f"{opening} {{text}}.", rng, text=listed(scene, target))
    else:
        text = expand("(There is|I see) no {asked}, so (the mask is empty|nothing is marked).", rng, asked=asked)
    return Exchange(question, f"{ANCHOR_TEXT} {text}", "explain", target, "refer")


def _kind_there(scene: SceneFacts, rng: random.Random) -> tuple[str, str]:
    present = sorted({d.kind for d in scene.defects})
    kind = rng.choice(present) if present and rng.random() < 0.5 else rng.choice(DEFECT_KINDS)
    words = kind_words(kind)
    question = with_articles(ask("kind_there", rng, kind=words.one, kinds=words.many))
    found = [i for i, d in enumerate(scene.defects) if d.kind == kind]
    if found:
        spots = join([f"{a(words.one)} {at(scene.defects[i].place)}" for i in found])
        return question, f"Yes, there is {spots}."
    if scene.defects:
        return question, f"No, I see no {words.one}, but there is {listed(scene, [0])}."
    return question, f"No, I see no {words.one}. {subject(scene).capitalize()} looks normal."


def _place_there(scene: SceneFacts, rng: random.Random) -> tuple[str, str]:
    used = [d.place for d in scene.defects]
    place = rng.choice(used) if used and rng.random() < 0.5 else rng.choice(PLACES)
    question = ask("place_there", rng, place=at(place))
    found = [d for d in scene.defects if d.place == place]
    if found:
        return question, f"{at(place).capitalize()} I see {join([look_of(d, scene) for d in found])}."
    return question, expand(
        "(I see nothing unusual {at}.|{At} it looks normal.)", rng, at=at(place), At=at(place).capitalize()
    )


def _visible_nuisances(scene: SceneFacts) -> list[str]:
    names = (name.removeprefix("a ").removeprefix("an ") for name in scene.nuisances)
    return [name for name in names if name in NORMAL_NUISANCES]


# Weights of the exchanges; segmentation has about 45 in 100.
_SEGMENT_WEIGHTS = {"direct": 15.5, "describe": 12.5, "describe_plus": 5.5, "explain": 15.5, "refer": 13.5}
_CHAT_WEIGHTS = {
    "any": 5.0, "ok": 2.5, "verdict": 4.0, "what": 6.0, "where": 6.0, "count": 5.0, "count_size": 2.5, "size": 3.5,
    "scale": 1.5, "color": 2.5, "cause": 2.5, "severe": 3.0,
    "why": 3.0, "other": 2.0, "largest": 2.0, "expect": 2.5, "surface": 3.0, "report": 2.0,
    "kind_there": 3.0, "place_there": 3.0,
    "nuisance": 0.7, "define": 1.2, "advice": 1.0, "doubt": 1.2, "thanks": 1.5, "hello": 2.5, "self": 1.0,
    "offtopic": 4.5,
}  # fmt: skip
_FOLLOW_UP_ONLY = ("why", "other", "thanks", "doubt")
_OPENING_ONLY = ("hello",)


def make_exchange(
    kind: str, scene: SceneFacts, rng: random.Random, focus: int = 0, slip_share: float = SLIP_SHARE
) -> Exchange:
    """Return one exchange of a kind named in the weight tables; focus is the defect that "it" means."""
    if kind == "refer":
        return _refer(scene, rng, slip_share)
    if kind in _SEGMENT_WEIGHTS:
        return _segmentation(kind, scene, rng, slip_share)
    if kind == "kind_there":
        question, answer = _kind_there(scene, rng)
    elif kind == "place_there":
        question, answer = _place_there(scene, rng)
    elif kind == "define":
        defect = rng.choice([*(d.kind for d in scene.defects), rng.choice(DEFECT_KINDS)])
        words = kind_words(defect)
        question = with_articles(ask(kind, rng, kind=words.one, kinds=words.many))
        answer = f"{a(words.one).capitalize()} {words.why}. It may be caused by {rng.choice(words.causes)}."
    elif kind == "nuisance":
        name = rng.choice(_visible_nuisances(scene))
        question = ask(kind, rng, nuisance=name)
        answer = f"The {name} comes from {NORMAL_NUISANCES[name]} and is normal."
    else:
        question = ask(kind, rng)
        if kind in SMALL_TALK:
            answer = rng.choice(SMALL_TALK[kind])
        elif kind == "expect":
            answer = expectation(scene, rng)
        elif kind == "surface":
            answer = about_surface(scene, rng)
        elif kind == "report":
            answer = fields(scene, rng).report()
        elif scene.defects:
            answer = ABOUT_DEFECTS[kind](scene, focus, rng)
        else:
            answer = normal_answer(scene, rng)
    return Exchange(roughen(question, rng, slip_share), answer, "chat", None, kind)


def talk(
    scene: SceneFacts, rng: random.Random, turns: tuple[int, int] = (1, 4), slip_share: float = SLIP_SHARE
) -> list[Exchange]:
    """Return a talk about one image: turns[0] to turns[1] exchanges, no kind twice; slip_share of them mistyped."""
    weights = {**_SEGMENT_WEIGHTS, **_CHAT_WEIGHTS}
    if not _visible_nuisances(scene):
        del weights["nuisance"]
    done: list[Exchange] = []
    focus = 0
    for n in range(rng.randint(*turns)):
        shown = any(e.target is not None for e in done)  # "why?" asks about a mask; before one it asks for a mask
        blocked = _FOLLOW_UP_ONLY if n == 0 else _OPENING_ONLY if shown else (*_OPENING_ONLY, "why")
        names = [k for k in weights if k not in blocked]
        kind = rng.choices(names, [weights[k] for k in names])[0]
        del weights[kind]
        exchange = make_exchange(kind, scene, rng, focus, slip_share)
        while shown and exchange.mode == "explain" and "why is" in exchange.instruction.lower():
            exchange = make_exchange(kind, scene, rng, focus, slip_share)
        if exchange.kind == "refer" and exchange.target and len(exchange.target) == 1:
            focus = exchange.target[0]
        done.append(exchange)
    return done


def measured_regions(scene: SceneFacts, target: Sequence[int] | None = None) -> list[tuple[str, float]]:
    """Return (place, area in per cent) of the target's defects, or of all, for prompts.measured_line."""
    chosen = scene.defects if target is None else [scene.defects[i] for i in target]
    return [(d.place, area_percent(d, scene)) for d in chosen]


def measured_kinds(scene: SceneFacts, target: Sequence[int] | None = None) -> list[str]:
    """Return the kinds of the target's defects, or of all, for prompts.measured_line."""
    return [d.kind for d in scene.defects] if target is None else [scene.defects[i].kind for i in target]


def talk_turns(scene: SceneFacts, exchanges: Sequence[Exchange]) -> list[ChatTurn]:
    """Return chat turns with true measured lines: of what is shown after anchors, of all defects elsewhere."""
    turns: list[ChatTurn] = []
    for exchange in exchanges:
        shown = exchange.target if exchange.mode == "explain" else None
        line = measured_line(measured_regions(scene, shown), kinds=measured_kinds(scene, shown))
        turns += exchange_turns(exchange, line)
    return turns


# --- made-up scenes --------------------------------------------------------------------------------------------------

ALIKE_SHARE = 0.5  # of the further defects are of the kind of one before

_SURFACES = (
    "stone", "brushed metal", "cast metal", "rolled steel", "machined metal", "wood", "marble", "terrazzo", "concrete",
    "asphalt", "leather", "paper", "cardboard", "tissue", "plastic", "rubber", "painted metal", "glass", "carpet",
    "biscuit", "bread", "cork", "plaster", "woven fabric", "knitted fabric", "metal grid", "wire mesh", "dot plate",
    "perforated sheet", "checker plate", "ceramic tile", "brick", "printed circuit", "corrugated sheet", "striped film",
    "textured", "gravel", "tiled",
)  # fmt: skip
_OBJECTS = (
    "washer", "hex nut", "bolt head", "screw", "gear", "capsule", "tablet", "bottle mouth", "carton", "biscuit",
    "blister tray", "leaf", "connector", "cable end", "nut kernel", "plate", "part",
)  # fmt: skip
_COLORS = (
    "dark",
    "bright",
    "black",
    "white",
    "gray",
    "brown",
    "reddish",
    "yellowish",
    "greenish",
    "bluish",
    "purplish",
    "mixed",
)
_SHAPES = ("thin", "curved", "round", "irregular", "elongated", "branching", "scattered")


def random_scene(rng: random.Random, normal_share: float = 0.4, size_px: int = 256) -> SceneFacts:
    """Return made-up facts without an image: masks of photographs show more findings than synthesis plants."""
    defects: list[DefectFacts] = []
    count = rng.choices(range(1, 11), (36, 22, 13, 8, 6, 5, 4, 3, 2, 1))[0]
    for _ in range(0 if rng.random() < normal_share else count):
        side = max(3, int(size_px * 10 ** rng.uniform(-1.6, -0.45)))
        top, left = rng.randrange(size_px - side), rng.randrange(size_px - side)
        y, x = top + side / 2, left + side / 2
        area_px = max(6, int(side * side * rng.uniform(0.1, 0.9)))
        alike = defects and rng.random() < ALIKE_SHARE  # so that "two burns and three cracks" is learned, too
        kind = rng.choice(defects).kind if alike else rng.choice(DEFECT_KINDS)
        color, shape = rng.choice(_COLORS), rng.choice(_SHAPES)
        box = (left, top, left + side, top + side)
        defects.append(
            DefectFacts(
                kind, color, shape, area_px, box, (y, x), place_of(y, x, size_px, size_px), rng.uniform(0.05, 0.6)
            )
        )
    defects.sort(key=lambda d: -d.area_px)
    nuisances = tuple(
        rng.sample(("a shadow", "a vignette", "uneven light", "a seam", "sensor noise", "lettering"), rng.randint(0, 2))
    )
    name = rng.choice(_OBJECTS) if rng.random() < 0.4 else None
    return SceneFacts(rng.choice(_SURFACES), name, nuisances, tuple(defects), (size_px, size_px))

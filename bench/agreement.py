"""Do the words agree with the reply's own mask on photographs? Verdict, kind, place and count of "explain" against it.

`python bench/agreement.py [--data ROOT] [--limit 10] [--mode explain]` prints a table and writes
bench/results/agreement.json, with every reply that contradicts its mask. With `--questions` the questions of a chat
are asked, too, twice: with words as the language model says them, and held to the mask as they are shown. Whether mask
and words are true is another question: `agvas evaluate` and `agvas evaluate-synthesis`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from quality_parts.options import about, parser_of, shown, start, write

from agvas_core import Request
from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.ask import Reply, ask
from agvas_core.engines.held_words import Finding, HeldWords
from agvas_core.evaluation.held_out import score_agreement
from agvas_core.evaluation.items import folder_items, synthetic_items
from agvas_core.evaluation.language import FACTS, LanguageScore
from agvas_core.findings import measure
from agvas_core.prompts import MAX_MEASURED_REGIONS
from agvas_core.structures import InspectionImage, Prediction

KEPT = 40  # contradictions that are written down
QUESTIONS = (
    "Is there a defect?",
    "What kind of defect is it and where?",
    "How many defects are there?",
    "How big is it?",
    "Is there a scratch?",
    "What is in the lower left corner?",
    "What may have caused it?",
    "Can I ship this part?",
)


def main(arguments: list[str] | None = None) -> dict:
    """Measure and print."""
    parser = parser_of(__doc__, limit=10, synthesis=0)
    parser.add_argument("--mode", default="explain", choices=("explain", "describe"))
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--questions", action="store_true", help="the questions of a chat, too (AG-VAS engines)")
    options = parser.parse_args(arguments)
    if options.data is None and not options.synthesis:
        parser.error("there are no images: give --data ROOT or --synthesis N")
    engine = start(options)
    photographs = folder_items(options.data, options.limit) if options.data is not None else ()
    if options.questions and not isinstance(engine, AGVASEngine):
        parser.error("only an AG-VAS engine holds its words to the mask")
    scores: dict[str, list[dict[str, bool]]] = {}
    answers: dict[str, list[tuple[bool, bool]]] = {}
    contradictions = []
    for item in shown(chain(synthetic_items(options.synthesis), photographs), "replies"):
        reply = ask(engine, item.image, Request("", mode=options.mode, threshold=options.threshold))
        if reply.prediction is None:
            raise SystemExit(f"{engine.card.name} gave no mask for {item.name}: {' '.join(reply.notices)}")
        score = score_agreement(reply.text, reply.prediction, FACTS)
        scores.setdefault(item.category, []).append(score)
        if not all(score.values()):
            contradictions.append({"image": f"{item.category}/{item.name}", **contradiction(reply, score)})
        if options.questions:
            assert isinstance(engine, AGVASEngine)
            seen = ask(engine, item.image, Request("", mode="direct", threshold=options.threshold)).prediction
            assert seen is not None  # what a chat speaks of before a mask is shown
            for question, agreed in answers_agree(engine, item.image, seen).items():
                answers.setdefault(question, []).append(agreed)
    table = agreement_table(scores)
    print(table)
    values = {
        "about": about(engine, options),
        "agreement": {name: rates(rows) for name, rows in scores.items()},
        "all": rates(list(chain.from_iterable(scores.values()))),
        "contradictions": contradictions[:KEPT],
        "questions": {question: shares(rows) for question, rows in answers.items()},
    }
    if answers:
        print(f"\n{questions_table(answers)}")
    for found in contradictions[:3]:
        print(f"\n{found['image']}: wrong {', '.join(found['wrong'])}; mask: {found['mask']}\n  {found['said']}")
    print(f"\nNumbers: {write(values, options, 'agreement')}")
    return values


def answers_agree(engine: AGVASEngine, image: InspectionImage, mask: Prediction) -> dict[str, tuple[bool, bool]]:
    """Return of every question whether its answer agrees with a mask: as the model says it, and as it is shown."""
    kind_of = {region.finding: region.kind for region in mask.regions}
    findings = [
        Finding(kind_of.get(n, "") if n <= MAX_MEASURED_REGIONS else "", place, area)
        for n, (place, area) in enumerate(measure(mask).spots, 1)
    ]
    out = {}
    for question in QUESTIONS:
        agreed = []
        for engine.hold_words in (False, True):
            words = HeldWords(question, findings)
            words.push(ask(engine, image, Request(question, mode="chat", threshold=mask.threshold)).text)
            words.finish()
            agreed.append(not words.changed)
        out[question] = (agreed[0], agreed[1])
    return out


def shares(rows: list[tuple[bool, bool]]) -> dict[str, float]:
    """Return the shares of answers that agree."""
    return {name: sum(row[n] for row in rows) / len(rows) for n, name in enumerate(("as said", "as shown"))}


def questions_table(answers: dict[str, list[tuple[bool, bool]]]) -> str:
    """Return one row a question and one for all of them, markdown, in per cent."""
    lines = ["| answers that agree with the mask, % | as the model says it | as it is shown |", "|---|---:|---:|"]
    for question, rows in (*answers.items(), ("**all**", list(chain.from_iterable(answers.values())))):
        lines.append(f"| {question} | " + " | ".join(f"{100 * share:.1f}" for share in shares(rows).values()) + " |")
    return "\n".join(lines)


def contradiction(reply: Reply, score: dict[str, bool]) -> dict:
    """Return what was said and what the mask shows."""
    assert reply.prediction is not None
    shows = [f"{r.kind} {r.place} {r.area_percent:.2f} %".strip() for r in reply.prediction.regions[:5]]
    return {"wrong": [name for name, right in score.items() if not right], "said": reply.text, "mask": shows}


def rates(scores: Iterable[dict[str, bool]]) -> dict[str, float]:
    """Return the share of replies that agree in each fact, and in all that were judged ("everything")."""
    rows = list(scores)
    whole = {"everything": sum(all(row.values()) for row in rows) / len(rows)}
    return LanguageScore.of(rows).rates() | whole


def agreement_table(scores: dict[str, list[dict[str, bool]]]) -> str:
    """Return one row a category and one for all of them, markdown, in per cent."""
    heads = (*FACTS, "everything")
    lines = [f"| agrees with its own mask, % | replies | with a mask | {' | '.join(heads)} |", "|---|" + "---:|" * 7]
    everything = list(chain.from_iterable(scores.values()))
    for name, rows in (*scores.items(), ("**all**", everything)):
        share = rates(rows)
        cells = [f"{100 * share[head]:.1f}" if head in share else "-" for head in heads]
        lines.append(f"| {name} | {len(rows)} | {sum('place' in row for row in rows)} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""Do the words agree with the reply's own mask on photographs? Verdict, kind, place and count of "explain" against it.

`python bench/agreement.py [--data ROOT] [--limit 10] [--mode explain]` prints a table and writes
bench/results/agreement.json, with every reply that contradicts its mask. Whether mask and words are true is another
question: `agvas evaluate` and `agvas evaluate-synthesis`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from quality_parts.options import about, parser_of, shown, start, write

from agvas_core import Request
from agvas_core.engines.ask import Reply, ask
from agvas_core.evaluation.held_out import score_agreement
from agvas_core.evaluation.items import folder_items, synthetic_items
from agvas_core.evaluation.language import FACTS, LanguageScore

KEPT = 40  # contradictions that are written down


def main(arguments: list[str] | None = None) -> dict:
    """Measure and print."""
    parser = parser_of(__doc__, limit=10, synthesis=0)
    parser.add_argument("--mode", default="explain", choices=("explain", "describe"))
    parser.add_argument("--threshold", type=float, default=0.5)
    options = parser.parse_args(arguments)
    if options.data is None and not options.synthesis:
        parser.error("there are no images: give --data ROOT or --synthesis N")
    engine = start(options)
    photographs = folder_items(options.data, options.limit) if options.data is not None else ()
    scores: dict[str, list[dict[str, bool]]] = {}
    contradictions = []
    for item in shown(chain(synthetic_items(options.synthesis), photographs), "replies"):
        reply = ask(engine, item.image, Request("", mode=options.mode, threshold=options.threshold))
        if reply.prediction is None:
            raise SystemExit(f"{engine.card.name} gave no mask for {item.name}: {' '.join(reply.notices)}")
        score = score_agreement(reply.text, reply.prediction, FACTS)
        scores.setdefault(item.category, []).append(score)
        if not all(score.values()):
            contradictions.append({"image": f"{item.category}/{item.name}", **contradiction(reply, score)})
    table = agreement_table(scores)
    print(table)
    values = {
        "about": about(engine, options),
        "agreement": {name: rates(rows) for name, rows in scores.items()},
        "all": rates(list(chain.from_iterable(scores.values()))),
        "contradictions": contradictions[:KEPT],
    }
    for found in contradictions[:3]:
        print(f"\n{found['image']}: wrong {', '.join(found['wrong'])}; mask: {found['mask']}\n  {found['said']}")
    print(f"\nNumbers: {write(values, options, 'agreement')}")
    return values


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

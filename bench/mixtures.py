"""How much photographs give the masks: the same weights learn on with them, without some, and without any.

`python bench/mixtures.py --textures DIR --real DIR [--data ROOT]` runs the dense stage of every row (resumable, in
runs/mixtures) and prints a table of held-out synthesis and of photographs. All begin where both were in the mixture,
so a row says what leaving something out takes, not what a model has that never saw it.
"""

from __future__ import annotations

from quality_parts.learning import Way, compare, options_of

WITHOUT: dict[str, dict[str, None]] = {
    "both": {},
    "no photographed surfaces": {"textures": None},
    "no labelled defects": {"real": None},
    "synthesis alone": {"textures": None, "real": None},
}


def main(arguments: list[str] | None = None) -> dict:
    """Train, measure and print."""
    options = options_of(__doc__, arguments, run_dir="runs/mixtures", lr=1.5e-4)
    if options.textures is None or options.real is None:
        raise SystemExit("--textures and --real are what this compares: give both folders.")
    return compare(options, {name: Way(source=changes) for name, changes in WITHOUT.items()}, "mixtures")


if __name__ == "__main__":
    main()

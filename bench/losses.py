"""Which losses teach the masks best: each learns on from the same weights with the same images, and is measured.

`python bench/losses.py --textures DIR --real DIR [--data ROOT]` runs the dense stage of every row
(resumable, in runs/losses) and prints a table of held-out synthesis and of photographs.
"""

from __future__ import annotations

from dataclasses import replace

from quality_parts.learning import SAM, Way, compare, options_of

from agvas_core.training.losses import SegLossWeights

OURS = SegLossWeights(bce=1.0, dice=1.5)
LOSSES: dict[str, SegLossWeights] = {
    "ours": OURS,
    "ours, nothing for the hardest pixels": replace(OURS, hard_bce=0.0),
    "ours, Dice on normal images, too": replace(OURS, dice_on_empty=True),
    "ours, no deep supervision": replace(OURS, side=0.0),
    "paper: BCE 0.5, Dice 2": SegLossWeights(hard_bce=0.0),
    "LISA: BCE 2, Dice 0.5": SegLossWeights(bce=2.0, dice=0.5, hard_bce=0.0),
    "SAM: focal 20, Dice 1": SAM,
    "SAM's, no deep supervision": replace(SAM, side=0.0),
}


def main(arguments: list[str] | None = None) -> dict:
    """Train, measure and print."""
    options = options_of(__doc__, arguments, run_dir="runs/losses", lr=4e-4)
    return compare(options, {name: Way(losses) for name, losses in LOSSES.items()}, "losses")


if __name__ == "__main__":
    main()

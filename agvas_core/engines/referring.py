"""Words that ask for a part of what is wrong ("only the scratch"), and masks that show all of it all the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agvas_core.engines.names import RULES
from agvas_core.prompts import singles_out
from agvas_core.structures import Prediction

ALL_SHOWN = "Your words ask for a part, but the mask shows everything that was found: it could not be singled out."
SAME_IOU = 0.95  # masks that share so much of their union show the same


def not_singled_out(
    instruction: str, prediction: Prediction, everything: Callable[[], Prediction], engine_id: str
) -> str | None:
    """Return a sentence, ALL_SHOWN first, when the mask shows everything though the words ask for a part, else None.

    Args:
        instruction: the user's own words.
        prediction: the mask that answers them.
        everything: returns what the engine marks when it is asked for all anomalies; called only when it is needed.
        engine_id: who answered.
    """
    if len(prediction.regions) < 2 or not singles_out(instruction):
        return None
    if not _same(prediction.pred_mask, everything().pred_mask):
        return None
    return f"{ALL_SHOWN} The engine {engine_id}{RULES} keeps regions by place, size or number as you say."


def _same(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    union = np.count_nonzero(one | other)
    return bool(union > 0 and np.count_nonzero(one & other) >= SAME_IOU * union)

"""How well two texts belong together: one logit a pair, or the probability of the last of two labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidArgument


def check_pair_labels(kind: str, labels: Sequence[str]) -> None:
    """No labels (one logit), or two, of which the second says that the texts belong together."""
    if len(labels) not in (0, 2):
        raise InvalidArgument(f"kind {kind} has no labels, or two; not {list(labels)}", field="labels")


def fit(logits: NDArray[np.float32]) -> float:
    """Log-odds that the pair belongs together, of (1,) or (2,) logits."""
    return float(logits[0] if len(logits) == 1 else logits[1] - logits[0])

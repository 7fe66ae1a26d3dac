"""Answer selection: which of several candidates answers a question."""

from collections.abc import Iterator, Sequence
from hashlib import sha256

import numpy as np

from shared.modeling.kinds.base import Row
from shared.modeling.kinds.pairs import Choice, CrossEncoder

TRAINED_CANDIDATES = 16
"""Of a row with more, so many are trained on: the right one and others chosen by their hashes; all are judged."""


class AnswerSelection(CrossEncoder):
    """Rows have `question`, `candidates` and `answer`, the right one's place. The best fitting candidate is the
    answer."""

    name = "answer_selection"
    columns = ("question", "candidates", "answer")
    metrics = ("loss", "accuracy", "mrr")
    first = "accuracy"

    def choices(self, rows: Sequence[Row]) -> Iterator[Choice]:
        for row in rows:
            right = row["candidates"][row["answer"]]
            wrong = [candidate for candidate in row["candidates"] if candidate != right]
            if len(wrong) >= TRAINED_CANDIDATES:
                wrong = sorted(wrong, key=lambda text: sha256(text.encode()).digest())[: TRAINED_CANDIDATES - 1]
            yield Choice(row["row_id"], row["question"], right, wrong)


def shares(fits: Sequence[float]) -> list[float]:
    """Probabilities that sum to 1 over the candidates of one question, of their log-odds."""
    weights = np.exp(np.asarray(fits, dtype=np.float64) - max(fits))
    found: list[float] = (weights / weights.sum()).tolist()
    return found

"""Answer selection: which of several candidates answers a question."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from shared.modeling.kinds.base import ServedKind
from shared.modeling.kinds.heads import load_with_head
from shared.modeling.kinds.pairs import check_pair_labels


class AnswerSelection(ServedKind):
    """A cross-encoder over question and candidate; the best fitting candidate is the answer."""

    name = "answer_selection"

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        check_pair_labels(self.name, labels)
        options = {"num_labels": len(labels) or 1}
        return load_with_head(AutoModelForSequenceClassification, folder, self.name, options)


def shares(fits: Sequence[float]) -> list[float]:
    """Probabilities that sum to 1 over the candidates of one question, of their log-odds."""
    weights = np.exp(np.asarray(fits, dtype=np.float64) - max(fits))
    found: list[float] = (weights / weights.sum()).tolist()
    return found

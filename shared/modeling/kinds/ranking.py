"""Ranking: how well texts fit a query, by a cross-encoder."""

from pathlib import Path

from transformers import AutoModelForSequenceClassification, PreTrainedModel

from shared.modeling.kinds.base import ServedKind
from shared.modeling.kinds.heads import load_with_head
from shared.modeling.kinds.pairs import check_pair_labels


class Ranking(ServedKind):
    """One logit a pair of query and text (Nogueira and Cho 2019); higher fits better."""

    name = "ranking"

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        check_pair_labels(self.name, labels)
        options = {"num_labels": len(labels) or 1}
        return load_with_head(AutoModelForSequenceClassification, folder, self.name, options)

"""Judging classifications: accuracy, F1, loss; per class and as a confusion matrix."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from services.evaluation.bootstrap import mcnemar
from services.evaluation.frozen import Row
from services.evaluation.kinds.base import JudgedKind, Outputs, Step
from services.evaluation.statistics import Measure, f1, mean
from shared.modeling.loading import LoadedModel
from shared.modeling.predict import classify

ROWS_AT_ONCE = 256
LEAST_PROBABILITY = 1e-9
"""Taken for the truth where the model gave it none, so that one row can't make the loss infinite."""


class JudgedClassification(JudgedKind):
    """Outputs: `guess` (a label), `loss` (nats) and `labels` (those that the model knows, once)."""

    name = "classification"
    half_precision = False

    @property
    def outputs_format(self) -> str:
        return "classification/1"

    def work(self, rows: Sequence[Row]) -> int:
        return len(rows)

    def predict(self, loaded: LoadedModel, rows: Sequence[Row], step: Step) -> Outputs:
        labels = list(loaded.card.labels)
        guesses, losses = [], []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            chunk = rows[start : start + ROWS_AT_ONCE]
            for row, chances in zip(chunk, classify(loaded, [row["text"] for row in chunk]), strict=True):
                guesses.append(labels[max(range(len(labels)), key=chances.__getitem__)])
                losses.append(_loss(dict(zip(labels, chances, strict=True)).get(row["label"], 0.0)))
            step(len(chunk))
        return {"guess": guesses, "loss": losses, "labels": labels}

    def measures(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, Measure]:
        truth, guesses = _truth(rows), outputs["guess"]
        return {
            "accuracy": mean([float(right) for right in _right(rows, outputs)]),
            "macro_f1": f1(truth, guesses, weighted=False),
            "micro_f1": mean([float(right) for right in _right(rows, outputs)]),
            "weighted_f1": f1(truth, guesses, weighted=True),
            "loss": mean(outputs["loss"]),
        }

    def detail(self, rows: Sequence[Row], outputs: Mapping[str, Outputs]) -> dict[str, Any]:
        truth, guesses = _truth(rows), outputs["candidate"]["guess"]
        classes = sorted({*truth, *outputs["candidate"]["labels"]})
        label, count = Counter(truth).most_common(1)[0]
        detail: dict[str, Any] = {
            "per_class": _per_class(truth, guesses, classes),
            "confusion": {
                "labels": classes,
                "matrix": confusion_matrix(truth, guesses, labels=classes).tolist(),
            },
            "majority": {"label": label, "accuracy": count / len(rows)},
        }
        if "champion" in outputs:
            detail["champion_per_class"] = _per_class(truth, outputs["champion"]["guess"], classes)
            detail["mcnemar"] = mcnemar(_right(rows, outputs["candidate"]), _right(rows, outputs["champion"]))
        return detail

    def unknown_classes(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, int]:
        known = set(outputs["labels"])
        return dict(sorted(Counter(label for label in _truth(rows) if label not in known).items()))


def _truth(rows: Sequence[Row]) -> list[str]:
    return [row["label"] for row in rows]


def _right(rows: Sequence[Row], outputs: Outputs) -> list[bool]:
    return [row["label"] == guess for row, guess in zip(rows, outputs["guess"], strict=True)]


def _loss(probability: float) -> float:
    # max() would let a NaN pass for certainty or not, by the order of its arguments.
    return math.nan if math.isnan(probability) else -math.log(max(probability, LEAST_PROBABILITY))


def _per_class(truth: Sequence[str], guesses: Sequence[str], classes: Sequence[str]) -> dict[str, dict[str, float]]:
    columns = precision_recall_fscore_support(truth, guesses, labels=classes, zero_division=0.0)
    return {
        label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for label, p, r, f, n in zip(classes, *columns, strict=True)
    }

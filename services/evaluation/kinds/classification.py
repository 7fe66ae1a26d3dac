"""Judging classifications: accuracy, F1, loss; per label, and as a confusion matrix where a text has one label."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from sklearn.preprocessing import MultiLabelBinarizer

from services.evaluation.bootstrap import mcnemar
from services.evaluation.frozen import Row
from services.evaluation.kinds.base import JudgedKind, Outputs, Step
from services.evaluation.kinds.showing import Cell, samples, table, telling
from services.evaluation.statistics import Measure, mean, set_f1, surprise
from shared.modeling.kinds.classification import input_of, labels_of
from shared.modeling.loading import LoadedModel
from shared.modeling.predict import classify

ROWS_AT_ONCE = 256
Labels = frozenset[str]


class JudgedClassification(JudgedKind):
    """Outputs: `guess` (a label; with multi_label a list), `loss` (nats) and `labels` (those that the model knows,
    once). A set of labels is right when it is the whole truth."""

    name = "classification"
    half_precision = False

    @property
    def outputs_format(self) -> str:
        return f"classification/1 threshold={self.options.threshold}" if self._several else "classification/1"

    def work(self, rows: Sequence[Row]) -> int:
        return len(rows)

    def predict(self, loaded: LoadedModel, rows: Sequence[Row], step: Step) -> Outputs:
        labels = list(loaded.card.labels)
        guesses: list[Any] = []
        losses = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            chunk = rows[start : start + ROWS_AT_ONCE]
            for row, found in zip(chunk, classify(loaded, [input_of(row) for row in chunk]), strict=True):
                chances = dict(zip(labels, found, strict=True))
                guesses.append(self._guess(chances))
                losses.append(self._loss(chances, labels_of(row)))
            step(len(chunk))
        return {"guess": guesses, "loss": losses, "labels": labels}

    def measures(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, Measure]:
        truth, guesses = _truth(rows), _guesses(outputs)
        return {
            "accuracy": mean([float(right) for right in _right(rows, outputs)]),
            "macro_f1": set_f1(truth, guesses, "macro"),
            "micro_f1": set_f1(truth, guesses, "micro"),
            "weighted_f1": set_f1(truth, guesses, "weighted"),
            "loss": mean(outputs["loss"]),
        }

    def detail(self, rows: Sequence[Row], outputs: Mapping[str, Outputs]) -> dict[str, Any]:
        truth, guesses = _truth(rows), {role: _guesses(given) for role, given in outputs.items()}
        classes = sorted({label for labels in truth for label in labels} | set(outputs["candidate"]["labels"]))
        common, count = Counter(truth).most_common(1)[0]
        per_class = {role: _per_class(truth, guesses[role], classes) for role in guesses}
        right = {role: _right(rows, given) for role, given in outputs.items()}
        detail: dict[str, Any] = {
            "per_class": per_class["candidate"],
            "majority": {"label": _words(common), "accuracy": count / len(rows)},
            "tables": [_label_table(per_class)],
            "samples": samples(
                rows,
                telling(right["candidate"], right.get("champion")),
                _inputs,
                lambda row: _words(frozenset(labels_of(row))),
                {role: [_words(guess) for guess in given] for role, given in guesses.items()},
            ),
        }
        if not self._several:
            single = [_words(labels) for labels in truth], [_words(labels) for labels in guesses["candidate"]]
            detail["confusion"] = {"labels": classes, "matrix": confusion_matrix(*single, labels=classes).tolist()}
        if "champion" in outputs:
            detail["champion_per_class"] = per_class["champion"]
            detail["mcnemar"] = mcnemar(right["candidate"], right["champion"])
        return detail

    def unknown_classes(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, int]:
        known = set(outputs["labels"])
        unknown = Counter(label for labels in _truth(rows) for label in labels if label not in known)
        return dict(sorted(unknown.items()))

    @property
    def _several(self) -> bool:
        return self.options.multi_label

    def _guess(self, chances: Mapping[str, float]) -> str | list[str]:
        if self._several:
            return sorted(label for label, chance in chances.items() if chance >= self.options.threshold)
        return max(chances, key=chances.__getitem__)

    def _loss(self, chances: Mapping[str, float], truth: Sequence[str]) -> float:
        """Of one label, or summed over all labels that the model or the row has."""
        loss = sum(surprise(chances.get(label, 0.0)) for label in truth)
        if self._several:
            loss += sum(surprise(1 - chance) for label, chance in chances.items() if label not in truth)
        return loss


def _truth(rows: Sequence[Row]) -> list[Labels]:
    return [frozenset(labels_of(row)) for row in rows]


def _guesses(outputs: Outputs) -> list[Labels]:
    return [frozenset([guess] if isinstance(guess, str) else guess) for guess in outputs["guess"]]


def _right(rows: Sequence[Row], outputs: Outputs) -> list[bool]:
    return [truth == guess for truth, guess in zip(_truth(rows), _guesses(outputs), strict=True)]


def _words(labels: Labels) -> str:
    return ", ".join(sorted(labels)) or "(none)"


def _inputs(row: Row) -> dict[str, str]:
    pair = row.get("text_pair")
    return {"text": row["text"], **({"text_pair": pair} if pair is not None else {})}


def _per_class(
    truth: Sequence[Labels], guesses: Sequence[Labels], classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    known = set(classes)
    binary = MultiLabelBinarizer(classes=classes).fit([])
    columns = precision_recall_fscore_support(
        binary.transform(truth), binary.transform([guess & known for guess in guesses]), zero_division=0.0
    )
    return {
        label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for label, p, r, f, n in zip(classes, *columns, strict=True)
    }


def _label_table(per_class: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """The commonest labels first."""
    candidate, champion = per_class["candidate"], per_class.get("champion")
    columns = ["label", "rows", "precision", "recall", "F1", *(["champion's F1"] if champion else [])]
    lines: list[list[Cell]] = []
    for label, one in sorted(candidate.items(), key=lambda item: (-item[1]["support"], item[0])):
        line: list[Cell] = [label, int(one["support"]), one["precision"], one["recall"], one["f1"]]
        lines.append([*line, champion[label]["f1"]] if champion else line)
    return table("Labels", columns, lines)

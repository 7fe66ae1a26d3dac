"""Judging relations, as SemEval-2010 task 8 does: macro F1 with direction, without the relation that is none."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.metrics import confusion_matrix

from services.evaluation.bootstrap import mcnemar
from services.evaluation.frozen import Row
from services.evaluation.kinds.base import JudgedKind, Outputs, Step
from services.evaluation.kinds.showing import samples, table, telling
from services.evaluation.statistics import Measure, Table, divide, mean, surprise
from shared.modeling.kinds.base import Example, length_limit
from shared.modeling.kinds.classification import logits_of
from shared.modeling.kinds.markers import UNRELATED, mark, merge_directions
from shared.modeling.kinds.relation_extraction import RelationExtraction, encode_marked
from shared.modeling.kinds.windows import plain_tokenizer
from shared.modeling.loading import LoadedModel

ROWS_AT_ONCE = 256
BATCH = 32
SIGNATURE = (
    "SemEval-2010 task 8, (9+1)-way with directionality: mean F1 of the relations in the test rows but "
    "Other (or no_relation and the like); the right relation in the wrong direction is a miss and a false alarm"
)


class JudgedRelationExtraction(JudgedKind):
    """Outputs: `guess` (a label), `loss` (nats) and `labels` (those that the model knows, once)."""

    name = "relation_extraction"
    half_precision = False

    @property
    def outputs_format(self) -> str:
        return "relation_extraction/1"

    def work(self, rows: Sequence[Row]) -> int:
        return len(rows)

    def predict(self, loaded: LoadedModel, rows: Sequence[Row], step: Step) -> Outputs:
        labels = list(loaded.card.labels)
        guesses, losses = [], []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            chunk = rows[start : start + ROWS_AT_ONCE]
            for row, chances in zip(chunk, _chances(loaded, chunk), strict=True):
                guesses.append(labels[int(np.argmax(chances))])
                losses.append(surprise(chances[labels.index(row["label"])] if row["label"] in labels else 0.0))
            step(len(chunk))
        return {"guess": guesses, "loss": losses, "labels": labels}

    def measures(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, Measure]:
        return {
            "macro_f1": directed_f1([row["label"] for row in rows], outputs["guess"]),
            "accuracy": mean([float(right) for right in _right(rows, outputs)]),
            "loss": mean(outputs["loss"]),
        }

    def detail(self, rows: Sequence[Row], outputs: Mapping[str, Outputs]) -> dict[str, Any]:
        truth, guesses = [row["label"] for row in rows], outputs["candidate"]["guess"]
        classes = sorted({*truth, *outputs["candidate"]["labels"]})
        right = {role: _right(rows, given) for role, given in outputs.items()}
        detail: dict[str, Any] = {
            "confusion": {"labels": classes, "matrix": confusion_matrix(truth, guesses, labels=classes).tolist()},
            "tables": [_relation_table(truth, outputs)],
            "signatures": {"macro_f1": SIGNATURE},
            "samples": samples(
                rows,
                telling(right["candidate"], right.get("champion")),
                lambda row: {"text": _marked(row)},
                lambda row: str(row["label"]),
                {role: given["guess"] for role, given in outputs.items()},
            ),
        }
        if "champion" in outputs:
            detail["mcnemar"] = mcnemar(right["candidate"], right["champion"])
        return detail

    def unknown_classes(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, int]:
        known = set(outputs["labels"])
        return dict(sorted(Counter(row["label"] for row in rows if row["label"] not in known).items()))


def directed_f1(truth: Sequence[str], guesses: Sequence[str]) -> Measure:
    """`shared.modeling.kinds.markers.directed_macro_f1` of summed statistics of rows."""
    true, guessed = ([name for name, _ in merge_directions(labels)] for labels in (truth, guesses))
    relations = sorted({name for name in true if name.lower() not in UNRELATED})
    is_true = np.array([[name == relation for relation in relations] for name in true], dtype=float)
    is_guess = np.array([[name == relation for relation in relations] for name in guessed], dtype=float)
    right = np.array([[one == other] for one, other in zip(truth, guesses, strict=True)], dtype=float)
    return Measure(np.hstack([is_true * right, is_true, is_guess]), _mean_f1)


def _mean_f1(total: Table) -> Table:
    """Over the relations that occur; 0 where none does."""
    hits, true, guessed = np.split(total, 3, axis=1)
    scores = np.nan_to_num(divide(2 * hits, true + guessed))
    there = true > 0
    return np.nan_to_num(divide((scores * there).sum(axis=1), there.sum(axis=1).astype(float)))


@torch.inference_mode()
def _chances(loaded: LoadedModel, rows: Sequence[Row]) -> list[list[float]]:
    """Probabilities in the order of the labels, of texts marked as service marks them."""
    limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
    ids, _ = encode_marked(plain_tokenizer(loaded.tokenizer), rows, limit)
    examples = [Example((row["row_id"],), tokens, [0], 1) for row, tokens in zip(rows, ids, strict=True)]
    found: list[list[float]] = [[] for _ in rows]
    kind = RelationExtraction()
    for indices, batch in kind.batches(loaded.model, examples, int(loaded.tokenizer.pad_token_id), BATCH):
        for index, chances in zip(indices, logits_of(loaded.model, batch).softmax(-1).tolist(), strict=True):
            found[index] = chances
    return found


def _right(rows: Sequence[Row], outputs: Outputs) -> list[bool]:
    return [row["label"] == guess for row, guess in zip(rows, outputs["guess"], strict=True)]


def _marked(row: Row) -> str:
    return mark(row["text"], (row["head_start"], row["head_end"]), (row["tail_start"], row["tail_end"]))


def _relation_table(truth: Sequence[str], outputs: Mapping[str, Outputs]) -> dict[str, Any]:
    candidate = _by_relation(truth, outputs["candidate"]["guess"])
    champion = _by_relation(truth, outputs["champion"]["guess"]) if "champion" in outputs else {}
    lines = []
    for relation in sorted(candidate.keys() | champion.keys()):
        hits, turned, guessed, true = candidate.get(relation, (0, 0, 0, 0))
        scores = [hits / guessed if guessed else 0.0, hits / true if true else 0.0, _f1(hits, guessed, true)]
        line = [relation, *scores, turned, true]
        if champion:
            right, _, answered, wanted = champion.get(relation, (0, 0, 0, 0))
            line.append(_f1(right, answered, wanted))
        lines.append(line)
    columns = ["relation", "precision", "recall", "f1", "wrong direction", "in the rows"]
    return table("Relations", [*columns, "f1 of the champion"] if champion else columns, lines)


def _by_relation(truth: Sequence[str], guesses: Sequence[str]) -> dict[str, tuple[int, int, int, int]]:
    """Relation -> right, right but turned round, answered, true."""
    true, guessed = ([name for name, _ in merge_directions(labels)] for labels in (truth, guesses))
    pairs = list(zip(true, truth, guessed, guesses, strict=True))
    right = Counter(name for name, label, _, guess in pairs if label == guess)
    turned = Counter(name for name, label, other, guess in pairs if name == other and label != guess)
    answered, wanted = Counter(guessed), Counter(true)
    return {name: (right[name], turned[name], answered[name], wanted[name]) for name in answered.keys() | wanted.keys()}


def _f1(hits: int, guessed: int, true: int) -> float:
    return 2 * hits / (guessed + true) if guessed + true else 0.0

"""Text classification: one label, or any number of labels, for a text or a pair of texts."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import IGNORED, MODEL_INPUTS, Batch, Encoded, Example, Row, inputs, pad
from shared.modeling.kinds.changing import Change, Changeable
from shared.modeling.kinds.encoding import Input, encode_inputs
from shared.modeling.kinds.heads import label_options, load_with_head


class Classification(Changeable):
    """Rows have `text` (and `text_pair`) with `label`, or with the option multi_label `labels`.

    One label: softmax and cross-entropy. Several: a sigmoid a label and the sum of their binary cross-entropies, so
    that the loss is the negative log-likelihood of the whole set. Texts are cut on the right.
    """

    name = "classification"
    columns = ("text", "label")
    optional = ("text_pair", "labels")
    metrics = ("loss", "accuracy", "macro_f1")
    labelled = True

    def learn_labels(self, rows: Sequence[Row]) -> tuple[str, ...]:
        return tuple(sorted({label for row in rows for label in labels_of(row)}))

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        if len(labels) < 2:
            raise InvalidArgument(f"classification needs at least two labels, not {list(labels)}", field="labels")
        problem = "multi_label_classification" if self.options.multi_label else "single_label_classification"
        options = {**label_options(labels), "problem_type": problem}
        return load_with_head(AutoModelForSequenceClassification, folder, self.name, options)

    def encode_changed(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        labels: tuple[str, ...],
        max_length: int,
        change: Change,
    ) -> Encoded:
        index = {label: position for position, label in enumerate(labels)}
        targets = [self._targets(row, index) for row in rows]
        pieces, truncated = encode_inputs(tokenizer, [_changed(row, change) for row in rows], max_length)
        examples = [
            Example((row["row_id"],), one.ids, target, 1, one.segments)
            for row, one, target in zip(rows, pieces, targets, strict=True)
        ]
        return Encoded(examples, truncated)

    def collate(self, examples: Sequence[Example], pad_id: int) -> Batch:
        return {**inputs(examples, pad_id), "targets": pad([example.targets for example in examples], IGNORED)}

    def loss(self, model: PreTrainedModel, batch: Batch, smoothing: float = 0.0) -> Tensor:
        return self._loss(logits_of(model, batch), batch["targets"], smoothing, self.class_weights)

    @torch.inference_mode()
    def score(
        self, model: PreTrainedModel, examples: Sequence[Example], pad_id: int, batch_size: int
    ) -> dict[str, float]:
        logits: dict[int, Tensor] = {}
        for indices, batch in self.batches(model, examples, pad_id, batch_size):
            logits |= dict(zip(indices, logits_of(model, batch).cpu(), strict=True))
        made = torch.stack([logits[index] for index in range(len(examples))])
        targets = pad([example.targets for example in examples], IGNORED)
        truth, guess = chosen(made, targets), self._guess(made)
        return {
            "loss": float(self._loss(made, targets)) / len(examples),
            "accuracy": float((truth == guess).all(1).float().mean()),
            "macro_f1": macro_f1(truth, guess),
        }

    def _targets(self, row: Row, index: dict[str, int]) -> list[int]:
        found = labels_of(row)
        if not self.options.multi_label and len(found) != 1:
            raise InvalidArgument(
                f"row {row['row_id']} has the labels {found}, and this pipeline gives one label a text; "
                "set options.multi_label",
                row_id=row["row_id"],
            )
        for label in found:
            if label not in index:
                raise InvalidArgument(
                    f"row {row['row_id']} has label {label!r}, which is not one of {list(index)}", row_id=row["row_id"]
                )
        return [index[label] for label in found]

    def _loss(
        self, logits: Tensor, targets: Tensor, smoothing: float = 0.0, class_weights: Tensor | None = None
    ) -> Tensor:
        if not self.options.multi_label:
            return functional.cross_entropy(
                logits, targets[:, 0], class_weights, label_smoothing=smoothing, reduction="sum"
            )
        wanted = chosen(logits, targets).to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(
            logits, wanted * (1 - smoothing) + smoothing / 2, reduction="sum", pos_weight=class_weights
        )

    def _guess(self, logits: Tensor) -> Tensor:
        if self.options.multi_label:
            return logits.sigmoid() >= self.options.threshold
        return chosen(logits, logits.argmax(-1, keepdim=True))


def labels_of(row: Row) -> list[str]:
    """A row's labels; rows of one label, and those of older dataset versions, have a set of one."""
    several = row.get("labels")
    return [str(row["label"])] if several is None else [str(label) for label in several]


def input_of(row: Row) -> Input:
    """The row's text, or its pair of texts."""
    pair = row.get("text_pair")
    return row["text"] if pair is None else (row["text"], pair)


def _changed(row: Row, change: Change) -> Input:
    read = input_of(row)
    row_id = row["row_id"]
    return change(row_id, read) if isinstance(read, str) else (change(row_id, read[0]), change(row_id, read[1]))


def logits_of(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Float32 logits, rows x labels."""
    given = {name: batch[name] for name in MODEL_INPUTS if name in batch}
    logits: Tensor = model(**given).logits
    return logits.float()


def chosen(logits: Tensor, targets: Tensor) -> Tensor:
    """Which labels (rows x labels, bool) stand in `targets` (rows x most labels of a row, IGNORED where none)."""
    found = torch.zeros_like(logits, dtype=torch.bool)
    rows, places = (targets != IGNORED).nonzero(as_tuple=True)
    found[rows, targets[rows, places]] = True
    return found


def macro_f1(truth: Tensor, guess: Tensor) -> float:
    """Mean F1 over the labels that occur in `truth` or `guess` (rows x labels, bool); 0 when none does."""
    hits, occurrences = (truth & guess).sum(0), truth.sum(0) + guess.sum(0)
    present = occurrences > 0
    return float((2 * hits[present] / occurrences[present]).mean()) if present.any() else 0.0

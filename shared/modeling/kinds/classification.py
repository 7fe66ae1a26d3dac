"""Text classification: one label a text."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import MODEL_INPUTS, Batch, Encoded, Example, Kind, Row, inputs
from shared.modeling.kinds.heads import label_options, load_with_head


class Classification(Kind):
    """Rows have `text` and `label`. Texts are cut on the right."""

    name = "classification"
    columns = ("text", "label")
    metrics = ("loss", "accuracy", "macro_f1")
    labelled = True

    def learn_labels(self, rows: Sequence[Row]) -> tuple[str, ...]:
        return tuple(sorted({str(row["label"]) for row in rows}))

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        if len(labels) < 2:
            raise InvalidArgument(f"classification needs at least two labels, not {list(labels)}", field="labels")
        return load_with_head(AutoModelForSequenceClassification, folder, self.name, label_options(labels))

    def encode(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], labels: tuple[str, ...], max_length: int
    ) -> Encoded:
        index = {label: position for position, label in enumerate(labels)}
        for row in rows:
            if row["label"] not in index:
                raise InvalidArgument(
                    f"row {row['row_id']} has label {row['label']!r}, which is not one of {list(labels)}",
                    row_id=row["row_id"],
                )
        ids, truncated = encode_texts(tokenizer, [row["text"] for row in rows], max_length)
        examples = [
            Example((row["row_id"],), tokens, [index[row["label"]]], 1) for row, tokens in zip(rows, ids, strict=True)
        ]
        return Encoded(examples, truncated)

    def collate(self, examples: Sequence[Example], pad_id: int) -> Batch:
        return {**inputs(examples, pad_id), "targets": torch.tensor([example.targets[0] for example in examples])}

    def loss(self, model: PreTrainedModel, batch: Batch, smoothing: float = 0.0) -> Tensor:
        return functional.cross_entropy(
            logits_of(model, batch), batch["targets"], label_smoothing=smoothing, reduction="sum"
        )

    @torch.inference_mode()
    def score(
        self, model: PreTrainedModel, examples: Sequence[Example], pad_id: int, batch_size: int
    ) -> dict[str, float]:
        total = 0.0
        truth = torch.tensor([example.targets[0] for example in examples])
        guess = torch.empty_like(truth)
        for indices, batch in self.batches(model, examples, pad_id, batch_size):
            logits = logits_of(model, batch)
            total += float(functional.cross_entropy(logits, batch["targets"], reduction="sum"))
            guess[indices] = logits.argmax(-1).cpu()
        accuracy = float((guess == truth).float().mean())
        return {"loss": total / len(examples), "accuracy": accuracy, "macro_f1": macro_f1(truth, guess)}


def logits_of(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Float32 logits, rows x labels."""
    given = {name: batch[name] for name in MODEL_INPUTS if name in batch}
    logits: Tensor = model(**given).logits
    return logits.float()


def encode_texts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int
) -> tuple[list[list[int]], int]:
    """Token ids of each text, cut on the right, and how many were cut."""
    if not texts:
        return [], 0
    ids: list[list[int]] = tokenizer(list(texts), verbose=False)["input_ids"]
    long = [index for index, tokens in enumerate(ids) if len(tokens) > max_length]
    for index in long:
        ids[index] = tokenizer(texts[index], truncation=True, max_length=max_length)["input_ids"]
    return ids, len(long)


def macro_f1(truth: Tensor, guess: Tensor) -> float:
    """Mean F1 over the labels that occur in `truth` or `guess` (both int64, one entry a row)."""
    scores = []
    for label in torch.unique(torch.cat([truth, guess])):
        hits = int(((truth == label) & (guess == label)).sum())
        scores.append(2 * hits / int((truth == label).sum() + (guess == label).sum()))
    return sum(scores) / len(scores)

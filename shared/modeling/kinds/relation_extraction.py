"""Relation extraction: the relation between two marked spans of a text."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import Batch, Encoded, Example, Kind, Row, inputs
from shared.modeling.kinds.classification import logits_of
from shared.modeling.kinds.heads import label_options, load_with_head
from shared.modeling.kinds.markers import Offsets, TooFarApart, bring_nearer, directed_macro_f1, mark, mark_within
from shared.modeling.kinds.windows import plain_tokenizer


class RelationExtraction(Kind):
    """A classification of texts whose spans stand between markers (Baldini Soares et al. 2019, entity markers).

    Rows have `text`, the characters of head and tail, and `label`, which may carry a direction, as SemEval-2010 task 8
    writes it: `Cause-Effect(e1,e2)`. Of a long text the part around the spans is read.
    """

    name = "relation_extraction"
    columns = ("text", "head_start", "head_end", "tail_start", "tail_end", "label")
    metrics = ("loss", "macro_f1", "accuracy")
    labelled = True

    def learn_labels(self, rows: Sequence[Row]) -> tuple[str, ...]:
        return tuple(sorted({str(row["label"]) for row in rows}))

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        if len(labels) < 2:
            raise InvalidArgument(f"relation extraction needs at least two labels, not {list(labels)}", field="labels")
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
        ids, cut = encode_marked(plain_tokenizer(tokenizer), rows, max_length)
        examples = [
            Example((row["row_id"],), tokens, [index[row["label"]]], 1) for row, tokens in zip(rows, ids, strict=True)
        ]
        return Encoded(examples, cut)

    def collate(self, examples: Sequence[Example], pad_id: int) -> Batch:
        targets = torch.tensor([target for example in examples for target in example.targets])
        return {**inputs(examples, pad_id), "targets": targets}

    def loss(self, model: PreTrainedModel, batch: Batch, smoothing: float = 0.0) -> Tensor:
        return functional.cross_entropy(
            logits_of(model, batch),
            batch["targets"],
            self.class_weights,
            label_smoothing=smoothing,
            reduction="sum",
        )

    @torch.inference_mode()
    def score(
        self, model: PreTrainedModel, examples: Sequence[Example], pad_id: int, batch_size: int
    ) -> dict[str, float]:
        total = 0.0
        guesses = [0] * len(examples)
        for indices, batch in self.batches(model, examples, pad_id, batch_size):
            logits = logits_of(model, batch)
            total += float(functional.cross_entropy(logits, batch["targets"], reduction="sum"))
            for index, guess in zip(indices, logits.argmax(-1).tolist(), strict=True):
                guesses[index] = guess
        names = [str(name) for _, name in sorted((model.config.id2label or {}).items())]
        truth = [example.targets[0] for example in examples]
        return {
            "loss": total / len(examples),
            "macro_f1": directed_macro_f1([names[one] for one in truth], [names[one] for one in guesses]),
            "accuracy": sum(map(int.__eq__, truth, guesses)) / len(examples),
        }


def encode_marked(tokenizer: Tokenizer, rows: Sequence[Row], max_length: int) -> tuple[list[list[int]], int]:
    """Token ids of each marked text, as service reads it, and how many texts were cut. `tokenizer` is a plain one."""
    most = max_length - int(tokenizer.num_special_tokens_to_add(False))

    def offsets(text: str) -> Sequence[tuple[int, int]]:
        found: Sequence[tuple[int, int]] = tokenizer.encode(text, add_special_tokens=False).offsets
        return found

    marked = [_marked(row, most, offsets) for row in rows]
    tokenizer.enable_truncation(max_length)
    ids = [list(one.ids) for one in tokenizer.encode_batch([text for text, _ in marked])]
    tokenizer.no_truncation()
    return ids, sum(cut for _, cut in marked)


def _marked(row: Row, most: int, offsets: Offsets) -> tuple[str, bool]:
    """The marked text, and whether it was shortened."""
    text, head, tail = row["text"], (row["head_start"], row["head_end"]), (row["tail_start"], row["tail_end"])
    try:
        found = mark_within(text, head, tail, most, offsets)
    except TooFarApart:
        nearer = bring_nearer(text, head, tail, most, offsets)
        try:
            return mark_within(*nearer, most, offsets), True
        except TooFarApart:
            return mark(*nearer), True
    return found, found != mark(text, head, tail)

"""What every task kind gives to training, evaluation and serving."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from shared.pipelines.options import Options

Row = Mapping[str, Any]
Batch = dict[str, Tensor]
IGNORED = -100
"""Target of a position that is not learnt."""
MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Example:
    """An encoded row, one window of a long one, or several short ones packed."""

    row_ids: tuple[str, ...]
    ids: list[int]
    targets: list[int]
    """What is to be predicted: label indices, or one token id per position (IGNORED where nothing is learnt)."""
    weight: int
    """How many predictions the loss is summed over."""
    segments: list[int] | None = None
    """Which of two texts each token belongs to, for models that are told (0 or 1), or which document of a pack; None:
    all are 0."""
    others: tuple[list[int], ...] = ()
    """Further sequences of the row: candidates, a positive and negatives."""
    other_segments: tuple[list[int], ...] = ()
    """Of the others, where there are segments."""

    @property
    def length(self) -> int:
        """Tokens that a step computes for it."""
        return len(self.ids) + sum(map(len, self.others))

    def tokens(self) -> Iterator[int]:
        """Every token id that the model's input may hold."""
        return chain(self.ids, *self.others)


@dataclass(frozen=True)
class Encoded:
    """Encoded rows in the order given, and how many of them were cut to the length limit."""

    examples: list[Example]
    truncated: int


class Kind(ABC):
    """One task kind: a head, rows to tensors, tensors to a loss, predictions to metrics."""

    name: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    """Of a row, besides row_id and split."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Columns that older dataset versions may lack; None where they do."""
    metrics: ClassVar[tuple[str, ...]]
    """Names that `score` gives; `loss` is always one."""
    labelled: ClassVar[bool] = False
    """Whether the model has a closed set of labels."""
    whole_batches: ClassVar[bool] = False
    """Whether a row's loss depends on the others of its batch."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.class_weights: Tensor | None = None
        """How much each label counts in `loss`, float32 (labels,), for kinds that are `labelled`; never in `score`."""
        self.on_scored: Callable[[], None] = lambda: None
        """Called now and then while `score` is under way."""

    @abstractmethod
    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        """The float32 model of this kind on the weights in `folder`; a new head is drawn from torch's global seed.

        Raises InvalidArgument when the folder's architecture does not fit the kind.
        """

    def learn_labels(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """The labels of the model's outputs, from those that occur in the rows; empty for a kind without labels."""
        return ()

    def declared_labels(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """The labels of the model's outputs, from those that a pipeline names."""
        return labels

    @abstractmethod
    def encode(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], labels: tuple[str, ...], max_length: int
    ) -> Encoded:
        """Rows to examples; raises InvalidArgument naming the row that can't be used."""

    @abstractmethod
    def collate(self, examples: Sequence[Example], pad_id: int) -> Batch:
        """Pad to the longest: `input_ids`, `attention_mask` (rows x positions) and `targets`. What it draws at random
        comes from torch's global generator, which is seeded for every batch."""

    @property
    def lays_out(self) -> bool:
        """Whether texts can be laid end to end, once the model's attention is told (`end_to_end.attend_apart`)."""
        return False

    def lay_out(self, examples: Sequence[Example]) -> Batch:
        """As `collate` without padding, for a kind that `lays_out`: the loss is the same."""
        raise AssertionError(f"{self.name} pads")

    @abstractmethod
    def loss(self, model: PreTrainedModel, batch: Batch, smoothing: float = 0.0) -> Tensor:
        """The loss summed (not averaged) over the batch's predictions, float32 scalar."""

    @abstractmethod
    def score(
        self, model: PreTrainedModel, examples: Sequence[Example], pad_id: int, batch_size: int
    ) -> dict[str, float]:
        """The kind's metrics over the examples; the model's mode and torch's generator are left as they were."""

    def batches(
        self, model: PreTrainedModel, examples: Sequence[Example], pad_id: int, batch_size: int
    ) -> Iterator[tuple[list[int], Batch]]:
        """Indices and their batch on the model's device, examples of like length together."""
        for indices in by_length([example.length for example in examples], batch_size):
            batch = self.collate([examples[index] for index in indices], pad_id)
            yield indices, {name: value.to(model.device) for name, value in batch.items()}
            self.on_scored()


def inputs(examples: Sequence[Example], pad_id: int) -> Batch:
    """`input_ids`, `attention_mask` and, where an example has segments, `token_type_ids` (rows x longest)."""
    ids = [example.ids for example in examples]
    batch = {"input_ids": pad(ids, pad_id), "attention_mask": mask_of(ids)}
    if any(example.segments is not None for example in examples):
        batch["token_type_ids"] = pad([example.segments or [0] * len(example.ids) for example in examples], 0)
    return batch


def pad(sequences: Sequence[Sequence[int]], value: int, left: bool = False) -> Tensor:
    """Sequences as one int64 tensor, rows x longest."""
    longest = max(map(len, sequences))
    padded = torch.full((len(sequences), longest), value, dtype=torch.long)
    for line, sequence in zip(padded, sequences, strict=True):
        start = longest - len(sequence) if left else 0
        line[start : start + len(sequence)] = torch.tensor(sequence, dtype=torch.long)
    return padded


def mask_of(sequences: Sequence[Sequence[int]], left: bool = False) -> Tensor:
    """1 where a padded tensor holds a token, 0 where padding (rows x longest). Right even when pad equals EOS."""
    return pad([[1] * len(sequence) for sequence in sequences], 0, left)


def by_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indices in batches of like length, longest first (so that running out of memory shows at once)."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def length_limit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, wanted: int) -> int:
    """Tokens a row may have: what is wanted, within what the model has positions for."""
    positions = getattr(model.config, "max_position_embeddings", None) or wanted
    return min(wanted, int(positions), int(tokenizer.model_max_length))

"""What every task kind gives to training, evaluation and serving."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

Row = Mapping[str, Any]
Batch = dict[str, Tensor]
IGNORED = -100
"""Target of a position that is not learnt."""


@dataclass(frozen=True)
class Example:
    """An encoded row."""

    row_id: str
    ids: list[int]
    targets: list[int]
    """One label index, or one token id per position (IGNORED where nothing is learnt)."""
    weight: int
    """How many predictions the loss is summed over."""


@dataclass(frozen=True)
class Encoded:
    """Encoded rows in the order given, and how many of them were cut to the length limit."""

    examples: list[Example]
    truncated: int


class ServedKind(ABC):
    """A task kind as far as a trained model of it can be loaded and asked."""

    name: ClassVar[str]

    @abstractmethod
    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        """The float32 model of this kind on the weights in `folder`; a new head is drawn from torch's global seed.

        Raises InvalidArgument when the folder's architecture does not fit the kind.
        """


class Kind(ServedKind):
    """One task kind: rows to tensors, tensors to a loss, predictions to metrics."""

    columns: ClassVar[tuple[str, ...]]
    """Of a row, besides row_id and split."""
    metrics: ClassVar[tuple[str, ...]]
    """Names that `score` gives."""

    @abstractmethod
    def learn_labels(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """The labels that occur in the rows, sorted; empty for a kind without labels."""

    @abstractmethod
    def encode(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], labels: tuple[str, ...], max_length: int
    ) -> Encoded:
        """Rows to examples; raises InvalidArgument naming the row that can't be used."""

    @abstractmethod
    def collate(self, examples: Sequence[Example], pad_id: int) -> Batch:
        """Pad to the longest: `input_ids`, `attention_mask` (rows x positions) and `targets`."""

    @abstractmethod
    def loss(self, model: PreTrainedModel, batch: Batch, smoothing: float = 0.0) -> Tensor:
        """Cross-entropy summed (not averaged) over the batch's predictions, float32 scalar."""

    @abstractmethod
    def score(
        self, model: PreTrainedModel, examples: Sequence[Example], pad_id: int, batch_size: int
    ) -> dict[str, float]:
        """The kind's metrics over the examples; the model's mode is left as it was."""


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

"""How well two texts belong together: one logit a pair, or the log-odds of the second of two labels."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import Batch, Encoded, Example, Row, mask_of, pad
from shared.modeling.kinds.changing import Change, Changeable
from shared.modeling.kinds.choosing import choice_loss, places_of
from shared.modeling.kinds.classification import logits_of
from shared.modeling.kinds.encoding import TYPES, encode_inputs
from shared.modeling.kinds.heads import load_with_head


def check_pair_labels(kind: str, labels: Sequence[str]) -> None:
    """No labels (one logit), or two, of which the second says that the texts belong together."""
    if len(labels) not in (0, 2):
        raise InvalidArgument(f"kind {kind} has no labels, or two; not {list(labels)}", field="labels")


def fit(logits: NDArray[np.float32]) -> float:
    """Log-odds that the pair belongs together, of (1,) or (2,) logits."""
    return float(logits[0] if len(logits) == 1 else logits[1] - logits[0])


def fits(logits: Tensor) -> Tensor:
    """`fit` of every pair: (pairs,) of (pairs x 1) or (pairs x 2)."""
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


@dataclass(frozen=True)
class Choice:
    """A question or query with the right text, and those that it is to be told apart from."""

    row_id: str
    query: str
    right: str
    wrong: Sequence[str]


class CrossEncoder(Changeable):
    """Reads the query together with each text and learns by a softmax over the texts of a row (Nogueira and Cho
    2019; Cao et al. 2007). Pairs are cut where they are longest. An example has the right text first."""

    changes_others = True
    first: ClassVar[str]
    """What the share of rows is called in which the right text is first."""

    @abstractmethod
    def choices(self, rows: Sequence[Row]) -> Iterator[Choice]:
        """What the rows have to tell apart."""

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        check_pair_labels(self.name, labels)
        options = {"num_labels": len(labels) or 1}
        return load_with_head(AutoModelForSequenceClassification, folder, self.name, options)

    def encode_changed(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        labels: tuple[str, ...],
        max_length: int,
        change: Change,
    ) -> Encoded:
        examples, truncated = [], 0
        for choice in self.choices(rows):
            query = change(choice.row_id, choice.query)
            texts = [(query, text) for text in (choice.right, *choice.wrong)]
            (right, *wrong), cut = encode_inputs(tokenizer, texts, max_length)
            segments = tuple(one.segments for one in wrong if one.segments is not None)
            others = tuple(one.ids for one in wrong)
            examples.append(Example((choice.row_id,), right.ids, [0], 1, right.segments, others, segments))
            truncated += cut
        return Encoded(examples, truncated)

    def collate(self, examples: Sequence[Example], pad_id: int) -> Batch:
        """The pairs of all examples one after another; `sizes` says how many are each example's."""
        ids = [one for example in examples for one in (example.ids, *example.others)]
        batch = {
            "input_ids": pad(ids, pad_id),
            "attention_mask": mask_of(ids),
            "sizes": torch.tensor([1 + len(example.others) for example in examples]),
            "targets": torch.tensor([example.targets[0] for example in examples]),
        }
        if examples[0].segments is not None:
            batch[TYPES] = pad(
                [one for example in examples for one in (example.segments or [], *example.other_segments)], 0
            )
        return batch

    def loss(self, model: PreTrainedModel, batch: Batch, smoothing: float = 0.0) -> Tensor:
        return choice_loss(_scores(model, batch), batch["targets"], smoothing)

    @torch.inference_mode()
    def score(
        self, model: PreTrainedModel, examples: Sequence[Example], pad_id: int, batch_size: int
    ) -> dict[str, float]:
        loss, first, reciprocal = 0.0, 0, 0.0
        for _, batch in self.batches(model, examples, pad_id, batch_size):
            scores = _scores(model, batch)
            places = places_of(scores, batch["targets"])
            loss += float(choice_loss(scores, batch["targets"]))
            first += int((places == 1).sum())
            reciprocal += float((1 / places).sum())
        count = len(examples)
        return {"loss": loss / count, self.first: first / count, "mrr": reciprocal / count}


def _scores(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Examples x most candidates; -inf where an example has fewer."""
    found = fits(logits_of(model, batch))
    parts = list(torch.split(found, batch["sizes"].tolist()))
    return pad_sequence(parts, batch_first=True, padding_value=-torch.inf)

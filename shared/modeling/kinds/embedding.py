"""Embedding: a text as a vector, the mean of its last hidden states."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from shared.modeling.kinds.base import Batch, Encoded, Example, Row, by_length, inputs, mask_of, pad
from shared.modeling.kinds.changing import Change, Changeable
from shared.modeling.kinds.choosing import choice_loss, places_of, rights_of
from shared.modeling.kinds.encoding import encode_texts
from shared.modeling.kinds.heads import load_with_head
from shared.rows.base import loosened

QUERIES_AT_ONCE = 256


class Embedding(Changeable):
    """Mean pooling over all tokens, special ones included (Reimers and Gurevych 2019).

    Rows have `query`, `positives` and `negatives`. A query's cosines with all texts of its batch, over
    `options.temperature`, go through a softmax that should choose its positive (InfoNCE with in-batch negatives,
    Henderson et al. 2017), beside the positives and the first `options.negatives` negatives of all other rows of the
    batch. A text that is right for the same query in any row is not taken for wrong. So the batch size matters;
    accumulated batches do not see each other's texts, and larger ones are not replaced by them.
    """

    name = "embedding"
    columns = ("query", "positives", "negatives")
    metrics = ("loss", "mrr")
    whole_batches = True

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        return load_with_head(AutoModel, folder, self.name, {})

    def encode_changed(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        labels: tuple[str, ...],
        max_length: int,
        change: Change,
    ) -> Encoded:
        """One example a positive: `ids` are the query, `others` the positive and negatives, `targets` the marks of all
        texts that are right for the query. A row whose query every text of the rows fits gives none. Only queries
        are changed: the other texts are each other's wrong ones, and are known by what they say."""
        rights = rights_of(rows)
        answers = {text for row in rows for text in (*row["positives"], *row["negatives"])}
        queries = [change(row["row_id"], row["query"]) for row in rows]
        texts = sorted(answers.union(queries))
        ids, truncated = encode_texts(tokenizer, texts, max_length)
        ids_of = dict(zip(texts, ids, strict=True))
        examples = []
        for row, query in zip(rows, queries, strict=True):
            right = rights[loosened(row["query"])]
            wrong = [text for text in row["negatives"] if text not in right][: self.options.negatives]
            marks = sorted({mark_of(ids_of[text]) for text in right})
            for positive in row["positives"] if answers - right else ():
                others = tuple(ids_of[text] for text in (positive, *wrong))
                examples.append(Example((row["row_id"],), ids_of[query], marks, 1, others=others))
        return Encoded(examples, truncated)

    def collate(self, examples: Sequence[Example], pad_id: int) -> Batch:
        """Queries as `input_ids`; each different text of the batch once as `text_ids`; `targets` are places among
        those, and `hidden` (queries x texts) says which other texts are right, too."""
        texts = list(_texts(examples).values())
        targets, hidden = _answers(examples, _places(examples))
        return {
            **inputs(examples, pad_id),
            "text_ids": pad(texts, pad_id),
            "text_mask": mask_of(texts),
            "targets": targets,
            "hidden": hidden,
        }

    def loss(self, model: PreTrainedModel, batch: Batch, smoothing: float = 0.0) -> Tensor:
        queries = vectors_of(model, batch["input_ids"], batch["attention_mask"])
        texts = vectors_of(model, batch["text_ids"], batch["text_mask"])
        return choice_loss(self._scores(queries, texts, batch["hidden"]), batch["targets"], smoothing)

    @torch.inference_mode()
    def score(
        self, model: PreTrainedModel, examples: Sequence[Example], pad_id: int, batch_size: int
    ) -> dict[str, float]:
        """Over the texts of all examples."""
        places = _places(examples)
        texts = self._all_vectors(model, list(_texts(examples).values()), pad_id, batch_size)
        queries = self._all_vectors(model, [example.ids for example in examples], pad_id, batch_size)
        loss, reciprocal = 0.0, 0.0
        for start in range(0, len(examples), QUERIES_AT_ONCE):
            part = slice(start, start + QUERIES_AT_ONCE)
            targets, hidden = _answers(examples[part], places)
            scores = self._scores(queries[part], texts, hidden)
            loss += float(choice_loss(scores, targets))
            reciprocal += float((1 / places_of(scores, targets)).sum())
        return {"loss": loss / len(examples), "mrr": reciprocal / len(examples)}

    def _all_vectors(
        self, model: PreTrainedModel, texts: Sequence[Sequence[int]], pad_id: int, batch_size: int
    ) -> Tensor:
        made: dict[int, Tensor] = {}
        for indices, vectors in _in_batches(model, texts, pad_id, batch_size):
            made |= dict(zip(indices, vectors.cpu(), strict=True))
            self.on_scored()
        return torch.stack([made[index] for index in range(len(texts))])

    def _scores(self, queries: Tensor, texts: Tensor, hidden: Tensor) -> Tensor:
        return (queries @ texts.T / self.options.temperature).masked_fill(hidden, -torch.inf)


def vectors_of(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> Tensor:
    """Float32 vectors at length 1 (texts x width): the mean of the last hidden states."""
    hidden: Tensor = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    return functional.normalize((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=1)


def mark_of(ids: Sequence[int]) -> int:
    """What tells a text from others once it is encoded; texts that differ only beyond the cut are one text."""
    return hash(tuple(ids))


def _texts(examples: Sequence[Example]) -> dict[int, list[int]]:
    """Every different text beside the queries, by its mark."""
    return {mark_of(text): text for example in examples for text in example.others}


def _places(examples: Sequence[Example]) -> dict[int, int]:
    return {mark: place for place, mark in enumerate(_texts(examples))}


def _answers(examples: Sequence[Example], places: dict[int, int]) -> tuple[Tensor, Tensor]:
    """The place of each example's positive, and (examples x texts) which other texts are right for its query."""
    targets = torch.tensor([places[mark_of(example.others[0])] for example in examples])
    hidden = torch.zeros(len(examples), len(places), dtype=torch.bool)
    for line, example in zip(hidden, examples, strict=True):
        line[[places[mark] for mark in example.targets if mark in places]] = True
    hidden[torch.arange(len(examples)), targets] = False
    return targets, hidden


def _in_batches(
    model: PreTrainedModel, texts: Sequence[Sequence[int]], pad_id: int, batch_size: int
) -> Iterator[tuple[list[int], Tensor]]:
    for indices in by_length([len(text) for text in texts], batch_size):
        chosen = [texts[index] for index in indices]
        yield indices, vectors_of(model, pad(chosen, pad_id).to(model.device), mask_of(chosen).to(model.device))


def normalise(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vector at length 1; one of zeros stays."""
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector


def cosines(query: NDArray[np.float32], vectors: Sequence[NDArray[np.float32]]) -> list[float]:
    """Cosine of the angle between the query and each vector, -1 to 1."""
    found: list[float] = (np.stack([normalise(vector) for vector in vectors]) @ normalise(query)).tolist()
    return found

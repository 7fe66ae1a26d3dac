"""What all kinds that write have in common: tokens are learnt one after the other, those of the answer only."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import IGNORED, Batch, Encoded, Example, Kind, Row, inputs, pad
from shared.modeling.kinds.end_to_end import lay_out, told_apart
from shared.modeling.kinds.vocabulary_loss import summed_loss
from shared.pipelines.options import Options

LARGEST_EXPONENT = 700.0


class Writing(Kind):
    """A causal model learns the answer after what it reads; a sequence-to-sequence model has a decoder for it."""

    metrics: ClassVar[tuple[str, ...]] = ("loss", "perplexity")

    def __init__(self, options: Options | None = None) -> None:
        super().__init__(options)
        self._config: Any = None

    def of(self, model: PreTrainedModel) -> Self:
        """Rows are encoded for this model; `load` does the same for the one that it loads."""
        self._config = model.config
        return self

    @property
    def seq2seq(self) -> bool:
        """Whether the model has an encoder of its own."""
        return bool(getattr(self._config, "is_encoder_decoder", False))

    @abstractmethod
    def asked(self, tokenizer: PreTrainedTokenizerBase, row: Row, limit: int) -> list[int]:
        """Token ids that the model reads before it answers a row, at most `limit`."""

    @abstractmethod
    def example(self, tokenizer: PreTrainedTokenizerBase, row: Row, limit: int) -> tuple[list[int], list[int], bool]:
        """Ids, targets, and whether the row was cut. Raises InvalidArgument for a row that can't be used."""

    def first_written(self, tokenizer: PreTrainedTokenizerBase, row: Row) -> int | None:
        """The token that an answer must begin with, where a model is told the language by it."""
        return None

    def encode(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], labels: tuple[str, ...], max_length: int
    ) -> Encoded:
        examples, truncated = [], 0
        for row in rows:
            try:
                ids, targets, cut = self.example(tokenizer, row, max_length)
            except InvalidArgument as error:
                if error.metadata.get("field") == "base":  # which no other row would change
                    raise
                raise InvalidArgument(f"row {row['row_id']}: {error}", row_id=row["row_id"]) from None
            truncated += cut
            learnt = targets if self.seq2seq else targets[1:]
            weight = sum(target != IGNORED for target in learnt)
            examples.append(Example((row["row_id"],), ids, targets, weight))
        return Encoded(examples, truncated)

    def collate(self, examples: Sequence[Example], pad_id: int) -> Batch:
        return {**inputs(examples, pad_id), "targets": pad([example.targets for example in examples], IGNORED)}

    @property
    def lays_out(self) -> bool:
        return not self.seq2seq

    def lay_out(self, examples: Sequence[Example]) -> Batch:
        return lay_out(examples)

    def loss(self, model: PreTrainedModel, batch: Batch, smoothing: float = 0.0) -> Tensor:
        logits, following = learnt_logits(model, batch)
        return summed_loss(logits.flatten(0, 1), following.flatten(), smoothing)

    @torch.inference_mode()
    def score(
        self, model: PreTrainedModel, examples: Sequence[Example], pad_id: int, batch_size: int
    ) -> dict[str, float]:
        total = 0.0
        for _, batch in self.batches(model, examples, pad_id, batch_size):
            total += float(token_losses(model, batch).sum(dtype=torch.float64))
        loss = total / sum(example.weight for example in examples)
        return {"loss": loss, "perplexity": perplexity(loss)}


def token_losses(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Loss in nats of every target, 0 where nothing is learnt: float32, rows x positions that some row learns
    (of texts laid end to end 1 x positions, in their order)."""
    logits, following = learnt_logits(model, batch)
    losses = functional.cross_entropy(
        logits.flatten(0, 1).float(), following.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return losses.view(following.shape)


def learnt_logits(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (rows x positions that some row learns x vocabulary) and what they should say, IGNORED where nothing."""
    if getattr(model.config, "is_encoder_decoder", False):
        following = batch["targets"]
        given = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        return model(**given, decoder_input_ids=_shifted(model, following), use_cache=False).logits, following
    following = batch["targets"][:, 1:]
    positions = (following != IGNORED).any(0).nonzero().flatten()
    # Padding is on the right, so causal attention never sees it and needs no mask; and the vocabulary is wide, so
    # logits are made only where some row of the batch learns. Counted from the end, because some methods put
    # tokens of their own in front.
    keep = positions - batch["input_ids"].shape[1]
    logits = model(input_ids=batch["input_ids"], logits_to_keep=keep, use_cache=False, **told_apart(batch)).logits
    return logits, following[:, positions]


def perplexity(loss: float) -> float:
    """e to the loss, as far as a double goes."""
    return math.exp(min(loss, LARGEST_EXPONENT))


def _shifted(model: PreTrainedModel, targets: Tensor) -> Tensor:
    """What a decoder reads: the start token, then all targets but the last."""
    config: Any = model.config
    start = getattr(model.generation_config, "decoder_start_token_id", None)
    start = getattr(config, "decoder_start_token_id", None) if start is None else start
    if start is None:
        raise InvalidArgument("the base model names no decoder_start_token_id", field="base")
    begun = functional.pad(targets[:, :-1], (1, 0), value=int(start))
    return begun.masked_fill(begun == IGNORED, int(start))

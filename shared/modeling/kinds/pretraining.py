"""Self-supervised pretraining: the next token of packed documents, or tokens that were masked."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import IGNORED, Batch, Encoded, Example, Kind, Row, mask_of, pad
from shared.modeling.kinds.causal import load_causal, reads_both_ways
from shared.modeling.kinds.exchange import end_token
from shared.modeling.kinds.heads import load_with_head
from shared.modeling.kinds.masking import Vocabulary, fixed_generator, mask, windows_of
from shared.modeling.kinds.packing import attention_within, packed, pieces_of, positions_of
from shared.modeling.kinds.vocabulary_loss import summed_loss
from shared.modeling.kinds.writing import perplexity
from shared.pipelines.options import Options

MASKED_HEAD = ("cls", "predictions", "lm_head", "vocab_transform", "vocab_layer_norm", "vocab_projector")
"""Parts that an encoder may lack before it learns what was masked."""
AT_ONCE = 1000


class Pretraining(Kind):
    """Rows have `text`. Nothing is cut off: a text that is too long makes several examples."""

    name = "pretraining"
    columns = ("text",)
    metrics = ("loss", "perplexity", "accuracy")

    def __init__(self, options: Options | None = None) -> None:
        super().__init__(options)
        self._vocabulary = Vocabulary(0, 1)

    @property
    def causal(self) -> bool:
        return self.options.objective == "causal"

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        if self.causal:
            return load_causal(folder)
        return load_with_head(AutoModelForMaskedLM, folder, f"{self.name} (masked)", {}, may_lack=MASKED_HEAD)

    def encode(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], labels: tuple[str, ...], max_length: int
    ) -> Encoded:
        pieces = list(self.pieces(tokenizer, rows, max_length))
        return Encoded(packed(pieces, max_length) if self.causal else pieces, 0)

    def pieces(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], max_length: int) -> Iterator[Example]:
        """Examples of one row each. Raises InvalidArgument for a tokenizer that the objective can't be had with."""
        front, back = _frame(tokenizer)
        end = end_token(tokenizer) if self.causal else None
        if end is None:
            self._vocabulary = Vocabulary(_mask_token(tokenizer), len(tokenizer))
        for row, ids in zip(rows, _all_ids(tokenizer, rows), strict=True):
            if end is not None:
                yield from pieces_of(row["row_id"], [*front, *ids, end], max_length)
            else:
                yield from windows_of(row["row_id"], ids, (front, back), max_length, self.options.mask_ratio)

    def collate(self, examples: Sequence[Example], pad_id: int) -> Batch:
        """Masks are drawn anew each time; they hang on torch's seed alone, so a run that goes on draws the same."""
        return self._blocks(examples, pad_id) if self.causal else self._masked(examples, pad_id, fixed=False)

    def judged_batch(self, examples: Sequence[Example], pad_id: int) -> Batch:
        """As `collate`, with the same masks every time."""
        return self._blocks(examples, pad_id) if self.causal else self._masked(examples, pad_id, fixed=True)

    def loss(self, model: PreTrainedModel, batch: Batch, smoothing: float = 0.0) -> Tensor:
        logits, targets = predictions(model, batch)
        return summed_loss(logits.flatten(0, 1), targets.flatten(), smoothing)

    @torch.inference_mode()
    def score(
        self, model: PreTrainedModel, examples: Sequence[Example], pad_id: int, batch_size: int
    ) -> dict[str, float]:
        total, right, weight = 0.0, 0, sum(example.weight for example in examples)
        ordered = sorted(examples, key=lambda example: -example.length)
        for start in range(0, len(ordered), batch_size):
            batch = self.judged_batch(ordered[start : start + batch_size], pad_id)
            losses, hits = outcomes(model, {name: value.to(model.device) for name, value in batch.items()})
            total += float(losses.sum(dtype=torch.float64))
            right += int(hits.sum())
        loss = total / weight
        return {"loss": loss, "perplexity": perplexity(loss), "accuracy": right / weight}

    def _blocks(self, examples: Sequence[Example], pad_id: int) -> Batch:
        documents = [example.segments or [0] * len(example.ids) for example in examples]
        return {
            "input_ids": pad([example.ids for example in examples], pad_id),
            "targets": pad([example.targets for example in examples], IGNORED),
            "documents": pad(documents, -1),
        }

    def _masked(self, examples: Sequence[Example], pad_id: int, fixed: bool) -> Batch:
        drawn = [mask(one, self._vocabulary, fixed_generator(one) if fixed else None) for one in examples]
        ids = [ids for ids, _ in drawn]
        targets = pad([targets for _, targets in drawn], IGNORED)
        return {"input_ids": pad(ids, pad_id), "attention_mask": mask_of(ids), "targets": targets}


def objective_of(folder: Path) -> Literal["causal", "masked"]:
    """What a base model can learn."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return "masked" if reads_both_ways(config) else "causal"


def predictions(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (rows x positions x vocabulary) and what they should have said (rows x positions)."""
    if "documents" not in batch:
        given = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        return model(**given).logits, batch["targets"]
    documents, ids = batch["documents"], batch["input_ids"]
    apart: dict[str, Any] = {}
    if bool((documents > 0).any()):
        apart = {
            "position_ids": positions_of(documents),
            "attention_mask": attention_within(documents, model.dtype),
        }
    logits = model(input_ids=ids, use_cache=False, **apart).logits[:, :-1]
    return logits, batch["targets"][:, 1:]


def outcomes(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Loss in nats of each prediction, and whether it was right; both 0 where nothing is predicted (rows x positions)."""
    logits, targets = predictions(model, batch)
    losses = functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none"
    ).view(targets.shape)
    return losses, logits.argmax(-1) == targets


def _all_ids(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> Iterator[list[int]]:
    texts = (row["text"] for row in rows)
    while chunk := list(islice(texts, AT_ONCE)):
        yield from tokenizer(chunk, add_special_tokens=False, verbose=False)["input_ids"]


def _frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Special tokens that the tokenizer puts before and after a text."""
    bare: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole: list[int] = tokenizer("a")["input_ids"]
    for start in range(len(whole) - len(bare) + 1):
        if bare and whole[start : start + len(bare)] == bare:
            return whole[:start], whole[start + len(bare) :]
    return [], []


def _mask_token(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.mask_token_id is None:
        raise InvalidArgument(
            "the base model's tokenizer has no mask token; use options.objective: causal", field="base"
        )
    return int(tokenizer.mask_token_id)

"""Extractive question answering: the answer is a span of the context."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Encoding as Pieces
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForQuestionAnswering, PreTrainedModel, PreTrainedTokenizerBase

from shared.modeling.kinds.answer_spans import context_spans
from shared.modeling.kinds.base import MODEL_INPUTS, Batch, Encoded, Example, Kind, Row, inputs
from shared.modeling.kinds.heads import load_with_head
from shared.modeling.kinds.windows import context_windows, plain_tokenizer, room_for_context, segments_of
from shared.pipelines.options import Options

ROWS_AT_ONCE = 256
NO_ANSWER = (0, 0)


class QuestionAnswering(Kind):
    """A start and an end logit a token; no answer is the first token, as in SQuAD 2.0 (Devlin et al. 2019, 4.3).

    Rows have `question`, `context` and `answers` ({text, start} each; none: the context does not say). A long context
    is read in windows that overlap; one that holds no answer is taught so, one that holds only a part of an answer
    teaches nothing. The loss of a window is the mean of its start's and its end's.
    """

    name = "question_answering"
    columns = ("question", "context", "answers")
    metrics = ("loss", "accuracy")

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        return load_with_head(AutoModelForQuestionAnswering, folder, self.name, {})

    def encode(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], labels: tuple[str, ...], max_length: int
    ) -> Encoded:
        """A row is cut when its question is, or when no window holds an answer whole."""
        examples, cut = [], 0
        for row, (windows, shortened) in zip(rows, self.read(tokenizer, rows, max_length), strict=True):
            found = [(window, target(window, row["answers"])) for window in windows]
            lost = bool(row["answers"]) and all(places in (None, NO_ANSWER) for _, places in found)
            cut += shortened or lost
            examples += [
                Example((row["row_id"],), list(window.ids), list(places), 1, segments_of(window, tokenizer))
                for window, places in found
                if places is not None
            ]
        return Encoded(examples, cut)

    def read(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], max_length: int
    ) -> Iterator[tuple[list[Pieces], bool]]:
        """The windows of each row's question and context, and whether the question was cut to leave room."""
        plain, stride = plain_tokenizer(tokenizer), stride_of(self.options, max_length)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            chunk = rows[start : start + ROWS_AT_ONCE]
            questions = [_fitting(plain, row["question"], max_length, stride) for row in chunk]
            pairs = [(question, row["context"]) for question, row in zip(questions, chunk, strict=True)]
            for row, question, windows in zip(
                chunk, questions, context_windows(plain, pairs, max_length, stride), strict=True
            ):
                yield windows, question != row["question"]

    def collate(self, examples: Sequence[Example], pad_id: int) -> Batch:
        return {**inputs(examples, pad_id), "targets": torch.tensor([example.targets for example in examples])}

    def loss(self, model: PreTrainedModel, batch: Batch, smoothing: float = 0.0) -> Tensor:
        return window_losses(span_logits(model, batch), batch, smoothing).sum()

    @torch.inference_mode()
    def score(
        self, model: PreTrainedModel, examples: Sequence[Example], pad_id: int, batch_size: int
    ) -> dict[str, float]:
        """`accuracy` is the share of windows whose likeliest start and end are both right."""
        total, right = 0.0, 0
        for _, batch in self.batches(model, examples, pad_id, batch_size):
            logits = span_logits(model, batch)
            total += float(window_losses(logits, batch).sum())
            right += int((logits.argmax(1) == batch["targets"]).all(-1).sum())
        return {"loss": total / len(examples), "accuracy": right / len(examples)}


def stride_of(options: Options, max_length: int) -> int:
    """Tokens that two windows share: what is wanted, within a quarter of a window."""
    return min(options.stride, max_length // 4)


def target(window: Pieces, answers: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """First and last token of the first answer that the window holds whole, the first token twice where it holds
    none, None where it holds only parts."""
    spans = [(place, span) for place, span in enumerate(context_spans(window)) if span is not None]
    partly = False
    for answer in answers:
        start, end = answer["start"], answer["start"] + len(answer["text"])
        inside = [place for place, span in spans if span[0] < end and span[1] > start]
        if not inside:
            continue
        if spans[0][1][0] <= start and spans[-1][1][1] >= end:
            return inside[0], inside[-1]
        partly = True
    return None if partly else NO_ANSWER


def span_logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Float32 logits of starts and ends, rows x positions x 2; padding has the least there is."""
    output = model(**{name: batch[name] for name in MODEL_INPUTS if name in batch})
    logits = torch.stack([output.start_logits, output.end_logits], dim=-1).float()
    return logits.masked_fill(batch["attention_mask"].unsqueeze(-1) == 0, torch.finfo(torch.float32).min)


def window_losses(logits: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each window, (rows,), smoothed over its own tokens."""
    chances = logits.log_softmax(1)
    losses = -chances.gather(1, batch["targets"].unsqueeze(1)).squeeze(1).mean(-1)
    if not smoothing:
        return losses
    mask = batch["attention_mask"].unsqueeze(-1)
    spread = -chances.masked_fill(mask == 0, 0.0).sum(1) / mask.sum(1)
    return (1 - smoothing) * losses + smoothing * spread.mean(-1)


def _fitting(tokenizer: Tokenizer, question: str, max_length: int, stride: int) -> str:
    """The question, cut on the right when it leaves no room for context."""
    room = room_for_context(tokenizer, question, max_length)
    if room > stride:
        return question
    offsets = tokenizer.encode(question, add_special_tokens=False).offsets
    kept = len(offsets) - (stride + 1 - room)
    return question[: offsets[kept - 1][1]] if kept > 0 else ""

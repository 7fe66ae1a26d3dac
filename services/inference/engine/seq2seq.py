"""Sequence-to-sequence models: transformers' `generate` with beams, a batch at a time.

Beams are chosen in the batcher's own thread; each pass of the network is one piece of work on the compute thread.
So a summary that takes a second never holds up the tokens of a chat between its own.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.generation.stopping_criteria import StoppingCriteria

from services.inference.engine.batcher import Runs, bucket_of
from shared.errors import DeadlineExceeded
from shared.modeling.kinds.base import mask_of, pad

SCORED_AT_ONCE = 2048  # positions whose logits over the vocabulary are held at once


@dataclass(frozen=True)
class Beams:
    """How a batch is generated; `forced_first` is the token of the language that it begins with."""

    max_tokens: int
    min_tokens: int
    num_beams: int
    length_penalty: float
    forced_first: int | None = None


@dataclass(frozen=True)
class Source:
    """A text as token ids, and how it shall be rewritten."""

    ids: Sequence[int]
    beams: Beams

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def group(self) -> tuple[Beams, int]:
        """Sources of one group may share a batch."""
        return self.beams, bucket_of(len(self.ids))


@dataclass(frozen=True)
class Written:
    """New tokens without padding, and the mean of their log-probabilities."""

    ids: Sequence[int]
    score: float


class Seq2Seq:
    """Answers batches of one group. `is_wanted` says whether anyone still waits for the batch."""

    def __init__(self, model: PreTrainedModel, pad_id: int, compute: Runs) -> None:
        self._model: Any = model
        self._pad_id = pad_id
        self._compute = compute
        self._inside = False
        self.is_wanted: Callable[[], bool] = lambda: True
        for module in (self._model, self._model.get_encoder()):
            module.forward = self._on_compute_thread(module.forward)

    def __call__(self, sources: Sequence[Source]) -> list[Written]:
        """Raises DeadlineExceeded when nobody waits any more."""
        torch.set_num_threads(1)  # of this thread; the compute thread has the others
        stop = _Unwanted(self.is_wanted)
        with torch.inference_mode():
            ids = [source.ids for source in sources]
            inputs = {
                "input_ids": pad(ids, self._pad_id).to(self._model.device),
                "attention_mask": mask_of(ids).to(self._model.device),
            }
            encoded = self._model.get_encoder()(**inputs, return_dict=True)
            sequences = self._model.generate(
                **inputs,
                encoder_outputs=_copied(encoded),  # `generate` repeats its rows in place, once a beam
                generation_config=self._settings(sources[0].beams),
                stopping_criteria=[stop],
            )
            if stop.stopped:
                raise DeadlineExceeded("the deadline passed while the text was being written")
            return self._scored(sequences, encoded, inputs["attention_mask"])

    def _settings(self, beams: Beams) -> Any:
        """The model's own settings under those of the request."""
        settings = deepcopy(self._model.generation_config)
        settings.update(
            max_length=None,
            max_new_tokens=beams.max_tokens,
            min_length=0,
            min_new_tokens=beams.min_tokens or None,
            num_beams=beams.num_beams,
            do_sample=False,
            pad_token_id=self._pad_id,
        )
        if beams.num_beams > 1:
            settings.update(length_penalty=beams.length_penalty)
        if beams.forced_first is not None:
            settings.update(forced_bos_token_id=beams.forced_first)
        return settings

    def _scored(self, sequences: Tensor, encoded: Any, mask: Tensor) -> list[Written]:
        """One more pass over what was written gives its log-probabilities, which `generate` would keep whole."""
        rows = max(1, SCORED_AT_ONCE // sequences.shape[1])
        found = []
        for start in range(0, len(sequences), rows):
            part = slice(start, start + rows)
            states = _copied(encoded, part)
            logits = self._model(
                encoder_outputs=states, attention_mask=mask[part], decoder_input_ids=sequences[part, :-1]
            ).logits
            new = sequences[part, 1:]
            taken = logits.float().log_softmax(-1).gather(-1, new[..., None])[..., 0]
            found += [self._written(line, scores) for line, scores in zip(new.tolist(), taken.tolist(), strict=True)]
        return found

    def _written(self, ids: list[int], scores: list[float]) -> Written:
        length = len(ids)
        while length > 1 and ids[length - 1] == self._pad_id:
            length -= 1
        return Written(ids[:length], sum(scores[:length]) / max(length, 1))

    def _on_compute_thread(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(forward)
        def gated(*args: Any, **options: Any) -> Any:
            if self._inside:
                return forward(*args, **options)
            return self._compute.run(lambda: self._pass(lambda: forward(*args, **options)))

        return gated

    @torch.inference_mode()
    def _pass(self, forward: Callable[[], Any]) -> Any:
        self._inside = True
        try:
            return forward()
        finally:
            self._inside = False


def _copied(encoded: Any, rows: slice = slice(None)) -> Any:
    return type(encoded)(last_hidden_state=encoded.last_hidden_state[rows])


class _Unwanted(StoppingCriteria):
    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self._is_wanted = is_wanted
        self.stopped = False

    def __call__(self, input_ids: Tensor, scores: Any, **options: Any) -> Tensor:
        self.stopped = self.stopped or not self._is_wanted()
        return torch.full((len(input_ids),), self.stopped, device=input_ids.device)

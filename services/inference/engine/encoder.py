"""Probabilities of labels from batches of token ids."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

PAD_MULTIPLE = 8


class Encoder:
    """A sequence classifier (in evaluation mode) that pads a batch to its longest text."""

    def __init__(self, model: PreTrainedModel, pad_id: int) -> None:
        self._model = model
        self._pad_id = pad_id

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        """One row of probabilities a text. Raises `ArithmeticError` when the model gives NaN."""
        longest = -(-max(len(text) for text in texts) // PAD_MULTIPLE) * PAD_MULTIPLE
        limit = getattr(self._model.config, "max_position_embeddings", longest)
        width = max(min(longest, limit), max(len(text) for text in texts))
        ids = torch.full((len(texts), width), self._pad_id)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.tensor(text)
            mask[row, : len(text)] = 1
        device = self._model.device
        logits = self._model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        probabilities = torch.softmax(logits.float(), dim=-1)
        if not bool(torch.isfinite(probabilities).all()):
            raise ArithmeticError("the model gave values that are not finite")
        rows: list[list[float]] = probabilities.tolist()
        return rows

"""A word-embedding table cut to the words that occur.

Rows of the table that no batch touches get a zero gradient, and AdamW without decay leaves them as they are. So
training only the rows that occur gives the same weights, and saves the optimizer and the checkpoints the rest (for
MiniLM on tweets, more than a third of all weights).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel


class CompactEmbedding(nn.Module):
    """Stands in for an embedding table while training; `weight` holds the rows of `kept` in that order."""

    def __init__(self, table: nn.Embedding, kept: Tensor) -> None:
        super().__init__()
        self.table = [table]  # in a list, so that the table is no submodule
        self.kept = kept
        self.weight = nn.Parameter(table.weight.detach()[kept].clone())
        places = torch.full((table.num_embeddings,), -1, device=kept.device)
        places[kept] = torch.arange(len(kept), device=kept.device)
        self.register_buffer("places", places, persistent=False)
        self.output_dtype = table.weight.dtype
        self._padding = None if table.padding_idx is None else int(places[table.padding_idx])

    def forward(self, ids: Tensor) -> Tensor:
        places: Tensor = self.get_buffer("places")
        return functional.embedding(places[ids], self.weight, padding_idx=self._padding).to(self.output_dtype)

    def restored(self) -> nn.Embedding:
        """The whole table with the trained rows in place."""
        table = self.table[0]
        with torch.no_grad():
            table.weight[self.kept] = self.weight.detach()
        return table


def compact(model: PreTrainedModel, ids: Iterable[int]) -> CompactEmbedding | None:
    """Cut the model's input embeddings to `ids`; None when they are frozen or shared with an output layer."""
    typed: Any = model
    table = typed.get_input_embeddings()
    if not isinstance(table, nn.Embedding) or typed.get_output_embeddings() is not None:
        return None
    if not table.weight.requires_grad:
        return None
    padding = set() if table.padding_idx is None else {table.padding_idx}
    stand_in = CompactEmbedding(table, torch.tensor(sorted(set(ids) | padding), device=table.weight.device))
    model.set_input_embeddings(stand_in)
    return stand_in


def restore(model: PreTrainedModel) -> None:
    """Put the whole table back, if it was cut."""
    stand_in = model.get_input_embeddings()
    if isinstance(stand_in, CompactEmbedding):
        model.set_input_embeddings(stand_in.restored())

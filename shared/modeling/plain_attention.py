"""The products of attention, forwards and backwards, on batches of matrices: what `kinds.plain_causal` and the training
of encoders have in common. Queries, keys and values are heads x tokens x size."""

import torch
from torch import Tensor


def chances_of(queries: Tensor, keys: Tensor, added: Tensor | None, scaling: float) -> Tensor:
    """How much each query takes of each key, in their type; `added` goes to the scores."""
    if added is None:
        return torch.softmax(torch.bmm(queries, keys.transpose(1, 2)).mul_(scaling), -1)
    return torch.softmax(torch.baddbmm(added, queries, keys.transpose(1, 2), alpha=scaling), -1)


def gradients_of(
    given: Tensor, queries: Tensor, keys: Tensor, values: Tensor, chances: Tensor, scaling: float
) -> tuple[Tensor, Tensor, Tensor]:
    """By queries, keys and values, `given` being the gradient by what came out, chances x values."""
    of_chances = torch.bmm(given, values.transpose(1, 2))
    of_scores = torch._softmax_backward_data(of_chances, chances, -1, chances.dtype).mul_(scaling)
    of_keys = torch.bmm(of_scores.transpose(1, 2), queries)
    return torch.bmm(of_scores, keys), of_keys, torch.bmm(chances.transpose(1, 2), given)

"""A model learns a few examples by heart."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from shared.modeling.kinds.base import Example, Kind


def learn_by_heart(
    kind: Kind, model: PreTrainedModel, examples: Sequence[Example], steps: int = 40, rate: float = 5e-3
) -> float:
    """All examples in every step, by AdamW. Returns the last step's mean loss; the model is left in evaluation mode."""
    torch.manual_seed(0)
    model.train(True)
    batch = kind.collate(examples, 0)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=rate)
    loss = torch.tensor(0.0)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = kind.loss(model, batch) / sum(example.weight for example in examples)
        torch.autograd.backward(loss)
        optimizer.step()
    model.train(False)
    return float(loss.detach())


def losses_alone_and_together(kind: Kind, model: PreTrainedModel, examples: Sequence[Example]) -> tuple[float, float]:
    """The summed loss of the examples one by one, and of all of them padded in one batch."""
    model.train(False)
    alone = sum(float(kind.loss(model, kind.collate([example], 0)).detach()) for example in examples)
    return alone, float(kind.loss(model, kind.collate(examples, 0)).detach())

"""The optimizers, on master weights in groups."""

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import SGD, Adafactor, AdamW, Optimizer

from services.finetuning.training.model.adamw_8bit import AdamW8bit
from services.finetuning.training.model.weights import TrainedWeights
from shared.pipelines.methods import MethodConfig

Groups = list[dict[str, Any]]
MOMENTUM = 0.9
# With 1 in the place of a weight's own size the rate means what it does to AdamW: how far a weight moves in a step.
ADAFACTOR_EPSILONS = (None, 1.0)

MAKERS: dict[str, Callable[[Groups, float, float], Optimizer]] = {
    "adamw": lambda groups, rate, decay: AdamW(groups, lr=rate, weight_decay=decay, fused=True),
    "adamw_8bit": lambda groups, rate, decay: AdamW8bit(groups, lr=rate, weight_decay=decay),
    "adafactor": lambda groups, rate, decay: Adafactor(groups, lr=rate, weight_decay=decay, eps=ADAFACTOR_EPSILONS),
    "sgd": lambda groups, rate, decay: SGD(groups, lr=rate, weight_decay=decay, momentum=MOMENTUM, fused=True),
}


def make_optimizer(weights: TrainedWeights, config: MethodConfig) -> Optimizer:
    """The optimizer that `config` names. All of its state is tensors, which checkpoints hold by name of the weight."""
    groups = parameter_groups(weights, config)
    return MAKERS[config.optimizer](groups, config.learning_rate, config.weight_decay)


def parameter_groups(weights: TrainedWeights, config: MethodConfig) -> Groups:
    """Matrices decay; embeddings, biases and norms do not.

    A group's `share` is its learning rate over the schedule's: the new head may have one of its own.
    """
    head_share = (config.head_learning_rate or config.learning_rate) / config.learning_rate
    groups: Groups = []
    for decayed, share in product((True, False), sorted({1.0, head_share})):
        names = [
            name
            for name in weights.masters
            if (name in weights.decayed) == decayed and (head_share if name in weights.head else 1.0) == share
        ]
        params = [weights.masters[name] for name in names]
        groups.append({"params": params, "share": share} | ({} if decayed else {"weight_decay": 0.0}))
    return groups


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Of all gradients together."""
    return get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])


def step_clipped(optimizer: Optimizer, parameters: Iterable[nn.Parameter], norm: Tensor, limit: float) -> None:
    """Let the optimizer take gradients of this norm, scaled down to `limit` where they are larger.

    AdamW does so while it reads them. torch's own way is a pass of its own over all gradients, also where the factor
    is 1: 2.5 ms of a step of 125 (MiniLM, two threads).
    """
    if type(optimizer) is not AdamW or isinstance(norm, DTensor):
        clip_grads_with_norm_(parameters, limit, norm)
        optimizer.step()
        return
    fused: Any = optimizer
    factor = (norm + 1e-6) / limit
    fused.grad_scale = factor if float(factor) > 1 else None
    try:
        fused.step()
    finally:
        fused.grad_scale = None

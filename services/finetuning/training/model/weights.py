"""The weights that are trained, always float32, and the copies in bfloat16 that a fast step computes with."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from services.finetuning.training.model.compact import CompactEmbedding
from services.finetuning.training.model.sharding import split_like
from shared.modeling.methods.parts import in_head


class TrainedWeights:
    """Master weights by name. In float32 they are the model's own parameters.

    In bfloat16 the model's parameters are working copies: gradients are added up in float32, the optimizer updates
    the masters, and `publish` rounds them into the copies. (Rounding the weights themselves loses small updates.)
    What is frozen is rounded as well; with `whole` its own values are kept for saving.
    """

    def __init__(self, model: PreTrainedModel, precision: str, whole: bool = False) -> None:
        self.copies = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.masters = dict(self.copies)
        self.decayed = {name for name, value in self.copies.items() if value.ndim > 1} - _embedding_names(model)
        self.head = {name for name in self.copies if in_head(model, name)}
        self._frozen: list[tuple[nn.Parameter, Tensor]] = []
        self._sums: dict[str, Tensor] = {}
        """Where the masters' gradients are added up, kept from step to step: new memory costs as much as the sums."""
        if precision == "bfloat16":
            self._split(model, whole)

    def _split(self, model: PreTrainedModel, whole: bool) -> None:
        kept = {module.weight for module in model.modules() if isinstance(module, CompactEmbedding)}
        for parameter in model.parameters():
            if not parameter.requires_grad:
                if whole:
                    self._frozen.append((parameter, parameter.data))
                parameter.data = parameter.data.bfloat16()
        for name, copy in self.copies.items():
            if copy not in kept:
                self.masters[name] = nn.Parameter(copy.detach().clone())
                copy.data = copy.data.bfloat16()
                copy.register_post_accumulate_grad_hook(partial(self._collect, name))  # type: ignore[no-untyped-call]
        for module in model.modules():
            if isinstance(module, CompactEmbedding):
                module.output_dtype = torch.bfloat16

    @torch.no_grad()
    def _collect(self, name: str, copy: nn.Parameter) -> None:
        """Add a copy's gradient to its master's, as soon as it is there: while the processor's cache still has it."""
        master, gradient = self.masters[name], copy.grad
        if gradient is None:
            return
        if master.grad is not None:
            master.grad.add_(gradient)
        else:
            if name not in self._sums:
                self._sums[name] = torch.empty_like(master)
            master.grad = self._sums[name].copy_(gradient)
        copy.grad = None

    def drop_gradients(self) -> None:
        """Forget the gradients of a step that can't be taken, the copies' too."""
        for name, copy in self.copies.items():
            copy.grad = self.masters[name].grad = None

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Meanwhile the model's parameters are the masters, with the step's gradients; what happens to them stays."""
        copies = [(copy, copy.data, self.masters[name]) for name, copy in self.copies.items()]
        for copy, _, master in copies:
            gradient = torch.zeros_like(master) if master.grad is None else master.grad
            copy.data = master.data
            copy.grad = gradient
        try:
            yield
        finally:
            for copy, data, master in copies:
                if copy is not master:
                    copy.grad = None
                    copy.data = data

    @torch.no_grad()
    def publish(self) -> None:
        """Bring the masters' values into the model."""
        pairs = [(copy, self.masters[name]) for name, copy in self.copies.items() if copy is not self.masters[name]]
        if pairs:
            torch._foreach_copy_([copy for copy, _ in pairs], [master for _, master in pairs])

    @torch.no_grad()
    def restore(self, values: dict[str, Tensor]) -> None:
        """Take masters from a checkpoint."""
        assert values.keys() == self.masters.keys(), "checkpoint of another model"
        for name, value in values.items():
            self.masters[name].copy_(split_like(value, self.masters[name]))
        self.publish()

    def settle(self) -> None:
        """Make the masters the model's parameters, for saving, and what was frozen what it was."""
        for name, copy in self.copies.items():
            copy.data = self.masters[name].data
        for parameter, data in self._frozen:
            parameter.data = data


def _embedding_names(model: PreTrainedModel) -> set[str]:
    tables = (nn.Embedding, CompactEmbedding)
    return {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, tables)}

"""A model in pieces: what FSDP (Zhao et al. 2023, https://arxiv.org/abs/2304.11277) needs to be told, and back."""

from contextlib import ExitStack
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel


def shard(model: PreTrainedModel, device: torch.device, size: int, precision: str) -> None:
    """Split parameters among all processes (in place), layer by layer. Those of a layer are whole while it computes;
    in bfloat16 what is whole is rounded, what is kept and summed is float32."""
    policy = MixedPrecisionPolicy()
    if precision == "bfloat16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    mesh = init_device_mesh(device.type, (size,))
    for layer in layers(model):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    for module in _sharded(model):
        # Losses are shares of a step's mean already. Sums alone: gloo scales nothing.
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)
    _leave_inference_mode(model)


def _leave_inference_mode(model: PreTrainedModel) -> None:
    """What FSDP puts together is used again in training, so it must not be made of inference tensors, which a score
    would make it of. The model's passes go without gradients instead."""
    left = ExitStack()

    def before(module: nn.Module, given: tuple[object, ...]) -> None:
        if torch.is_inference_mode_enabled():
            left.enter_context(torch.inference_mode(False))
            left.enter_context(torch.no_grad())

    def after(module: nn.Module, given: tuple[object, ...], made: object) -> None:
        left.close()

    module = cast(nn.Module, model)
    module.register_forward_pre_hook(before, prepend=True)
    module.register_forward_hook(after, always_call=True)


def layers(model: nn.Module) -> list[nn.Module]:
    """The members of the model's outermost lists that have parameters: the layers of a transformer."""
    if isinstance(model, nn.ModuleList):
        return [layer for layer in model if any(True for _ in layer.parameters())]
    return [layer for child in model.children() for layer in layers(child)]


def whole(tensor: Tensor) -> Tensor:
    """A tensor put together in the processor's memory; every process must ask. One that is whole already comes back."""
    return tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor


def split_like(tensor: Tensor, model: Tensor) -> Tensor:
    """This process's share of a whole tensor, where `model`, of the same shape, is one."""
    if not isinstance(model, DTensor) or tensor.shape != model.shape:
        return tensor
    there = tensor.to(model.device)
    return distribute_tensor(there, model.device_mesh, model.placements, src_data_rank=None)


def reassemble(model: PreTrainedModel, keep: bool) -> None:
    """Undo `shard`, in the processor's memory; with `keep` false the parameters are given up."""
    for module in _sharded(model):
        module.reshard()
    for part in cast(nn.Module, model).modules():
        # By this transformers would take the other processes to generate as well.
        vars(part).pop("_is_fsdp_managed_module", None)
    made: dict[nn.Parameter, nn.Parameter] = {}  # what was tied stays tied
    for part in list(model.modules()):
        for name, value in part._parameters.items():
            if isinstance(value, DTensor):
                if value not in made:
                    together = value.full_tensor().cpu() if keep else value.full_tensor().new_empty(0)
                    made[value] = nn.Parameter(together, requires_grad=value.requires_grad)
                part._parameters[name] = made[value]
        if isinstance(part, FSDPModule):
            state = part._get_fsdp_state()
            state._pre_forward_hook_handle.remove()
            state._post_forward_hook_handle.remove()
            # FSDP made a class of its own for the module, over FSDPModule and the module's class.
            part.__class__ = type(part).__mro__[2]


def _sharded(model: PreTrainedModel) -> list[FSDPModule]:
    return [module for module in cast(nn.Module, model).modules() if isinstance(module, FSDPModule)]

"""Which parts of a model are its new head, its layers, its linear products."""

from collections.abc import Iterator
from typing import Any, cast

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from shared.modeling.kinds.heads import HEAD_PARTS

WITH_HEAD = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
HEADS = frozenset(HEAD_PARTS)
FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "layer_norm")


def head_names(model: PreTrainedModel) -> list[str]:
    """Names of the modules that a base model may lack, outermost only; empty for models without a new head.

    BERT's pooler counts as one: it lies between the body and the classifier, and few bases have a trained one.
    """
    if not type(model).__name__.endswith(WITH_HEAD):
        return []
    found: list[str] = []
    for name, _ in model.named_modules():
        if name.rpartition(".")[2] in HEAD_PARTS and not any(name.startswith(f"{outer}.") for outer in found):
            found.append(name)
    return found


def in_head(model: nn.Module, parameter: str) -> bool:
    """Whether a parameter belongs to a new head, an adapter around the model or not."""
    inner = cast(Any, model).get_base_model() if hasattr(model, "get_base_model") else model
    return type(inner).__name__.endswith(WITH_HEAD) and not HEADS.isdisjoint(parameter.split("."))


def linear_names(model: PreTrainedModel) -> list[str]:
    """Names of the body's linear layers: without the head, a pooler that no head uses, and the output layer."""
    output = cast(Any, model).get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not output and HEADS.isdisjoint(name.split("."))
    ]


def layer_stacks(model: PreTrainedModel) -> Iterator[tuple[str, nn.ModuleList]]:
    """The stacks of transformer layers by name: one, or those of encoder and decoder."""
    config: Any = model.config
    depths = {getattr(config, key, None) for key in ("num_hidden_layers", "encoder_layers", "decoder_layers")}
    depths |= {getattr(config, key, None) for key in ("num_layers", "num_decoder_layers")}
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) in depths and _is_stack(module):
            yield name, module


def final_norms(model: PreTrainedModel, stack: str) -> Iterator[nn.Module]:
    """The norms that follow a stack of layers."""
    for name, module in model.get_submodule(stack.rpartition(".")[0]).named_children():
        if name in FINAL_NORMS:
            yield module


def _is_stack(modules: nn.ModuleList) -> bool:
    return all(isinstance(module, nn.Module) and any(True for _ in module.children()) for module in modules)

"""Which linear layers an adapter goes on."""

from collections.abc import Sequence

from transformers import PreTrainedModel

from shared.errors import InvalidArgument
from shared.modeling.methods.parts import linear_names


def chosen_layers(model: PreTrainedModel, targets: Sequence[str] | None) -> list[str]:
    """Names of the linear layers that are meant: all of the body's, or those whose name ends with a target.

    Raises InvalidArgument for a target that the model does not have.
    """
    linear = linear_names(model)
    if targets is None:
        return linear
    for target in targets:
        if not any(is_named(name, target) for name in linear):
            known = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
            raise InvalidArgument(
                f"method.targets: the base model has no linear layer {target!r}; it has {known}", field="method.targets"
            )
    return [name for name in linear if any(is_named(name, target) for target in targets)]


def is_named(name: str, target: str) -> bool:
    """Whether a layer's full name ends with the target."""
    return name == target or name.endswith(f".{target}")


def shortest_names(model: PreTrainedModel, chosen: Sequence[str]) -> tuple[list[str], list[str]]:
    """The last words of the chosen layers, and the full names of modules that have such a word and are not chosen."""
    words = {name.rpartition(".")[2] for name in chosen}
    kept = set(chosen)
    others = [name for name, _ in model.named_modules() if name.rpartition(".")[2] in words and name not in kept]
    return sorted(words), others

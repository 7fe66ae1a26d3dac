"""Whether a base model can be trained as a pipeline says, as far as its files tell without torch."""

from shared.errors import InvalidArgument
from shared.pipelines.architectures import (
    Architecture,
    Family,
    find_architecture,
    is_key_or_value,
    is_second_feed_forward,
)
from shared.pipelines.kinds import NEW_BASE
from shared.pipelines.method_defaults import LOW_RANK
from shared.pipelines.methods import VIRTUAL, MethodConfig

WRITING = ("chat", "instruction", "generation")
REWRITING = ("translation", "summarisation")
PREFIX_ENCODERS = ("bert", "roberta", "xlm-roberta", "camembert", "electra")
"""Encoders that take keys and values from outside."""
LEAST_TEXT = 8
"""Positions that must be left for a text."""


def check_method(kind: str, base: str, method: MethodConfig) -> None:
    """Raises InvalidArgument naming the field when the base can't be trained for this kind by this method.

    Checks nothing for a base whose files are not here: a hub id, or a pipeline's model.
    """
    if base == NEW_BASE:
        if method.name != "full":
            raise _refused("name", f"a new model has nothing to keep frozen: train it with full, not {method.name}")
        return
    if base.startswith("model:"):
        return
    try:
        about = find_architecture(base)
    except ValueError as error:
        raise InvalidArgument(f"base: {error}", field="base") from None
    if about is None:
        return
    if (reason := _why_not_kind(kind, about)) is not None:
        raise InvalidArgument(f"base: {base!r} {reason}", field="base")
    if (reason := why_not_method(about, method)) is not None:
        field, _, text = reason.partition(": ")
        raise _refused(field, text)


def why_not_method(about: Architecture, method: MethodConfig) -> str | None:
    """Why a base can't be trained by a method, as `key: reason`; None when it can."""
    if method.name == "last_layers" and about.layers and method.layers > about.layers:
        return f"layers: {method.layers} is more than the {about.layers} layers of the base model"
    if method.name in VIRTUAL:
        return why_no_virtual_tokens(about, method)
    if method.name in (*LOW_RANK, "ia3") and about.linear:
        return _why_no_targets(about, method)
    return None


def why_no_virtual_tokens(about: Architecture, method: MethodConfig) -> str | None:
    """Why virtual tokens can't stand before the texts of a base, as `key: reason`; None when they can."""
    if about.family is Family.SEQ2SEQ:
        return f"name: {method.name} is for encoders and causal models, and the base is a {about.family}; use lora"
    if method.name == "prefix_tuning" and about.family is Family.ENCODER and about.model_type not in PREFIX_ENCODERS:
        return (
            f"name: models of type {about.model_type} take no keys and values from outside, so prefix_tuning can't "
            "train them; use prompt_tuning"
        )
    if about.positions and method.virtual_tokens > about.positions - LEAST_TEXT:
        return f"virtual_tokens: {method.virtual_tokens} leave no text in the base model's {about.positions} positions"
    return None


def _why_not_kind(kind: str, about: Architecture) -> str | None:
    if kind in WRITING and about.family is not Family.DECODER:
        return f"is no causal model but of type {about.model_type}; kind {kind} needs a causal model"
    if kind in REWRITING and about.family is Family.ENCODER:
        return f"is an encoder; kind {kind} needs a causal or a sequence-to-sequence model"
    return None


def _why_no_targets(about: Architecture, method: MethodConfig) -> str | None:
    for target in method.targets or ():
        if not any(name == target or name.endswith(f".{target}") for name in about.linear):
            layers = sorted({name.rpartition(".")[2] for name in about.linear if any(c.isdigit() for c in name)})
            return f"targets: the base model has no linear layer {target!r}; it has {', '.join(layers)}"
    if method.name == "ia3" and method.targets is None:
        for wanted in (is_key_or_value, is_second_feed_forward):
            if not any(map(wanted, about.linear)):
                return "targets: which layers of the base model make keys and values is not known; name them"
    return None


def _refused(key: str, reason: str) -> InvalidArgument:
    return InvalidArgument(f"method.{key}: {reason}", field=f"method.{key}")

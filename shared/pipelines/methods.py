"""The ways to adapt a base model, with tested defaults for each task kind and one line of help per key.

Torch-free: the pipeline schema, `flywheel explain` and the control service read it. Whether a method fits a base
model is `shared.pipelines.fitting`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.pipelines.kinds import KINDS
from shared.pipelines.method_defaults import WITHOUT_HEAD, refusal, tested_defaults

MethodName = Literal[
    "full",
    "head",
    "last_layers",
    "lora",
    "rslora",
    "dora",
    "adalora",
    "ia3",
    "prefix_tuning",
    "prompt_tuning",
    "p_tuning",
]
METHOD_NAMES: tuple[MethodName, ...] = get_args(MethodName)
LOW_RANK = ("lora", "rslora", "dora", "adalora")
VIRTUAL = ("prefix_tuning", "prompt_tuning", "p_tuning")
ADAPTERS = (*LOW_RANK, "ia3", *VIRTUAL)
EFFECTIVE_WITH: dict[str, tuple[str, ...]] = {
    "head_learning_rate": ("full", "last_layers", *LOW_RANK, "ia3", *VIRTUAL),
    "lora_rank": LOW_RANK,
    "lora_alpha": LOW_RANK,
    "lora_dropout": LOW_RANK,
    "initial_rank": ("adalora",),
    "targets": (*LOW_RANK, "ia3"),
    "layers": ("last_layers",),
    "virtual_tokens": VIRTUAL,
    "base_precision": ADAPTERS,
}
"""Keys that mean something to some methods only."""
Target = Annotated[str, StringConstraints(pattern=r"^\w+(\.\w+)*$", max_length=200)]


class MethodConfig(BaseModel):
    """How the weights are adapted. Built for a task kind by `resolve_method`, which fills in the defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: MethodName = Field(
        "full",
        description="full: every weight; head: the new head; last_layers: the last layers and the head; an adapter "
        "on a frozen base: lora, rslora, dora, adalora, ia3; tokens learnt before the text: prefix_tuning, "
        "prompt_tuning, p_tuning.",
    )
    learning_rate: float = Field(2e-4, gt=0, le=1, description="Peak learning rate of AdamW.")
    head_learning_rate: float | None = Field(
        None, gt=0, le=1, description="Peak learning rate of the new head; none: that of the rest (kinds with a head)."
    )
    epochs: int = Field(2, ge=1, le=1000, description="Passes over the train split.")
    batch_size: int = Field(32, ge=1, le=4096, description="Rows in one forward pass.")
    gradient_accumulation: int = Field(1, ge=1, le=4096, description="Batches added up into one step.")
    max_length: int = Field(128, ge=8, le=131072, description="Tokens a row may have; longer ones are cut.")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear",
        description="How the learning rate goes after warm-up: down to 0 in a line or a cosine, or stays.",
    )
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="Share of all steps in which the rate rises from 0.")
    weight_decay: float = Field(0.01, ge=0, le=1, description="AdamW's decay of weight matrices.")
    max_gradient_norm: float = Field(1.0, gt=0, description="Gradients longer than this are scaled down to it.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Probability taken from the target and spread out.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Arithmetic of a step; the weights kept are float32. auto: bfloat16 where it is fast.",
    )
    lora_rank: int = Field(
        16, ge=1, le=1024, description="Rank of the adapter; of adalora the mean rank in the end (low-rank methods)."
    )
    lora_alpha: float = Field(
        32.0,
        gt=0,
        description="Scale of the adapter is alpha / rank, of rslora alpha / root of rank (low-rank methods).",
    )
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the adapter (low-rank methods).")
    initial_rank: int = Field(24, ge=2, le=1024, description="Rank that is cut down to lora_rank (adalora).")
    targets: tuple[Target, ...] | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Names of the linear layers that are adapted, such as q_proj; none: all, of ia3 keys, values and "
        "the second feed-forward layer (low-rank methods, ia3).",
    )
    layers: int = Field(2, ge=1, le=1000, description="So many of the last layers are trained (last_layers).")
    virtual_tokens: int = Field(
        32, ge=1, le=1024, description="Learnt tokens before every text (prefix_tuning, prompt_tuning, p_tuning)."
    )
    base_precision: Literal["float32", "int8", "int4"] = Field(
        "float32", description="How the frozen base is held while it is trained upon (adapters)."
    )


METHODS: dict[tuple[str, str], MethodConfig] = {
    (kind, method): MethodConfig(name=method, **tested_defaults(kind, method))
    for kind in KINDS
    for method in METHOD_NAMES
    if refusal(kind, method) is None
}
"""What every kind takes."""


def complete_method(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a method: the tested defaults of (kind, method), with the given ones over them, unchecked.

    Raises ValueError when the kind can't take the method, or a given key would silently have no effect.
    """
    name = str(given.get("name", "full"))
    defaults = METHODS.get((kind, name))
    if defaults is None:
        known = ", ".join(method for of, method in METHODS if of == kind)
        if name in METHOD_NAMES and kind in KINDS:
            raise ValueError(
                f"method.name: kind {kind} can't be trained with {name}: {refusal(kind, name)}; use {known}"
            )
        raise ValueError(f"method.name: {name!r} is no method for kind {kind!r}; known: {known or 'none'}")
    for key, methods in EFFECTIVE_WITH.items():
        if name not in methods and given.get(key) not in (None, MethodConfig.model_fields[key].default):
            raise ValueError(f"method.{key}: has an effect only with method {_listed(methods)}, not {name}")
    if kind in WITHOUT_HEAD and given.get("head_learning_rate") is not None:
        raise ValueError(f"method.head_learning_rate: has no effect with kind {kind}, which has no head of its own")
    complete = {**defaults.model_dump(), **given}
    _check_ranks(name, complete)
    return complete


def resolve_method(kind: str, given: Mapping[str, Any]) -> MethodConfig:
    """The method of a pipeline, complete and checked.

    Raises ValueError as `complete_method` does, and pydantic's ValidationError (a ValueError too) when a key is
    unknown or out of range.
    """
    return MethodConfig.model_validate(complete_method(kind, given))


def _check_ranks(name: str, keys: Mapping[str, Any]) -> None:
    rank, initial = keys["lora_rank"], keys["initial_rank"]
    if name == "adalora" and isinstance(rank, int) and isinstance(initial, int) and initial <= rank:
        raise ValueError(
            f"method.initial_rank: {initial} leaves adalora no ranks to take away; it must be above lora_rank ({rank})"
        )


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"

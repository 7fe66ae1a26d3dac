"""The ways to adapt a base model, with tested defaults for each task kind and one line of help per key.

Torch-free: the pipeline schema, `flywheel explain pipeline` and the control service read it.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

METHOD_NAMES = ("full", "lora")
LORA_KEYS = ("lora_rank", "lora_alpha", "lora_dropout")


class MethodConfig(BaseModel):
    """How the weights are adapted. Built for a task kind by `resolve_method`, which fills in the defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["full", "lora"] = Field("full", description="full: every weight; lora: a small adapter.")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="Peak learning rate of AdamW.")
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
    lora_rank: int = Field(16, ge=1, le=1024, description="Rank of the adapter (lora only).")
    lora_alpha: float = Field(32.0, gt=0, description="Scale of the adapter is alpha / rank (lora only).")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the adapter (lora only).")


METHODS: dict[tuple[str, str], MethodConfig] = {
    ("classification", "full"): MethodConfig(name="full", learning_rate=2e-4, epochs=2, batch_size=32, max_length=128),
    ("classification", "lora"): MethodConfig(name="lora", learning_rate=2e-3, epochs=3, batch_size=32, max_length=128),
    ("chat", "full"): MethodConfig(name="full", learning_rate=1e-4, epochs=2, batch_size=8, max_length=1024),
    ("chat", "lora"): MethodConfig(name="lora", learning_rate=1e-3, epochs=1, batch_size=8, max_length=1024),
}


def complete_method(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a method: the tested defaults of (kind, method), with the given ones over them, unchecked.

    Raises ValueError when the kind has no such method, or a given key would silently have no effect.
    """
    name = given.get("name", "full")
    defaults = METHODS.get((kind, str(name)))
    if defaults is None:
        known = ", ".join(method for of, method in METHODS if of == kind)
        raise ValueError(f"method.name: {name!r} is no method for kind {kind!r}; known: {known or 'none'}")
    if name != "lora":
        for key in LORA_KEYS:
            if given.get(key, getattr(defaults, key)) != getattr(defaults, key):
                raise ValueError(f"method.{key}: has an effect only with method lora, not {name}")
    return {**defaults.model_dump(), **given}


def resolve_method(kind: str, given: Mapping[str, Any]) -> MethodConfig:
    """The method of a pipeline, complete and checked.

    Raises ValueError as `complete_method` does, and pydantic's ValidationError (a ValueError too) when a key is
    unknown or out of range.
    """
    return MethodConfig.model_validate(complete_method(kind, given))

"""The ways to adapt a base model, with tested defaults for each task kind and one line of help per key.

Torch-free: the pipeline schema, `flywheel explain` and the control service read it. Whether a method fits a base
model is `shared.pipelines.fitting`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.pipelines.kinds import KINDS, NEW_BASE
from shared.pipelines.method_defaults import LOW_RANK, WITHOUT_HEAD, refusal, tested_defaults
from shared.pipelines.method_refusals import refuse_contradictions
from shared.pipelines.train_rows import Augmentation, Replay, check_train_rows

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
    "gradient_checkpointing": ("full", "last_layers", *LOW_RANK, "ia3"),
}
"""Keys that mean something to some methods only."""
FIRST_KEYS = (
    "name",
    "learning_rate",
    "epochs",
    "batch_size",
    "gradient_accumulation",
    "max_length",
    "schedule",
    "warmup_ratio",
    "weight_decay",
    "max_gradient_norm",
    "label_smoothing",
    "precision",
    "lora_rank",
    "lora_alpha",
    "lora_dropout",
    "initial_rank",
    "targets",
    "layers",
    "virtual_tokens",
    "base_precision",
)
CLOSED = {
    "adalora": "it has given up the ranks that it did not need",
    "p_tuning": "its version holds the tokens, not the network that wrote them",
}
"""Methods whose versions no run can begin with, and why."""
Target = Annotated[str, StringConstraints(pattern=r"^\w+(\.\w+)*$", max_length=200)]
ClassWeight = Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]


class MethodConfig(BaseModel):
    """How the weights are adapted. Built for a task kind by `resolve_method`, which fills in the defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: MethodName = Field(
        "full",
        description="full: every weight; head: the new head; last_layers: the last layers and the head; an adapter "
        "on a frozen base: lora, rslora, dora, adalora, ia3; tokens learnt before the text: prefix_tuning, "
        "prompt_tuning, p_tuning.",
    )
    learning_rate: float = Field(2e-4, gt=0, le=1, description="Peak learning rate, as AdamW means it.")
    head_learning_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Peak learning rate of the new head, learning_rate when only that is given (kinds with a head).",
    )
    epochs: int = Field(2, ge=1, le=1000, description="Passes over the train split.")
    batch_size: int = Field(32, ge=1, le=4096, description="Rows in one forward pass.")
    gradient_accumulation: int = Field(1, ge=1, le=4096, description="Batches added up into one step.")
    max_length: int = Field(128, ge=8, le=131072, description="Tokens a row may have; longer ones are cut.")
    optimizer: Literal["adamw", "adamw_8bit", "adafactor", "sgd"] = Field(
        "adamw",
        description="adamw_8bit: its memory in a quarter of the bytes; adafactor: with almost none; sgd: with momentum "
        "0.9, at a learning rate that must be given.",
    )
    packing: bool | Literal["auto"] = Field(
        "auto",
        description="Texts of a batch end to end instead of padded, with the same loss. auto: where it can be and is "
        "faster (causal models that write).",
    )
    rows: Literal["all", "new"] = Field(
        "all",
        description="new: only rows that the champion's dataset version did not have; all of them before there is a "
        "champion.",
    )
    replay: Replay | None = Field(
        None, description="Some earlier rows beside the new ones, so that they are not forgotten (rows: new)."
    )
    augmentation: Augmentation | None = Field(
        None, description="Words and tokens of the texts changed anew in every epoch (kinds that choose or compare)."
    )
    schedule: Literal["linear", "cosine", "constant", "one_cycle"] = Field(
        "linear",
        description="How the learning rate goes after warm-up: down to 0 in a line or a cosine, or stays; one_cycle: "
        "up and down in cosines, momentum the other way.",
    )
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="Share of all steps in which the rate rises from 0.")
    weight_decay: float = Field(
        0.01, ge=0, le=1, description="Decay of weight matrices; embeddings, norms and biases have none."
    )
    max_gradient_norm: float = Field(1.0, gt=0, description="Gradients longer than this are scaled down to it.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Probability taken from the target and spread out.")
    class_weights: Literal["none", "balanced"] | dict[str, ClassWeight] = Field(
        "none",
        description="How much each label counts in the loss: balanced, by how seldom it is, or label: weight with 1 for "
        "the others; with multi_label, its presence in a row (kinds with labels).",
    )
    dropout: float | None = Field(None, ge=0, lt=1, description="Every dropout rate of the model; none: its own.")
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Validate and keep a moving average of the weights with this decay, such as 0.999.",
    )
    validate_every_steps: int | None = Field(
        None, ge=1, description="Steps between two validations, and one at the end; none: one after every epoch."
    )
    patience: int | None = Field(
        None, ge=1, le=1000, description="Validations without a better score after which training ends early."
    )
    keep_best: bool | None = Field(
        None, description="The model is that of the best validation, not the last step's; none: with patience."
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute layers twice instead of keeping them: less memory, more time, the same gradients."
    )
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

    @property
    def keeps_best(self) -> bool:
        return self.patience is not None if self.keep_best is None else self.keep_best

    def decides(self) -> dict[str, Any]:
        """The keys that decide the weights: those of the first release, and others where they are not at their default,
        so that a key added later changes nothing for runs that do not use it."""
        given = self.model_dump()
        return {
            key: value
            for key, value in given.items()
            if key in FIRST_KEYS or value != type(self).model_fields[key].default
        }


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
    check_train_rows(kind, name, given, virtual=name in VIRTUAL)
    complete = {**defaults.model_dump(), **given}
    if "learning_rate" in given and "head_learning_rate" not in given:
        complete["head_learning_rate"] = None
    refuse_contradictions(kind, given, complete)
    return complete


def resolve_method(kind: str, given: Mapping[str, Any]) -> MethodConfig:
    """The method of a pipeline, complete and checked.

    Raises ValueError as `complete_method` does, and pydantic's ValidationError (a ValueError too) when a key is
    unknown or out of range.
    """
    return MethodConfig.model_validate(complete_method(kind, given))


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def check_start(base: str, method: str) -> None:
    """Raises ValueError, naming the field, where a run can't begin with an earlier version's weights."""
    if base == NEW_BASE:
        raise ValueError("start: a model made from scratch begins anew; to go on, declare base: model:NAME@champion")
    if method in CLOSED:
        raise ValueError(f"start: what {method} leaves can't be trained on: {CLOSED[method]}; use start: base")

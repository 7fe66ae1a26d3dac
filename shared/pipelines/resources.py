"""How many processes train a model together, and what each of them holds. Torch-free."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.pipelines.methods import VIRTUAL, MethodConfig

Sharding = Literal["none", "full"]


class Resources(BaseModel):
    """What a run is given to compute with; it never changes what is computed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Kind of device whose workers take the jobs; auto: that of the platform."
    )
    processes: int = Field(
        1, ge=1, le=64, description="Processes that share the batches of each step; with GPUs one a device."
    )
    sharding: Sharding = Field(
        "none",
        description="none: every process holds the whole model; full: weights, gradients and the optimizer's state "
        "are split among them (FSDP).",
    )


def check_resources(resources: Resources, method: MethodConfig) -> None:
    """Raises ValueError, as `key: reason`, when a method can't be trained by so many processes, or in pieces."""
    if resources.processes > method.gradient_accumulation:
        raise ValueError(
            f"resources.processes: a step has {method.gradient_accumulation} batches (method.gradient_accumulation), "
            f"too few for {resources.processes} processes; smaller batches and more of them make the same step"
        )
    if resources.sharding == "none":
        return
    if resources.processes == 1:
        raise ValueError("resources.sharding: has no effect with one process")
    reason = _why_not_in_pieces(method)
    if reason is not None:
        raise ValueError(f"resources.sharding: {reason}; use none")


def _why_not_in_pieces(method: MethodConfig) -> str | None:
    if method.name == "adalora":
        return "adalora looks at whole matrices between steps"
    if method.name in VIRTUAL:
        return f"{method.name} computes its virtual tokens outside of the model that would be split"
    if method.optimizer not in ("adamw", "sgd"):
        return f"{method.optimizer} looks at whole matrices, or at blocks of them"
    if method.base_precision != "float32":
        return f"a base held as {method.base_precision} is not split"
    return None

"""The pipeline file: what it may say, with defaults. Torch-free; reading YAML is shared.pipelines.reading.

`PipelineSpec` is what every service works from; it is stored as JSON with its defaults filled in, so that
a later change of a default changes no running pipeline.
"""

import re
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from shared.pipelines.cleaning import check_cleaning
from shared.pipelines.data import Data
from shared.pipelines.dividing import check_dividing
from shared.pipelines.from_scratch import check_pretraining
from shared.pipelines.kinds import KINDS, METRICS, NEW_BASE, PRIMARY, KindName
from shared.pipelines.method_fit import check_method
from shared.pipelines.methods import MethodConfig, check_start, complete_method
from shared.pipelines.options import Options, check_options
from shared.pipelines.part import Part, Seconds
from shared.pipelines.resources import Resources, check_resources
from shared.pipelines.searching import SearchPlan

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


class Trigger(Part):
    new_rows: int | None = Field(1000, ge=1, description="Rows since the last job's dataset version that start a job.")
    cooldown: Seconds = Field(30, ge=0, description="Time between two jobs: seconds, or 30s, 5m, 2h, 1d.")
    priority: int = Field(0, ge=-100, le=100, description="Of its jobs in the queue; higher goes first.")


class Comparison(Part):
    """Non-inferiority on the same test rows, by paired bootstrap."""

    metric: str = Field(description="Metric to compare.")
    margin: float = Field(0.0, ge=0, description="How much worse is still accepted.")
    confidence: float = Field(0.95, ge=0.5, lt=1, description="Confidence that it is not worse than that.")


class Gate(Part):
    floors: dict[str, float] = Field(default_factory=dict, description="Metric: least value that passes.")
    ceilings: dict[str, float] = Field(default_factory=dict, description="Metric: greatest value that passes.")
    champion: Comparison | None = Field(None, description="Against the champion; by default the kind's first metric.")
    base: Comparison | None = Field(None, description="Against the untouched base model, where it can answer.")
    test_rows: int = Field(5000, ge=20, description="At most this many test rows judge; a fair sample of them.")
    hold_batches: bool = Field(True, description="Hold the new batches of a version that is worse than the champion.")


class Rollout(Part):
    automatic: bool = Field(True, description="A blessed version becomes champion without a person.")


class Budget(Part):
    """A job that uses it up fails and keeps its checkpoint; it is resumed with a larger one."""

    seconds: Seconds = Field(1800, gt=0, description="Time that a job may train, over all its runs.")
    steps: int | None = Field(None, ge=1, description="Steps that a job may make.")
    cost: float | None = Field(
        None, gt=0, description="Cost units that a job may take: seconds times the rate of its device kind (settings)."
    )


class PipelineSpec(Part):
    """The declared loop of one model."""

    name: str = Field(description="Name of the pipeline, its model and its dataset: a-z, 0-9 and -.")
    kind: KindName = Field(description=f"What the model does: {', '.join(KINDS)}.")
    options: Options = Field(default_factory=Options, description="Settings of the task kind.")
    labels: list[str] | None = Field(
        None, description="Labels (for token_classification: entity labels); learnt from the data when absent."
    )
    base: str = Field(
        description="Base model: a folder, an installed package, a hub id, model:NAME@champion, or, for "
        "pretraining, new: made from scratch."
    )
    start: Literal["base", "champion"] = Field(
        "base",
        description="What a run begins with: the base model, or the weights of the model's champion (the base while "
        "there is none, or when its labels, base or adapter do not fit any more).",
    )
    method: MethodConfig = Field(
        default_factory=dict, validate_default=True, description="How the weights are adapted."
    )
    resources: Resources = Field(default_factory=Resources, description="What a run computes with.")
    data: Data = Field(default_factory=Data, description="Where a row's fields are, and how rows are divided.")
    trigger: Trigger = Field(default_factory=Trigger, description="What starts a job.")
    gate: Gate = Field(default_factory=Gate, description="What a version must show before it may be champion.")
    rollout: Rollout = Field(default_factory=Rollout, description="How a blessed version goes into service.")
    budget: Budget = Field(default_factory=Budget, description="What a run may cost.")
    search: SearchPlan | None = Field(None, description="What `flywheel search` tries.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of data order, head and dropout.")

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError("must start with a letter and hold only a-z, 0-9 and -, at most 63 of them")
        return value

    @field_validator("labels")
    @classmethod
    def _labels_enough(cls, value: list[str] | None, info: ValidationInfo) -> list[str] | None:
        """Entities of one sort are told from what is none."""
        least = 1 if info.data.get("kind") == "token_classification" else 2
        if value is not None and (len(value) < least or len(set(value)) < len(value) or not all(value)):
            raise ValueError(f"needs at least {('one label', 'two labels')[least - 1]}, none empty, none twice")
        return value

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_kinds_defaults(cls, given: Any) -> Any:
        """The method's and the gate's defaults depend on the kind."""
        kind = given.get("kind") if isinstance(given, dict) else None
        if kind not in METRICS:
            return given
        filled = dict(given)
        if isinstance(given.get("options"), dict):
            check_options(kind, given["options"])
        method = given.get("method") or {}
        if isinstance(method, dict):
            filled["method"] = complete_method(kind, method)
        gate = given.get("gate") or {}
        if isinstance(gate, dict):
            filled["gate"] = {"champion": {"metric": PRIMARY[kind], "margin": 0.01}, **gate}
        return filled

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        facts, known, gate = KINDS[self.kind], METRICS[self.kind], self.gate
        if self.labels is not None and not facts.labelled:
            raise ValueError(f"labels: kind {self.kind} has no labels")
        if self.base == NEW_BASE and self.kind != "pretraining":
            raise ValueError(f"base: only pretraining makes a new model, not kind {self.kind}")
        if self.kind == "pretraining":
            check_pretraining(self.base, self.options, self.method.name)
        check_resources(self.resources, self.method)
        check_cleaning(self.kind, self.data.cleaning, self.data.personal_data)
        check_dividing(self.data.splits, self.data.conflicts, self.kind, facts.labelled)
        check_method(self.method, self.kind, self.labels, self.data.splits.validation)
        if self.start == "champion":
            check_start(self.base, self.method.name)
        if gate.base is not None and not (facts.base_answers and self.base != NEW_BASE):
            raise ValueError(
                "gate.base: the untouched base model has no head to answer with; compare with the champion"
            )
        named = [("floors", name) for name in gate.floors] + [("ceilings", name) for name in gate.ceilings]
        named += [("champion", gate.champion.metric)] if gate.champion else []
        named += [("base", gate.base.metric)] if gate.base else []
        for key, metric in named:
            if metric not in known:
                raise ValueError(f"gate.{key}: kind {self.kind} has no metric {metric!r}; it has {', '.join(known)}")
        return self

"""What the supervisor tells the training process, and the words and exit codes they share. Torch-free."""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from shared.pipelines.kinds import KINDS
from shared.pipelines.methods import MethodConfig
from shared.pipelines.options import Options
from shared.pipelines.resources import Resources

EXIT_FINISHED = 0
EXIT_FAILED = 1
EXIT_DRAINED = 75
"""Stopped on request after a checkpoint; starting again continues."""


STRICT = ConfigDict(extra="forbid")


def _distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(labels)) != len(labels):
        raise ValueError("labels must differ from one another")
    return labels


Name = Annotated[str, Field(min_length=1)]
Labels = Annotated[tuple[Name, ...], AfterValidator(_distinct)]


class FailureReason(StrEnum):
    """The `reason` of a `failed` event."""

    BAD_SPEC = "BAD_SPEC"
    BAD_DATA = "BAD_DATA"
    BASE_MISSING = "BASE_MISSING"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NOT_FINITE = "NOT_FINITE"
    DISK_FULL = "DISK_FULL"
    BUDGET = "BUDGET"
    HUNG = "HUNG"
    REVISION = "REVISION"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True)
class DatasetPart:
    """One local Parquet file of a dataset version."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    path: Path
    digest: Name
    """SHA-256 of the file, hex."""


@dataclass(frozen=True)
class DatasetInput:
    """A dataset version as local files."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    digest: Name
    parts: tuple[DatasetPart, ...]


@dataclass(frozen=True)
class Start:
    """A version of the model whose weights training begins with, instead of the base model's or a fresh adapter."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    version: Annotated[int, Field(ge=1)]
    folder: Path
    digest: Name
    """Of its adapter, or of its weights where it is a whole model."""


@dataclass(frozen=True)
class TrainedBefore:
    """The dataset version that the champion was trained on, where a run is to learn what is new since."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    version: Annotated[int, Field(ge=1)]
    digest: Name
    parts: frozenset[str]
    """Digests of its parts."""


@dataclass(frozen=True)
class Paraphrases:
    """Train texts in other words: a Parquet file of `row_id`, `field` and `text`."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    path: Path
    digest: Name
    """SHA-256 of the file, hex."""
    by: tuple[Name, ...]
    """Model versions that translated, as MODEL@VERSION."""


@dataclass(frozen=True)
class TrainingSpec:
    """Everything one run needs. The same `identity` gives the same weights on CPU with the same threads."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    run: Name
    job: Name
    pipeline: Name
    kind: Name
    base: Name
    base_cache: Path
    method: MethodConfig
    labels: Labels | None
    """None: learnt from the train split, sorted. Ignored by kinds without labels."""
    dataset: DatasetInput
    work_dir: Path
    output_dir: Path
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=1)] = 2
    checkpoint_every_steps: Annotated[int, Field(ge=1)] | None = None
    checkpoint_every_seconds: Annotated[float, Field(gt=0)] | None = 60.0
    keep_checkpoints: Annotated[int, Field(ge=1)] = 2
    device: Name = "cpu"
    budget_seconds: Annotated[float, Field(gt=0)] | None = None
    options: Options = field(default_factory=Options)
    resources: Resources = field(default_factory=Resources)
    """No part of the identity: a run goes on with another number of processes."""
    base_digest: str = ""
    """Of the base, where it is known beforehand; another base is refused."""
    start: Start | None = None
    """None: the base model."""
    notes: tuple[str, ...] = ()
    """What a reader of the run's log should know beforehand."""
    budget_steps: Annotated[int, Field(ge=1)] | None = None
    revision: str = ""
    """Of the code, kept in every checkpoint; empty: neither kept nor checked."""
    trained_before: TrainedBefore | None = None
    """None: no row was."""
    any_revision: bool = False
    """Go on also at a checkpoint that another code revision made."""
    paraphrases: Paraphrases | None = None
    """What back-translation made of the train rows, where the method asks for it."""

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Parse a spec; raises ValueError naming the field that is missing, unknown or of a wrong type."""
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(["spec", *map(str, first["loc"])])
            raise ValueError(f"{where}: {first['msg']}") from None

    def to_json(self) -> str:
        """The form that `from_json` reads."""
        return TypeAdapter(type(self)).dump_json(self, indent=1).decode()

    def identity(self, base_digest: str) -> str:
        """Digest of all that decides the weights: not of paths, ids of attempts, limits or the machine."""
        decides = {
            "kind": self.kind,
            "base": base_digest,
            "method": self.method.decides(),
            "labels": self.labels,
            "dataset": self.dataset.digest,
            "seed": self.seed,
            "options": self.options.chosen(self.kind) if self.kind in KINDS else {},
        }
        if self.start is not None:
            decides["start"] = self.start.digest
        if self.trained_before is not None:
            decides["trained_before"] = self.trained_before.digest
        if self.paraphrases is not None:
            decides["paraphrases"] = self.paraphrases.digest
        return sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

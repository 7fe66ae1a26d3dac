"""What the control service answers. Times are seconds."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Pipeline:
    name: str
    revision: int
    spec: dict[str, Any]
    created_at: datetime | None
    updated_at: datetime | None
    unchanged: bool


@dataclass(frozen=True)
class Budget:
    """What a job may cost, or has cost, over all its runs: seconds spent training, steps, cost units."""

    seconds: float | None = None
    steps: int | None = None
    cost: float | None = None


@dataclass(frozen=True)
class Job:
    """States: queued, running, pausing, paused, succeeded, failed, cancelled. Sorts: train, verify, trial."""

    id: str
    pipeline: str
    dataset_version: int
    state: str
    reason: str
    attempt: int
    max_attempts: int
    trigger: str
    step: int
    total_steps: int
    loss: float | None
    tokens_per_second: float | None
    eta: float | None
    model_version: int
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    sort: str = "train"
    clone_of: str = ""
    verifies: int = 0
    search: str = ""
    trial: int | None = None
    outcome: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    """A stable word for why it failed, such as BUDGET or HUNG."""
    tenant: str = ""
    priority: int = 0
    device: str = ""
    budget: "Budget | None" = None
    spent: "Budget | None" = None
    estimated_finish: datetime | None = None
    last_heard: datetime | None = None
    due_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class SearchTrial:
    """States: waiting, running, complete, pruned, failed. `reports` are the metric at each validation."""

    number: int
    job: str
    state: str
    params: dict[str, Any]
    value: float | None
    reports: tuple[float, ...]


@dataclass(frozen=True)
class Search:
    """States: running, succeeded, failed, cancelled. In lists it has no trials."""

    id: str
    pipeline: str
    dataset_version: int
    state: str
    reason: str
    plan: dict[str, Any]
    trials: tuple[SearchTrial, ...]
    best: int | None
    job: str
    model_version: int
    created_at: datetime | None
    finished_at: datetime | None

    @property
    def is_over(self) -> bool:
        return self.state != "running"


@dataclass(frozen=True)
class JobEvent:
    """kind: state, progress, validation, checkpoint, log or report."""

    sequence: int
    kind: str
    detail: dict[str, Any]
    created_at: datetime | None
    job: Job


@dataclass(frozen=True)
class Run:
    """One attempt at a job."""

    id: str
    job: str
    attempt: int
    state: str
    owner: str
    start_step: int
    step: int
    error: str
    started_at: datetime | None
    finished_at: datetime | None
    revision: str = ""
    """Code revision of its worker."""
    resumed_revision: str = ""
    """Code revision that made the checkpoint it went on at, where that is another one."""
    last_heard: datetime | None = None
    estimated_finish: datetime | None = None


@dataclass(frozen=True)
class Checkpoint:
    run: str
    step: int
    uri: str
    digest: str
    created_at: datetime | None


@dataclass(frozen=True)
class Model:
    name: str
    aliases: dict[str, int]
    newest_version: int


@dataclass(frozen=True)
class ModelVersion:
    model: str
    version: int
    state: str
    kind: str
    method: str
    base: str
    base_digest: str
    weights_uri: str
    weights_digest: str
    adapter_digest: str
    job: str
    run: str
    dataset_version: int
    report: str
    metrics: dict[str, float]
    reasons: tuple[str, ...]
    created_at: datetime | None
    conditions: dict[str, Any] = field(default_factory=dict)
    started_from: int = 0


@dataclass(frozen=True)
class GateReason:
    """One rule of the gate with what it saw."""

    code: str
    passed: bool
    message: str


@dataclass(frozen=True)
class Report:
    """An evaluation report: scores on test rows, and the verdict, pass or fail."""

    id: str
    model: str
    version: int
    champion: int
    dataset_version: int
    test_rows: int
    test_digest: str
    metrics: dict[str, float]
    champion_metrics: dict[str, float]
    base_metrics: dict[str, float]
    detail: dict[str, Any]
    verdict: str
    reasons: tuple[GateReason, ...]
    took: float
    created_at: datetime | None


@dataclass(frozen=True)
class LineageBatch:
    id: str
    batch_key: str
    source: str
    rows: int


@dataclass(frozen=True)
class LineageGraph:
    """An answer or a model version, followed back to its rows."""

    request_id: str
    model_version: ModelVersion
    run: Run
    job: Job
    pipeline: str
    dataset_version: int
    dataset_digest: str
    train_rows: int
    batches: tuple[LineageBatch, ...]
    report: str
    revisions: tuple[str, ...] = ()
    """Code revisions that trained the version, first to last."""


@dataclass(frozen=True)
class AliasMove:
    model: str
    alias: str
    from_version: int
    to_version: int
    actor: str
    reason: str
    created_at: datetime | None


@dataclass(frozen=True)
class TriggerDecision:
    """decision: start, wait or no."""

    pipeline: str
    dataset_version: int
    trigger: str
    decision: str
    reason: str
    job: str
    created_at: datetime | None


@dataclass(frozen=True)
class DeadLetter:
    id: str
    queue: str
    task: str
    type_name: str
    error: str
    attempts: int
    created_at: datetime | None
    replayed_at: datetime | None


@dataclass(frozen=True)
class PipelineStatus:
    name: str
    kind: str
    champion: int
    candidate: int
    rows: int
    dataset_version: int
    state: str
    held_batches: int


@dataclass(frozen=True)
class TrainingWorker:
    """A process that takes jobs for a device kind; `job` is the one that it runs."""

    name: str
    device: str
    revision: str
    job: str
    started_at: datetime | None
    last_heard: datetime | None


@dataclass(frozen=True)
class FleetStatus:
    queues: dict[str, int]
    pipelines: tuple[PipelineStatus, ...]
    dead_letters: int
    broker_ready: bool
    leader: str
    training_workers: tuple[TrainingWorker, ...] = ()

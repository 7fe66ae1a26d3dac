"""Jobs (created by control), and their runs, checkpoints and events (written by finetuning)."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.storage.tables.base import Base, Leased
from shared.storage.types import BigId, Json, UtcDateTime


class Job(Leased, Base):
    """A request to train, and its state. The lease says which worker runs it now."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "pipeline", "state"), Index(None, "state"))

    id: Mapped[str] = mapped_column(primary_key=True)
    pipeline: Mapped[str]
    dataset_version: Mapped[int]
    spec: Mapped[dict[str, Any]] = mapped_column(Json)
    """The pipeline's spec when the job was created; later changes do not touch it."""
    device: Mapped[str]
    """`cpu` or `gpu`: which queue."""
    state: Mapped[str]
    """JOB_STATES."""
    reason: Mapped[str] = mapped_column(default="")
    code: Mapped[str] = mapped_column(default="")
    """A stable word for why it failed, such as BUDGET or HUNG; empty otherwise."""
    tenant: Mapped[str] = mapped_column(default="")
    """Whose share of the workers it counts against; empty where no keys are configured: the pipeline's own."""
    priority: Mapped[int] = mapped_column(default=0)
    """Higher goes first, -100 to 100."""
    budget: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """What it may cost instead of what its spec says: some of seconds, steps and cost."""
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it may be tried again; null when at once."""
    allow_revision: Mapped[bool] = mapped_column(default=False)
    """Whether it may go on at a checkpoint that another code revision made."""
    max_attempts: Mapped[int]
    trigger: Mapped[str]
    sort: Mapped[str] = mapped_column(default="train")
    """`train` makes a model version; `verify` repeats one; `trial` is one try of a search."""
    clone_of: Mapped[str | None]
    """The job that it was made after."""
    verifies: Mapped[int | None]
    """The version that a `verify` job repeats."""
    search: Mapped[str | None] = mapped_column(index=True)
    """The search that a `trial` belongs to, or whose best trial a `train` job takes over."""
    trial: Mapped[int | None]
    """Number of the trial in its search, from 0."""
    outcome: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    """What a job of another sort than `train` ended with."""
    idempotency_key: Mapped[str | None] = mapped_column(unique=True)
    wanted: Mapped[str] = mapped_column(default="run")
    """What its owner wants: `run`, `pause` or `cancel`. The supervisor watches it."""
    model_version: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Run(Base):
    """One attempt at a job."""

    __tablename__ = "runs"
    __table_args__ = (UniqueConstraint("job", "attempt"), Index(None, "finished_at"))

    id: Mapped[str] = mapped_column(primary_key=True)
    job: Mapped[str]
    attempt: Mapped[int]
    fence: Mapped[int]
    state: Mapped[str]
    """RUN_STATES."""
    owner: Mapped[str]
    start_step: Mapped[int] = mapped_column(default=0)
    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int] = mapped_column(default=0)
    loss: Mapped[float | None]
    tokens_per_second: Mapped[float | None]
    eta_seconds: Mapped[float | None]
    estimated_finish_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """By the rate of its last steps; null while that is unknown, and when it has ended."""
    seconds: Mapped[float] = mapped_column(default=0.0)
    """Spent training, over all attempts that left a checkpoint; what the job's budget is compared with."""
    cost: Mapped[float] = mapped_column(default=0.0)
    """The same in cost units."""
    heard_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When its worker last renewed the lease or wrote something."""
    revision: Mapped[str] = mapped_column(default="")
    """Code revision of the worker; empty for runs of old."""
    resumed_revision: Mapped[str] = mapped_column(default="")
    """Code revision that made the checkpoint it went on at, where that is another one."""
    error: Mapped[str] = mapped_column(default="")
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    first_step_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Checkpoint(Base):
    """Resumable state at a step."""

    __tablename__ = "checkpoints"
    __table_args__ = (UniqueConstraint("job", "step", "run"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    job: Mapped[str]
    run: Mapped[str]
    fence: Mapped[int]
    step: Mapped[int]
    uri: Mapped[str]
    digest: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Search(Base):
    """A hyper-parameter search: its trials are jobs of sort `trial`."""

    __tablename__ = "searches"
    __table_args__ = (Index(None, "state"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    pipeline: Mapped[str]
    dataset_version: Mapped[int]
    spec: Mapped[dict[str, Any]] = mapped_column(Json)
    """The pipeline's spec that trials change."""
    plan: Mapped[dict[str, Any]] = mapped_column(Json)
    """shared.pipelines.searching.SearchPlan: the space, how many trials, what is compared."""
    device: Mapped[str]
    max_attempts: Mapped[int]
    state: Mapped[str]
    """SEARCH_STATES."""
    pruned: Mapped[dict[str, int]] = mapped_column(Json, default=dict)
    """Number of a trial: the validation, from 1, after which it was given up."""
    reason: Mapped[str] = mapped_column(default="")
    best: Mapped[str | None]
    """Job of the best trial so far."""
    job: Mapped[str | None]
    """The job that makes the best trial a model version."""
    idempotency_key: Mapped[str | None] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class TrainingWorker(Base):
    """A process that takes jobs; it says so again and again while it lives."""

    __tablename__ = "training_workers"

    owner: Mapped[str] = mapped_column(primary_key=True)
    """As in the leases that it holds."""
    device: Mapped[str] = mapped_column(primary_key=True)
    """`cpu` or `gpu`: whose jobs it takes; a worker that takes both has two rows."""
    revision: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    heard_at: Mapped[datetime] = mapped_column(UtcDateTime)


class JobEvent(Base):
    """One thing that happened to a job, replayable by sequence number."""

    __tablename__ = "job_events"

    job: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """`state`, `progress`, `validation`, `checkpoint`, `log` or `report`."""
    detail: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

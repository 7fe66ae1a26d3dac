"""Dead letters, and how the fleet stands."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.control import audit, waiting
from services.control.leadership import ROLE
from shared.config import Settings
from shared.contracts import codec, routes
from shared.errors import FlywheelError, InvalidArgument
from shared.messaging import broker
from shared.messaging import dead_letters as letters
from shared.storage.database import Database, clock
from shared.storage.repositories import jobs, status
from shared.storage.repositories.status import PipelineStatus
from shared.storage.tables import DeadLetter, Job, TrainingWorker

REPLAY = "replay"


@dataclass(frozen=True)
class FleetStatus:
    """`queues` is empty when the broker does not answer."""

    queues: Mapping[str, int]
    pipelines: list[PipelineStatus]
    dead_letters: int
    broker_ready: bool
    leader: str
    workers: list[tuple[TrainingWorker, str]]
    """Processes that take jobs, each with the job that it runs."""


def list_dead_letters(session: Session, limit: int, offset: int) -> list[DeadLetter]:
    """Messages that were given up, newest first."""
    query = select(DeadLetter).order_by(DeadLetter.created_at.desc(), DeadLetter.id.desc())
    return list(session.scalars(query.limit(limit).offset(offset)))


def replay(session: Session, id: str) -> DeadLetter:
    """Sends a dead letter again; a job that failed can't run again, so another one does the same work.

    Raises NotFound, or what `shared.messaging.dead_letters.replay` raises.
    """
    letter = session.get(DeadLetter, id, with_for_update=True)
    job = _failed_job(session, letter) if letter is not None and letter.replayed_at is None else None
    if letter is None or job is None:
        letters.replay(session, id)
        letter = session.get_one(DeadLetter, id)
    else:
        _train_again(session, letter, job)
    audit.record(session, "replay_dead_letter", id)
    return letter


def fleet_status(settings: Settings, database: Database) -> FleetStatus:
    """The fleet from the database, and the queues from the broker when it answers."""
    ready, queues = _queues(settings)
    with database.read() as session:
        return FleetStatus(
            queues=queues,
            pipelines=status.of_pipelines(session),
            dead_letters=status.dead_letters(session),
            broker_ready=ready,
            leader=status.leader(session, ROLE),
            workers=waiting.heard(session),
        )


def _failed_job(session: Session, letter: DeadLetter) -> Job | None:
    if letter.task != routes.RUN_JOB.task:
        return None
    try:
        message = codec.decode(letter.task, letter.payload).message
    except InvalidArgument:
        return None
    assert isinstance(message, routes.RUN_JOB.message)
    job = session.get(Job, message.job)  # type: ignore[attr-defined]
    return job if job is not None and job.state == "failed" else None


def _train_again(session: Session, letter: DeadLetter, job: Job) -> None:
    jobs.create(
        session,
        pipeline=job.pipeline,
        dataset_version=job.dataset_version,
        spec=job.spec,
        trigger=REPLAY,
        device=job.device,
        max_attempts=job.max_attempts,
        idempotency_key=f"{REPLAY}:{letter.id}",
    )
    letter.replayed_at = clock(session)
    session.flush()


def _queues(settings: Settings) -> tuple[bool, Mapping[str, int]]:
    try:
        if not broker.ping(settings):
            return False, {}
        return True, {name: stats.depth for name, stats in broker.queue_stats(settings).items()}
    except FlywheelError:
        return False, {}

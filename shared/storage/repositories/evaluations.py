"""Evaluations and reports: asking for one, holding it, ending it. Torch-free."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.contracts.codec import encode
from shared.contracts.messages import ConsiderVerdict, EvaluateModelVersion
from shared.contracts.routes import CONSIDER_VERDICT, EVALUATE_MODEL_VERSION
from shared.errors import NotFound
from shared.storage import leases, outbox
from shared.storage.database import clock
from shared.storage.ids import new_id
from shared.storage.leases import Lease
from shared.storage.repositories import models
from shared.storage.states import EVALUATION_STATES, check_transition
from shared.storage.tables import DeadLetter, Evaluation, ModelVersion, Report


def request(session: Session, model: str, version: int) -> Evaluation:
    """Asks for a version to be judged; asking again changes nothing."""
    existing = find(session, model, version)
    if existing is not None:
        return existing
    row = Evaluation(id=new_id("eval"), model=model, version=version, state="queued", created_at=clock(session))
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return get(session, model, version)
    _send(session, row)
    return row


def find(session: Session, model: str, version: int) -> Evaluation | None:
    query = select(Evaluation).where(Evaluation.model == model, Evaluation.version == version)
    return session.execute(query).scalar_one_or_none()


def get(session: Session, model: str, version: int) -> Evaluation:
    """Raises NotFound."""
    row = find(session, model, version)
    if row is None:
        raise NotFound(f"nobody asked for an evaluation of {model} {version}", model=model, version=version)
    return row


def take(session: Session, model: str, version: int, owner: str, seconds: float) -> Lease | None:
    """Holds the evaluation for `owner`; None when it is over or someone else has it. Raises NotFound."""
    row = get(session, model, version)
    if row.state == "failed" and _replayed(session, row):
        row.attempt = 0
        _move(row, "queued")
        session.flush()
    lease = leases.take(session, Evaluation, row.id, owner, seconds, ("queued", "running"))
    if lease is None:
        return None
    session.refresh(row)
    if row.state == "queued":
        _move(row, "running")
    row.started_at, row.done, row.total = clock(session), 0, 0
    return lease


def progress(session: Session, lease: Lease, done: int, total: int, seconds: float) -> None:
    """Renews the lease and notes how far the evaluation is. Raises LeaseLost."""
    leases.renew(session, lease, seconds)
    row = _held(session, lease)
    row.done, row.total = done, total


def finish(session: Session, lease: Lease, report: Report, total: int) -> None:
    """Records the report on all the work, moves the version by its verdict and tells control. Raises LeaseLost."""
    row = _held(session, lease)
    version = session.get_one(ModelVersion, (row.model, row.version))
    models.move_version(session, version, "evaluated")
    models.move_version(session, version, "blessed" if report.verdict == "pass" else "refused")
    session.add(report)
    row.report, row.error, row.finished_at = report.id, "", clock(session)
    row.done = row.total = total
    _move(row, "succeeded")
    outbox.put(session, CONSIDER_VERDICT, ConsiderVerdict(report=report.id))
    session.flush()
    leases.release(session, lease)


def give_back(session: Session, lease: Lease, error: str, counted: bool = True) -> None:
    """Puts the evaluation back in the queue; an attempt that is not `counted` was nobody's fault.

    The caller sees to its message. Raises LeaseLost.
    """
    row = _held(session, lease)
    row.error = error
    row.attempt -= 0 if counted else 1
    _move(row, "queued")
    session.flush()
    leases.release(session, lease)


def fail(session: Session, lease: Lease, error: str) -> None:
    """Gives the evaluation up and leaves a dead letter, whose replay starts it afresh. Raises LeaseLost."""
    _give_up(session, _held(session, lease), error)
    session.flush()
    leases.release(session, lease)


def reclaim_lost(session: Session, max_attempts: int = 3) -> list[str]:
    """Queues the evaluations whose holder fell silent again, or gives them up after `max_attempts`.

    Returns their ids.
    """
    now = clock(session)
    query = select(Evaluation).where(Evaluation.state == "running", Evaluation.lease_expires_at < now)
    lost = session.execute(query.with_for_update(skip_locked=True)).scalars().all()
    for row in lost:
        error = f"the worker {row.owner} fell silent"
        row.owner, row.lease_expires_at = None, None
        row.fence += 1
        if row.attempt >= max_attempts:
            _give_up(session, row, error)
        else:
            row.error = error
            _move(row, "queued")
            _send(session, row)
    return [row.id for row in lost]


def _held(session: Session, lease: Lease) -> Evaluation:
    leases.guard(session, lease)
    return session.get_one(Evaluation, lease.id, populate_existing=True)


def _move(row: Evaluation, to: str) -> None:
    check_transition(EVALUATION_STATES, f"evaluation {row.id}", row.state, to)
    row.state = to


def _send(session: Session, row: Evaluation) -> None:
    outbox.put(session, EVALUATE_MODEL_VERSION, _message(row))


def _message(row: Evaluation) -> EvaluateModelVersion:
    return EvaluateModelVersion(model=row.model, version=row.version)


def _give_up(session: Session, row: Evaluation, error: str) -> None:
    now = clock(session)
    _move(row, "failed")
    row.error, row.finished_at = error, now
    session.add(_dead_letter(row, error, now))


def _dead_letter(row: Evaluation, error: str, now: datetime) -> DeadLetter:
    id = new_id("dead")
    return DeadLetter(
        id=id,
        queue=EVALUATE_MODEL_VERSION.queue,
        task=EVALUATE_MODEL_VERSION.task,
        type_name=EVALUATE_MODEL_VERSION.type_name,
        payload=encode(EVALUATE_MODEL_VERSION, _message(row), id, now),
        error=error,
        attempts=row.attempt,
        detail={"evaluation": row.id, "model": row.model, "version": row.version},
        created_at=now,
    )


def _replayed(session: Session, row: Evaluation) -> bool:
    """Whether a person replayed the dead letter that this failed evaluation left."""
    query = select(DeadLetter.id).where(
        DeadLetter.task == EVALUATE_MODEL_VERSION.task,
        DeadLetter.detail["evaluation"].as_string() == row.id,
        DeadLetter.replayed_at >= row.finished_at,
    )
    return session.execute(query).first() is not None

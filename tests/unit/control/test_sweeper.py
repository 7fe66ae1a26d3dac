from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from services.control import triggers, verdicts
from services.control.leadership import Leadership
from services.control.pruning import Pruner
from services.control.sweeper import Sweeper
from shared.contracts import codec, routes
from shared.errors import InvalidArgument, LeaseLost
from shared.messaging import dead_letters
from shared.storage import leases
from shared.storage.database import Database, clock
from shared.storage.ids import new_id
from shared.storage.repositories import evaluations, jobs, models
from shared.storage.tables import Answer, Batch, Deployment, Evaluation, Job, Leader, OutboxMessage, Report, Run
from tests.unit.control import history


class Sweeping:
    """A leader that sweeps a database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.leadership = Leadership(database, "leader", lease_seconds=60)
        self.leadership.step()

    def sweep(self) -> int:
        term = self.leadership.term
        assert term is not None
        return Sweeper(self.database, self.leadership, max_attempts=3).sweep(term)

    def lose_messages(self) -> None:
        with self.database.write() as session:
            session.execute(delete(OutboxMessage))

    def messages(self, route: routes.Route) -> list[Any]:
        with self.database.read() as session:
            return history.messages(session, route)


@pytest.fixture
def sweeping(database: Database) -> Sweeping:
    return with_a_sealed_version(database)


@pytest.fixture
def sweeping_any(any_database: Database) -> Sweeping:
    return with_a_sealed_version(any_database)


def with_a_sealed_version(database: Database) -> Sweeping:
    with database.write() as session:
        history.declare(session)
        history.add_batch(session, "b1", 100)
        history.seal(session, 1, "b1")
    return Sweeping(database)


def consider(session: Session, version: int) -> None:
    triggers.consider(session, history.NAME, version, device="cpu", max_attempts=3)


def queued(session: Session) -> None:
    consider(session, 1)


def trained(session: Session) -> None:
    consider(session, 1)
    history.finish(session, session.scalars(select(Job)).one())


def asked(session: Session) -> None:
    trained(session)
    evaluations.request(session, history.NAME, 1)


def judged(session: Session) -> None:
    trained(session)
    history.judge(session, models.get_version(session, history.NAME, 1), "pass")


def unsealed(session: Session) -> None:
    consider(session, 1)
    jobs.want(session, session.scalars(select(Job.id)).one(), "cancel")
    history.add_batch(session, "b2", 5)
    session.get_one(Batch, "b2").updated_at = clock(session) - timedelta(minutes=1)


@pytest.mark.parametrize(
    ("situation", "route"),
    [
        (lambda session: None, routes.CONSIDER_DATASET_VERSION),
        (queued, routes.RUN_JOB),
        (trained, routes.EVALUATE_MODEL_VERSION),
        (asked, routes.EVALUATE_MODEL_VERSION),
        (judged, routes.CONSIDER_VERDICT),
        (unsealed, routes.BUILD_DATASET_VERSION),
    ],
    ids=["undecided", "queued", "trained", "asked", "judged", "unsealed"],
)
def test_a_lost_message_is_put_again_once(
    sweeping_any: Sweeping, situation: Callable[[Session], None], route: routes.Route
) -> None:
    with sweeping_any.database.write() as session:
        situation(session)
    sweeping_any.lose_messages()
    assert sweeping_any.sweep() == 1
    (first,) = sweeping_any.messages(route)
    assert sweeping_any.sweep() == 0
    assert sweeping_any.messages(route) == [first]


def test_what_is_on_its_way_is_left_alone(sweeping: Sweeping) -> None:
    with sweeping.database.write() as session:
        queued(session)
    assert sweeping.sweep() == 0


def test_a_dead_letter_waits_for_a_person(sweeping: Sweeping) -> None:
    with sweeping.database.write() as session:
        queued(session)
        row = session.scalars(select(OutboxMessage)).one()
        letter = dead_letters.bury(
            session, queue=row.queue, task=row.task, payload=row.payload, error="broken", message_id=row.id
        )
    assert sweeping.sweep() == 0
    with sweeping.database.write() as session:
        dead_letters.replay(session, letter)
    sweeping.lose_messages()
    assert sweeping.sweep() == 1


def test_a_job_whose_worker_fell_silent_is_queued_again(sweeping_any: Sweeping) -> None:
    with sweeping_any.database.write() as session:
        queued(session)
        job = session.scalars(select(Job)).one()
        lease = leases.take(session, Job, job.id, "worker", -1, ("queued",))
        assert lease is not None
        session.refresh(job)
        jobs.move(session, job, "running")
        run = Run(id="run-1", job=job.id, attempt=1, fence=1, state="running", owner="worker")
        run.started_at = clock(session)
        session.add(run)
    sweeping_any.lose_messages()
    assert sweeping_any.sweep() >= 1
    with sweeping_any.database.read() as session:
        assert session.scalars(select(Job.state)).one() == "queued"
        assert session.scalars(select(Run.state)).one() == "lost"
    assert len(sweeping_any.messages(routes.RUN_JOB)) == 1


def test_an_evaluation_whose_worker_fell_silent_is_queued_again(sweeping: Sweeping) -> None:
    with sweeping.database.write() as session:
        asked(session)
        assert evaluations.take(session, history.NAME, 1, "worker", -1) is not None
    sweeping.lose_messages()
    assert sweeping.sweep() >= 1
    with sweeping.database.read() as session:
        assert session.scalars(select(Evaluation.state)).one() == "queued"
    assert len(sweeping.messages(routes.EVALUATE_MODEL_VERSION)) == 1


def test_a_waiting_version_is_considered_again_once_the_job_failed(sweeping: Sweeping) -> None:
    with sweeping.database.write() as session:
        queued(session)
        history.add_batch(session, "b2", 100)
        history.seal(session, 2, "b1", "b2")
        consider(session, 2)
    assert sweeping.sweep() == 0
    with sweeping.database.write() as session:
        jobs.fail(session, session.scalars(select(Job)).one(), "broken", 3)
    sweeping.lose_messages()
    assert sweeping.sweep() == 1
    assert [message.version for message in sweeping.messages(routes.CONSIDER_DATASET_VERSION)] == [2]
    with sweeping.database.write() as session:
        consider(session, 2)
        assert len(session.scalars(select(Job)).all()) == 2


def test_a_version_waits_until_its_spoiled_batches_are_held(sweeping: Sweeping) -> None:
    with sweeping.database.write() as session:
        judged(session)
        verdicts.consider(session, session.scalars(select(Report.id)).one())
        history.add_batch(session, "spoiled", 100)
        history.seal(session, 2, "b1", "spoiled")
        consider(session, 2)
        job = session.scalars(select(Job).where(Job.dataset_version == 2)).one()
        report = history.judge(session, history.finish(session, job), "fail", worse=True)
        history.add_batch(session, "b3", 100)
        history.seal(session, 3, "b1", "spoiled", "b3")
        consider(session, 3)
        verdicts.consider(session, report.id)
        consider(session, 3)
        assert len(session.scalars(select(Job)).all()) == 2
    with sweeping.database.write() as session:
        for row in session.scalars(select(OutboxMessage).where(OutboxMessage.task == routes.HOLD_BATCHES.task)):
            row.done_at = clock(session)
        session.get_one(Batch, "spoiled").state = "held"
        history.seal(session, 4, "b1", "b3")
        consider(session, 3)
        consider(session, 4)
        jobs_of = session.scalars(select(Job.dataset_version).order_by(Job.created_at)).all()
        assert jobs_of == [1, 2, 4]


def test_a_process_that_does_not_lead_repairs_nothing(sweeping: Sweeping) -> None:
    with sweeping.database.write() as session:
        leader = session.scalars(select(Leader)).one()
        leader.fence, leader.owner = 9, "another"
    with pytest.raises(LeaseLost):
        sweeping.sweep()
    assert sweeping.messages(routes.CONSIDER_DATASET_VERSION) == []


def test_old_answers_and_silent_servers_are_forgotten(sweeping: Sweeping) -> None:
    with sweeping.database.write() as session:
        now = clock(session)
        for age in (timedelta(hours=25), timedelta(hours=1)):
            session.add(answer(str(age), now - age))
            server = Deployment(server=str(age), model="m", version=1, state="ready", heartbeat_at=now - age)
            session.add(server)
        session.add(Deployment(server="alive", model="m", version=1, state="ready", heartbeat_at=now))
    term = sweeping.leadership.term
    assert term is not None
    assert Pruner(sweeping.database, sweeping.leadership).prune(term) == 3
    with sweeping.database.read() as session:
        assert session.scalars(select(Answer.request_id)).all() == [str(timedelta(hours=1))]
        assert session.scalars(select(Deployment.server)).all() == ["alive"]


def answer(request_id: str, at: Any) -> Answer:
    return Answer(
        request_id=request_id,
        model="m",
        version=1,
        method="",
        input={},
        output={},
        lineage={},
        timings={},
        created_at=at,
    )


def test_a_message_that_nobody_can_read_stands_in_no_way(sweeping: Sweeping) -> None:
    with sweeping.database.write() as session:
        now = clock(session)
        broken = OutboxMessage(
            id=new_id("msg"),
            task=routes.RUN_JOB.task,
            queue="finetuning.cpu",
            payload=b"\xff",
            due_at=now,
            created_at=now,
        )
        session.add(broken)
        with pytest.raises(InvalidArgument):
            codec.decode(broken.task, broken.payload)
    assert sweeping.sweep() == 1


def test_messages_for_jobs_are_counted_because_a_worker_takes_the_best_job_whichever_they_name(
    sweeping: Sweeping,
) -> None:
    with sweeping.database.write() as session:
        consider(session, 1)
        slow, fast = session.scalars(select(Job)).one(), history.queue_job(session, 1)
        first, second = session.scalars(select(OutboxMessage).order_by(OutboxMessage.created_at, OutboxMessage.id))
        jobs.move(session, fast, "running")  # by the message that names the other
    assert sweeping.sweep() == 0
    with sweeping.database.write() as session:
        jobs.move(session, jobs.get(session, fast.id), "cancelled")
        session.get_one(OutboxMessage, first.id).done_at = clock(session)
    assert sweeping.sweep() == 0, "the other message is still on its way, and will start the job that waits"
    with sweeping.database.write() as session:
        session.get_one(OutboxMessage, second.id).done_at = clock(session)
    assert sweeping.sweep() == 1
    assert [message.job for message in sweeping.messages(routes.RUN_JOB)] == [slow.id]

"""Whatever owners, workers and the sweeper do to a job, in whatever order: one writer, legal states, no gap in its events."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, delete, select
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import StaticPool

from services.control import resuming
from services.finetuning import attempts
from services.finetuning.attempts import Attempt
from shared.errors import FailedPrecondition, InvalidArgument, LeaseLost
from shared.modeling.card import ModelCard
from shared.storage.database import Database, clock
from shared.storage.repositories import jobs
from shared.storage.repositories.budgets import Amount
from shared.storage.states import JOB_ENDED, JOB_STATES
from shared.storage.tables import Base, Evaluation, Job, JobEvent, ModelVersion, Run

ACTS = ("take", "finish", "stop", "crash", "hang", "bad data", "use up", "lose", "cancel", "pause", "run", "more")
CARD = ModelCard("classification", "full", ("bad", "good"), "base", "b", 64, "w", "", "r", "d", "float32")


class Memory(Database):
    """SQLite without a file: hundreds of lives take seconds."""

    def __init__(self) -> None:
        self.engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        self.is_sqlite = True
        Base.metadata.create_all(self.engine)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def write(self) -> Iterator[Session]:
        with self._sessions() as session, session.begin():
            yield session

    read = write

    def clear(self) -> None:
        with self.write() as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(delete(table))


@pytest.fixture(scope="module")
def memory() -> Iterator[Memory]:
    made = Memory()
    yield made
    made.close()


class Life:
    """A job, and the attempts at it that some worker believes to hold."""

    def __init__(self, database: Memory) -> None:
        self.database = database
        self.held: list[Attempt] = []
        with database.write() as session:
            spec = {"base": "b", "budget": {"seconds": 10}}
            values = {"pipeline": "mood", "dataset_version": 1, "spec": spec, "trigger": "manual", "max_attempts": 3}
            self.id = jobs.create(session, **values).id  # type: ignore[arg-type]

    def act(self, act: str, which: int) -> None:
        """Does it, by the attempt number `which` of those ever taken where a worker does it."""
        if act in ("cancel", "pause", "run", "more"):
            self._owner(act)
        elif act == "take":
            if taken := attempts.take_next(self.database, self.id, "worker", 60, 3):
                self.held.append(taken)
        elif act == "lose":
            self._lose()
        elif self.held:
            self._worker(act, self.held[which % len(self.held)])

    def _owner(self, act: str) -> None:
        with suppress(FailedPrecondition, InvalidArgument), self.database.write() as session:
            if act in ("run", "more"):
                more = Amount(seconds=20) if act == "more" else Amount()
                resuming.resume(session, self.id, more, allow_revision=False, max_attempts=3)
            else:
                jobs.want(session, self.id, "cancel" if act == "cancel" else "pause")

    def _lose(self) -> None:
        with self.database.write() as session:
            job = jobs.get(session, self.id, lock=True)
            if job.lease_expires_at is not None:
                job.lease_expires_at = clock(session) - timedelta(seconds=1)
        with self.database.write() as session:
            jobs.reclaim_lost(session)

    def _worker(self, act: str, attempt: Attempt) -> None:
        mine = self._fence() == attempt.lease.fence
        before = self.facts()
        try:
            if act == "finish":
                attempts.succeed(self.database, attempt, "models/x", CARD, {})
            elif act == "stop":
                attempts.stop(self.database, attempt)
            else:
                final, code = act in ("bad data", "use up"), {"hang": "HUNG", "use up": "BUDGET"}.get(act, "CRASHED")
                attempts.fail(self.database, attempt, act, final=final, delay_seconds=0, code=code)
        except LeaseLost:
            assert self.facts() == before, "a loser writes nothing"
        else:
            assert mine, "only the holder writes"

    def _fence(self) -> int | None:
        with self.database.read() as session:
            job = jobs.get(session, self.id)
            return job.fence if job.owner else None

    def facts(self) -> tuple[object, ...]:
        with self.database.read() as session:
            job = jobs.get(session, self.id)
            runs = [(run.state, run.error) for run in session.scalars(select(Run).order_by(Run.attempt))]
            events = len(jobs.events_after(session, self.id, 0))
            return job.state, job.wanted, job.reason, runs, events, len(session.scalars(select(ModelVersion)).all())

    def check(self) -> None:
        with self.database.read() as session:
            job = jobs.get(session, self.id)
            events = session.scalars(select(JobEvent).order_by(JobEvent.sequence)).all()
            running = session.scalars(select(Run.id).where(Run.state == "running")).all()
            made = session.scalars(select(ModelVersion)).all()
            judged = session.scalars(select(Evaluation)).all()
        states = [event.detail["state"] for event in events if event.kind == "state"]
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert states[-1] == job.state
        assert all(after in JOB_STATES[before] for before, after in pairwise(states))
        assert len(running) == (job.state in jobs.HELD) == (job.owner is not None)
        assert len(made) == len(judged) == (job.state == "succeeded")
        assert (job.finished_at is not None) == (job.state in JOB_ENDED)
        assert job.state == "queued" or job.due_at is None
        assert job.reason or job.state in ("queued", "running"), "every other state says why"


@settings(max_examples=60)
@given(acts=st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 3)), max_size=14))
def test_no_order_of_events_breaks_a_job(memory: Memory, acts: list[tuple[str, int]]) -> None:
    memory.clear()
    life = Life(memory)
    for act, which in acts:
        life.act(act, which)
        life.check()


@settings(max_examples=25)
@given(acts=st.lists(st.tuples(st.sampled_from(ACTS[:8]), st.integers(0, 3)), max_size=8))
def test_a_cancelled_job_never_runs_again_and_makes_nothing(memory: Memory, acts: list[tuple[str, int]]) -> None:
    memory.clear()
    life = Life(memory)
    life.act("cancel", 0)
    for act, which in acts:
        life.act(act, which)
    with memory.read() as session:
        assert session.scalars(select(Job.state)).all() == ["cancelled"]
        assert [*session.scalars(select(Run.id)), *session.scalars(select(ModelVersion.model))] == []


@pytest.mark.parametrize("last", ["finish", "stop", "crash", "bad data", "lose"])
def test_a_cancel_at_the_last_moment_wins(memory: Memory, last: str) -> None:
    memory.clear()
    life = Life(memory)
    life.act("take", 0)
    life.act("cancel", 0)
    life.act(last, 0)
    life.check()
    assert life.facts()[:3] == ("cancelled", "cancel", "cancelled on request")

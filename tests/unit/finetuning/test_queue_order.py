"""Whose job a free worker takes, on SQLite and PostgreSQL alike."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from services.finetuning import attempts
from services.finetuning.attempts import Attempt
from shared.storage.database import Database, clock
from shared.storage.repositories import jobs, queue
from shared.storage.tables import Job, Pipeline, Run


def declare(database: Database, pipeline: str, tenant: str) -> None:
    with database.write() as session:
        now = clock(session)
        row = Pipeline(name=pipeline, revision=1, tenant=tenant, spec={}, created_at=now, updated_at=now)
        session.add(row)


def create(database: Database, pipeline: str, **given: Any) -> str:
    values: dict[str, Any] = {"dataset_version": 1, "spec": {}, "trigger": "manual", "max_attempts": 3, **given}
    with database.write() as session:
        return jobs.create(session, pipeline=pipeline, **values).id


def take(database: Database, named: str) -> Attempt:
    attempt = attempts.take_next(database, named, "worker", 60, 3)
    assert attempt is not None
    return attempt


def work(database: Database, named: str) -> str:
    """Handles a message: takes a job, ends it, and says whose it was. However slow the machine is, it took no time."""
    attempt = take(database, named)
    attempts.fail(database, attempt, "BAD_DATA: none", final=True)
    with database.write() as session:
        run = session.get_one(Run, attempt.run)
        assert run.finished_at is not None
        run.started_at = run.finished_at
    return attempt.job.pipeline


def test_a_tenant_that_floods_the_queue_leaves_every_second_slot_to_another(any_database: Database) -> None:
    for pipeline, tenant in (("ads", "loud"), ("news", "loud"), ("support", "calm")):
        declare(any_database, pipeline, tenant)
    flood = [create(any_database, ("ads", "news")[index % 2]) for index in range(8)]
    calm = [create(any_database, "support") for _ in range(4)]
    taken = [work(any_database, named) for named in (flood + calm)[:8]]
    assert sorted([taken[index : index + 2].count("support") for index in range(0, 8, 2)]) == [1, 1, 1, 1]
    loud = [pipeline for pipeline in taken if pipeline != "support"]
    assert (loud.count("ads"), loud.count("news")) == (2, 2), "a tenant's pipelines share its part"


def test_without_keys_every_pipeline_has_a_share_of_its_own(database: Database) -> None:
    flood = [create(database, "ads") for _ in range(5)]
    create(database, "support")
    assert [work(database, named) for named in flood[:3]] == ["ads", "support", "ads"]


def test_a_tenant_and_a_pipeline_of_the_same_name_are_two(database: Database) -> None:
    declare(database, "mail", "support")
    first = create(database, "mail")
    assert work(database, first) == "mail"
    create(database, "mail")
    named = create(database, "support")
    assert work(database, named) == "support", "the tenant's second run waits, the pipeline never ran"


def test_seconds_count_not_runs(database: Database) -> None:
    long = take(database, create(database, "long"))
    attempts.fail(database, long, "BAD_DATA: none", final=True)
    with database.write() as session:
        run = session.get_one(Run, long.run)
        run.started_at -= timedelta(minutes=10)
    for _ in range(3):
        work(database, create(database, "short"))
    named = create(database, "long")
    create(database, "short")
    assert work(database, named) == "short"


def test_what_was_used_long_ago_is_forgotten(database: Database) -> None:
    attempt = take(database, create(database, "old"))
    attempts.fail(database, attempt, "BAD_DATA: none", final=True)
    with database.write() as session:
        run = session.get_one(Run, attempt.run)
        assert run.finished_at is not None
        run.started_at -= timedelta(hours=5)
        run.finished_at -= timedelta(hours=2)
        assert queue.usage(session, "cpu", clock(session)) == {}


def test_a_higher_priority_goes_first_whoever_asks(any_database: Database) -> None:
    first = create(any_database, "ads")
    create(any_database, "support", priority=5)
    create(any_database, "ads", priority=9)
    create(any_database, "ads", spec={"trigger": {"priority": -3}})
    assert [take(any_database, first).job.priority for _ in range(4)] == [9, 5, 0, -3]


def test_jobs_of_one_share_go_by_age(database: Database) -> None:
    made = [create(database, "ads") for _ in range(3)]
    assert [take(database, made[2]).job.id for _ in range(3)] == made


def test_a_worker_takes_only_jobs_of_its_device(database: Database) -> None:
    on_gpu = create(database, "ads", priority=9, spec={"resources": {"device": "cuda"}})
    on_cpu = create(database, "ads")
    assert take(database, on_cpu).job.id == on_cpu
    assert attempts.take_next(database, on_cpu, "worker", 60, 3) is None
    assert take(database, on_gpu).job.id == on_gpu


def test_a_job_that_is_tried_again_later_is_passed_over_until_then(database: Database) -> None:
    failed = create(database, "ads", priority=9)
    attempts.fail(database, take(database, failed), "DISK_FULL: none left", final=False, delay_seconds=60)
    with database.read() as session:
        job = jobs.get(session, failed)
        assert job.due_at is not None
        assert job.due_at > clock(session) + timedelta(seconds=50)
    other = create(database, "ads")
    assert take(database, other).job.id == other
    assert attempts.take_next(database, other, "worker", 60, 3) is None
    assert take(database, failed).job.id == failed, "its own message came"
    with database.read() as session:
        assert jobs.get(session, failed).due_at is None


@pytest.mark.parametrize("workers", [4])
def test_workers_that_ask_at_once_get_jobs_of_their_own_and_in_order(any_database: Database, workers: int) -> None:
    flood = [create(any_database, "ads") for _ in range(8)]
    calm = [create(any_database, "support") for _ in range(2)]
    with ThreadPoolExecutor(workers) as pool:
        taken = list(pool.map(lambda named: take(any_database, named).job, flood[:workers]))
    assert len({job.id for job in taken}) == workers
    assert {job.id for job in taken if job.pipeline == "support"} == set(calm)


def test_a_message_for_an_unknown_job_takes_nothing(database: Database) -> None:
    create(database, "ads")
    assert attempts.take_next(database, "job-nobody-made", "worker", 60, 3) is None
    with database.read() as session:
        assert session.query(Job).one().state == "queued"


def test_a_low_priority_waits_but_never_starves(any_database: Database) -> None:
    """Three hours let it stand beside what is three priorities higher; then the share decides."""
    low, high = create(any_database, "ads", priority=-3), create(any_database, "support")
    for hours, best in ((2, high), (3, low)):
        with any_database.write() as session:
            for id, pipeline in ((low, "ads"), (high, "support")):
                session.get_one(Job, id).created_at = clock(session) - timedelta(hours=hours * (pipeline == "ads"))
            assert queue.best(session, "cpu") == best

from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from services.control import triggers, verdicts
from services.control.fleet_metrics import FleetMetrics
from services.control.leadership import Leadership, Term
from services.control.operations import fleet_status
from shared.config import Settings, load_settings
from shared.contracts import routes
from shared.contracts.generated.flywheel.control.v1 import control_pb2 as pb
from shared.errors import Unavailable
from shared.messaging.dead_letters import bury
from shared.storage.database import Database
from shared.storage.repositories import evaluations, jobs
from shared.storage.tables import Job, OutboxMessage
from tests.integration.control.calls import refused
from tests.support.valkey import Valkey
from tests.unit.control import history

Code = grpc.StatusCode
TERM = Term(1, 0.0)


def prepare(database: Database) -> None:
    with database.write() as session:
        history.declare(session)
        history.add_batch(session, "b1", 100)
        history.seal(session, 1, "b1")


def state_of(control: Any) -> str:
    (row,) = control.GetStatus(pb.GetStatusRequest()).pipelines
    return str(row.state)


def test_a_dead_letter_is_listed_and_replayed_once(control: Any, database: Database) -> None:
    prepare(database)
    with database.write() as session:
        history.queue_job(session, 1)
        row = session.scalars(select(OutboxMessage)).one()
        id = bury(
            session,
            queue=row.queue,
            task=row.task,
            payload=row.payload,
            error="ValueError: broken",
            message_id=row.id,
            type_name=routes.RUN_JOB.type_name,
            attempts=3,
        )
    (letter,) = control.ListDeadLetters(pb.ListDeadLettersRequest()).dead_letters
    assert (letter.id, letter.task, letter.error, letter.attempts) == (
        id,
        "finetuning.run_job",
        "ValueError: broken",
        3,
    )
    assert not letter.HasField("replayed_at")
    assert control.ReplayDeadLetter(pb.ReplayDeadLetterRequest(id=id)).HasField("replayed_at")
    with database.read() as session:
        assert len(history.messages(session, routes.RUN_JOB)) == 1
    with refused(Code.FAILED_PRECONDITION, "was replayed"):
        control.ReplayDeadLetter(pb.ReplayDeadLetterRequest(id=id))


def test_replaying_a_failed_job_trains_again_in_another_job(control: Any, database: Database) -> None:
    prepare(database)
    with database.write() as session:
        failed = history.queue_job(session, 1)
        jobs.fail(session, failed, "the disk was full", 3)
    (letter,) = control.ListDeadLetters(pb.ListDeadLettersRequest()).dead_letters
    control.ReplayDeadLetter(pb.ReplayDeadLetterRequest(id=letter.id))
    newest, old = control.ListJobs(pb.ListJobsRequest()).jobs
    assert (newest.trigger, newest.state, newest.dataset_version) == ("replay", pb.JOB_STATE_QUEUED, 1)
    assert (old.id, old.state) == (failed.id, pb.JOB_STATE_FAILED)
    with refused(Code.FAILED_PRECONDITION, "was replayed"):
        control.ReplayDeadLetter(pb.ReplayDeadLetterRequest(id=letter.id))
    assert control.GetStatus(pb.GetStatusRequest()).dead_letters == 0


def test_status_follows_a_pipeline_through_the_loop(control: Any, database: Database) -> None:
    with database.write() as session:
        history.declare(session)
    assert state_of(control) == "waiting for data"
    with database.write() as session:
        history.add_batch(session, "b1", 100)
    assert state_of(control) == "building"
    with database.write() as session:
        history.seal(session, 1, "b1")
    assert state_of(control) == "idle"
    with database.write() as session:
        triggers.consider(session, history.NAME, 1, device="cpu", max_attempts=3)
    assert state_of(control) == "queued"
    with database.write() as session:
        job = session.scalars(select(Job)).one()
        jobs.move(session, job, "running")
    assert state_of(control) == "training"
    with database.write() as session:
        jobs.move(session, jobs.get(session, job.id), "queued")
        version = history.finish(session, jobs.get(session, job.id))
    assert state_of(control) == "evaluating"
    with database.write() as session:
        history.judge(session, session.merge(version), "pass")
    assert state_of(control) == "promoting"


def test_what_was_given_up_is_a_failed_pipeline(control: Any, database: Database) -> None:
    prepare(database)
    with database.write() as session:
        jobs.fail(session, history.queue_job(session, 1), "broken", 3)
    assert state_of(control) == "failed"
    with database.write() as session:
        version = history.finish(session, history.queue_job(session, 1))
        evaluations.request(session, history.NAME, version.version)
        lease = evaluations.take(session, history.NAME, version.version, "worker", 60)
        assert lease is not None
        evaluations.fail(session, lease, "broken")
    assert state_of(control) == "failed"
    with database.write() as session:
        history.finish(session, history.queue_job(session, 1))
    assert state_of(control) == "evaluating"


def test_status_names_the_leader_and_a_broker_that_is_away(control: Any, database: Database) -> None:
    Leadership(database, "the-leader").step()
    status = control.GetStatus(pb.GetStatusRequest())
    assert (status.leader, status.broker_ready, dict(status.queues)) == ("the-leader", False, {})


def test_status_shows_the_queues(valkey: Valkey, database: Database, tmp_path: Any) -> None:
    settings = load_settings(home=tmp_path, broker_url=valkey.url)
    fleet = fleet_status(settings, database)
    assert fleet.broker_ready
    assert fleet.queues == dict.fromkeys(routes.QUEUES, 0)


def sample(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"flywheel_{name}", labels)


def test_the_leader_exports_the_fleet_and_a_standby_nothing(database: Database, settings: Settings) -> None:
    prepare(database)
    with database.write() as session:
        version = history.finish(session, history.queue_job(session, 1))
        verdicts.consider(session, history.judge(session, version, "pass").id)
    fleet = FleetMetrics(settings, database)
    fleet.export_database(TERM)
    assert sample("training_runs", pipeline="sentiment", state="succeeded") == 1
    assert sample("training_runs", pipeline="sentiment", state="failed") == 0
    assert sample("dataset_version_rows", pipeline="sentiment", split="train") == 100
    assert (sample("dataset_freshness_seconds", pipeline="sentiment") or 0) >= 0
    assert sample("evaluation_metric", pipeline="sentiment", metric="accuracy", role="candidate") == 0.9
    assert sample("champion_version", pipeline="sentiment") == 1
    assert (sample("champion_age_seconds", pipeline="sentiment") or 0) >= 0
    assert (sample("outbox_lag_seconds"), sample("dead_letters")) == (0, 0)
    with pytest.raises(Unavailable):
        fleet.export_queues(TERM)
    fleet.clear()
    assert sample("training_runs", pipeline="sentiment", state="succeeded") is None
    assert sample("champion_version", pipeline="sentiment") is None

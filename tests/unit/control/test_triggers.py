from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event

import pytest
from sqlalchemy import select

from services.control import training, triggers, verdicts
from services.control.handlers import Handlers
from services.control.triggers import Decision
from shared.config import Settings
from shared.contracts import routes
from shared.contracts.messages import ConsiderDatasetVersion
from shared.errors import FailedPrecondition, Unavailable
from shared.messaging.handler import HandlerContext
from shared.storage.database import Database
from shared.storage.repositories import jobs, models, pipelines
from shared.storage.tables import Batch, DatasetVersion, Job, TriggerDecision
from tests.unit.control import history


def consider(database: Database, version: int) -> Decision | None:
    with database.write() as session:
        return triggers.consider(session, history.NAME, version, device="cpu", max_attempts=3)


def start_with(database: Database, rows: int, **spec: object) -> None:
    with database.write() as session:
        history.declare(session, **spec)
        history.add_batch(session, "b1", rows)
        history.seal(session, 1, "b1")


def test_enough_rows_start_a_job_with_its_message(any_database: Database) -> None:
    start_with(any_database, 100)
    assert consider(any_database, 1) == Decision("start", "100 new rows since the start; 100 are needed")
    with any_database.read() as session:
        job = session.scalars(select(Job)).one()
        assert (job.dataset_version, job.trigger, job.state) == (1, "new_rows", "queued")
        assert [message.job for message in history.messages(session, routes.RUN_JOB)] == [job.id]
        kept = session.scalars(select(TriggerDecision)).one()
        assert (kept.decision, kept.job) == ("start", job.id)


def test_too_few_rows_are_a_kept_no(database: Database) -> None:
    start_with(database, 99)
    decision = consider(database, 1)
    assert decision == Decision("no", "99 new rows since the start; 100 are needed")
    assert consider(database, 1) == decision
    with database.read() as session:
        assert [row.decision for row in session.scalars(select(TriggerDecision))] == ["no"]
        assert session.scalars(select(Job)).all() == []


def test_the_same_message_again_starts_nothing(database: Database) -> None:
    start_with(database, 100)
    consider(database, 1)
    assert consider(database, 1) is None


def test_two_messages_at_once_start_one_job(any_database: Database) -> None:
    start_with(any_database, 100)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: consider(any_database, 1), range(4)))
    assert sum(decision is not None and decision.decision == "start" for decision in found) == 1
    with any_database.read() as session:
        assert len(session.scalars(select(Job)).all()) == 1


def test_an_older_version_is_superseded(database: Database) -> None:
    start_with(database, 100)
    with database.write() as session:
        history.seal(session, 2, "b1")
    assert consider(database, 1) == Decision("no", "superseded by dataset version 2")
    decision = consider(database, 2)
    assert decision is not None
    assert decision.decision == "start"


def test_rows_of_the_last_job_do_not_count_again_and_feedback_counts(any_database: Database) -> None:
    start_with(any_database, 100)
    consider(any_database, 1)
    with any_database.write() as session:
        history.finish(session, session.scalars(select(Job)).one())
        history.add_batch(session, "b2", 60)
        history.add_batch(session, "b3", 30, source="feedback")
        history.seal(session, 2, "b1", "b2", "b3")
    assert consider(any_database, 2) == Decision("no", "90 new rows since dataset version 1; 100 are needed")
    with any_database.write() as session:
        history.add_batch(session, "b4", 10, source="feedback")
        history.seal(session, 3, "b1", "b2", "b3", "b4")
        version = session.get_one(Job, session.scalars(select(Job.id)).one()).model_version
        assert version == 1
        row = models.get_version(session, history.NAME, 1)
        verdicts.consider(session, history.judge(session, row, "pass").id)
    assert consider(any_database, 3) == Decision("start", "100 new rows since dataset version 1; 100 are needed")


def test_an_active_job_and_an_open_verdict_make_it_wait(database: Database) -> None:
    start_with(database, 100)
    consider(database, 1)
    with database.write() as session:
        history.add_batch(session, "b2", 100)
        history.seal(session, 2, "b1", "b2")
        job = session.scalars(select(Job)).one()
    decision = consider(database, 2)
    assert decision is not None
    assert (decision.decision, decision.retry_seconds) == ("wait", None)
    assert f"{job.id} is active" in decision.reason
    with database.write() as session:
        version = history.finish(session, jobs.get(session, job.id))
    decision = consider(database, 2)
    assert decision is not None
    assert "version 1 is being judged" in decision.reason
    with database.write() as session:
        version = models.get_version(session, history.NAME, version.version)
        verdicts.consider(session, history.judge(session, version, "pass").id)
        assert [m.version for m in history.messages(session, routes.CONSIDER_DATASET_VERSION)] == [2]
    decision = consider(database, 2)
    assert decision is not None
    assert decision.decision == "start"


def test_a_cooldown_puts_the_message_off_until_it_is_over(database: Database, settings: Settings) -> None:
    start_with(database, 100, trigger={"new_rows": 100, "cooldown": "1h"})
    consider(database, 1)
    with database.write() as session:
        jobs.want(session, session.scalars(select(Job.id)).one(), "cancel")
        history.add_batch(session, "b2", 100)
        history.seal(session, 2, "b1", "b2")
    context = HandlerContext("msg-1", Event(), database)
    message = ConsiderDatasetVersion(pipeline=history.NAME, version=2)
    for _ in range(2):
        with pytest.raises(Unavailable, match="cooldown of 3600 s") as caught:
            Handlers(settings).consider_dataset_version(message, context)
        assert 3500 < caught.value.retry_seconds <= 3600
    with database.write() as session:
        decisions = session.scalars(select(TriggerDecision.decision).where(TriggerDecision.dataset_version == 2)).all()
        assert decisions == ["wait"]
        job = session.scalars(select(Job)).one()
        job.created_at -= timedelta(hours=1)
    Handlers(settings).consider_dataset_version(message, context)
    with database.read() as session:
        assert len(session.scalars(select(Job)).all()) == 2


def test_a_pipeline_without_a_row_trigger_never_starts(database: Database) -> None:
    start_with(database, 100, trigger={"new_rows": None})
    assert consider(database, 1) == Decision("no", "the pipeline has no new_rows trigger")


def test_a_deleted_pipeline_never_starts(database: Database) -> None:
    start_with(database, 100)
    with database.write() as session:
        row = pipelines.get(session, history.NAME)
        row.deleted_at = row.updated_at
    assert consider(database, 1) == Decision("no", "the pipeline was deleted")


def test_an_unsealed_version_is_not_considered(database: Database) -> None:
    start_with(database, 100)
    with database.write() as session:
        session.get_one(DatasetVersion, (history.NAME, 1)).state = "validating"
    assert consider(database, 1) is None


def test_a_released_batch_counts_as_new(database: Database) -> None:
    start_with(database, 100)
    with database.write() as session:
        history.add_batch(session, "spoiled", 100)
        history.seal(session, 2, "b1", "spoiled")
        jobs.want(session, history.queue_job(session, 2).id, "cancel")
        session.get_one(Batch, "spoiled").state = "held"
    waiting = consider(database, 2)
    assert waiting is not None
    assert waiting.decision == "no", "nothing is new since the job that saw the spoiled batch"
    with database.write() as session:
        history.seal(session, 3, "b1")
    assert consider(database, 3) == Decision("no", "0 new rows since dataset version 2; 100 are needed")
    with database.write() as session:
        session.get_one(Batch, "spoiled").state = "accepted"
        history.seal(session, 4, "b1", "spoiled")
    assert consider(database, 4) == Decision("start", "100 new rows since dataset version 2; 100 are needed")


def test_a_version_with_held_batches_waits_for_one_without(database: Database) -> None:
    start_with(database, 100)
    with database.write() as session:
        history.add_batch(session, "spoiled", 100, state="held")
        history.seal(session, 2, "b1", "spoiled")
    decision = consider(database, 2)
    assert decision is not None
    assert decision.decision == "wait"
    assert "without its held batches" in decision.reason


@pytest.mark.parametrize(
    ("splits", "labels", "declared", "reason"),
    [
        ((0, 10, 90), {"validation": {"a": 10}, "test": {"b": 90}}, None, "none of its 100 rows is in the train split"),
        ((80, 10, 10), {"train": {"a": 80}, "validation": {"a": 10}}, None, "only the label 'a'"),
        ((80, 10, 10), {"validation": {"a": 10}}, None, "no label"),
        ((80, 10, 10), {"train": {"a": 40, "b": 40}, "validation": {"c": 10}}, None, "train split lacks: c; send more"),
        ((80, 10, 10), {"train": {"a": 40, "b": 40}, "validation": {"c": 10}}, ["a", "b", "c"], None),
        ((80, 10, 10), {"train": {"a": 40, "b": 40}, "test": {"c": 10}}, None, None),
    ],
)
def test_a_version_that_nothing_can_be_learnt_from_starts_no_job(
    database: Database,
    splits: tuple[int, int, int],
    labels: dict[str, dict[str, int]],
    declared: list[str] | None,
    reason: str | None,
) -> None:
    start_with(database, 100, labels=declared)
    with database.write() as session:
        dataset = session.get(DatasetVersion, (history.NAME, 1))
        assert dataset is not None
        dataset.train, dataset.validation, dataset.test = splits
        dataset.statistics = {"labels": labels}
    decision = consider(database, 1)
    assert decision is not None
    if reason is None:
        assert decision.decision == "start"
        return
    assert decision.decision == "no"
    assert reason in decision.reason
    with database.write() as session, pytest.raises(FailedPrecondition, match="can't be trained on"):
        training.create(session, training.Order(history.NAME), device="cpu", max_attempts=3)


def expire(database: Database, version: int) -> None:
    with database.write() as session:
        session.get_one(DatasetVersion, (history.NAME, version)).state = "expired"


def test_a_version_whose_rows_were_deleted_gives_its_turn_to_the_next(database: Database) -> None:
    start_with(database, 100)
    consider(database, 1)
    expire(database, 1)
    with database.write() as session:
        history.seal(session, 2, "b1")
        job = session.scalars(select(Job)).one()
    assert consider(database, 2) == Decision("wait", f"100 new rows since the start; {job.id} is active")
    with database.write() as session:
        session.get_one(Job, job.id).state = "failed"
    assert consider(database, 2) == Decision("start", "100 new rows since the start; 100 are needed")


def test_rows_are_counted_on_from_a_version_that_has_expired_since(database: Database) -> None:
    start_with(database, 100)
    consider(database, 1)
    expire(database, 1)
    with database.write() as session:
        session.scalars(select(Job)).one().state = "succeeded"
        history.add_batch(session, "b2", 40)
        history.seal(session, 2, "b1", "b2")
    assert consider(database, 2) == Decision("no", "40 new rows since dataset version 1; 100 are needed")

from collections.abc import Iterator
from threading import Thread
from typing import Any

import grpc
import pytest
from sqlalchemy import select

from services.control.watching import Watcher
from shared.contracts.generated.flywheel.control.v1 import control_pb2 as pb
from shared.errors import ResourceExhausted
from shared.storage.database import Database, clock
from shared.storage.repositories import jobs
from shared.storage.tables import AuditEntry, Checkpoint, Run
from tests.integration.control.calls import refused
from tests.support.wait import eventually
from tests.unit.control import history

Code = grpc.StatusCode


@pytest.fixture
def sealed(any_database: Database) -> Database:
    with any_database.write() as session:
        history.declare(session)
        history.add_batch(session, "b1", 10)
        history.seal(session, 1, "b1")
    return any_database


def test_a_job_started_by_hand_is_made_once_for_a_key(serve: Any, sealed: Database) -> None:
    control = serve(sealed)
    request = pb.CreateJobRequest(pipeline="sentiment", idempotency_key="mine")
    first = control.CreateJob(request)
    assert (first.state, first.dataset_version, first.trigger) == (pb.JOB_STATE_QUEUED, 1, "manual")
    assert first.max_attempts == 3
    assert control.CreateJob(request).id == first.id
    assert control.CreateJob(pb.CreateJobRequest(pipeline="sentiment")).id != first.id
    decisions = control.ListTriggerDecisions(pb.ListTriggerDecisionsRequest(pipeline="sentiment")).decisions
    assert [(row.trigger, row.decision) for row in decisions] == [("manual", "start"), ("manual", "start")]
    assert decisions[-1].job == first.id


def test_a_job_needs_a_pipeline_and_a_sealed_version(control: Any, database: Database) -> None:
    with refused(Code.NOT_FOUND, "no pipeline 'sentiment'"):
        control.CreateJob(pb.CreateJobRequest(pipeline="sentiment"))
    with database.write() as session:
        history.declare(session)
    with refused(Code.FAILED_PRECONDITION, "no sealed dataset version"):
        control.CreateJob(pb.CreateJobRequest(pipeline="sentiment"))
    with refused(Code.NOT_FOUND, "no dataset version 4"):
        control.CreateJob(pb.CreateJobRequest(pipeline="sentiment", dataset_version=4))


def test_a_job_is_cloned_with_other_values_and_its_pipeline_stays(control: Any, database: Database) -> None:
    with database.write() as session:
        history.declare(session, seed=3)
        for version in (1, 2):
            history.add_batch(session, f"b{version}", 10)
            history.seal(session, version, f"b{version}")
    first = control.CreateJob(pb.CreateJobRequest(pipeline="sentiment", dataset_version=1))
    with database.write() as session:
        history.declare(session, seed=4)
    request = pb.CreateJobRequest(pipeline="sentiment", clone_of=first.id, idempotency_key="clone")
    request.changes.update({"method.learning_rate": 1e-5, "method.epochs": 5})
    clone = control.CreateJob(request)
    assert (clone.clone_of, clone.dataset_version, clone.sort) == (first.id, 1, "train")
    assert control.CreateJob(request).id == clone.id
    plain = pb.CreateJobRequest(pipeline="sentiment")
    plain.changes.update({"budget.seconds": 60})
    changed = control.CreateJob(plain)
    assert (changed.clone_of, changed.dataset_version) == ("", 2)
    with database.read() as session:
        specs = [jobs.get(session, id).spec for id in (first.id, clone.id, changed.id)]
    assert [spec["seed"] for spec in specs] == [3, 3, 4]
    assert (specs[1]["method"]["learning_rate"], specs[1]["method"]["epochs"]) == (1e-5, 5)
    assert specs[2]["budget"]["seconds"] == 60
    assert control.GetPipeline(pb.GetPipelineRequest(name="sentiment")).spec["budget"]["seconds"] == 1800
    decisions = control.ListTriggerDecisions(pb.ListTriggerDecisionsRequest(pipeline="sentiment")).decisions
    assert f"as {first.id}, with method.epochs 5, method.learning_rate 1e-05" in decisions[1].reason


def test_a_clone_that_can_not_be_is_refused_and_makes_no_job(serve: Any, sealed: Database) -> None:
    control = serve(sealed)
    with sealed.write() as session:
        other = jobs.create(session, pipeline="other", dataset_version=1, spec={}, trigger="x", max_attempts=1).id
    for clone, changes, words in (
        ("job-x", {}, ("NOT_FOUND", "job-x")),
        (other, {}, ("INVALID_ARGUMENT", "a job of pipeline 'other'")),
        ("", {"method.lerning_rate": 1}, ("INVALID_ARGUMENT", "did you mean 'learning_rate'?")),
        ("", {"kind": "chat"}, ("INVALID_ARGUMENT", "kind: belongs to the pipeline")),
        ("", {"base": "/nowhere"}, ("INVALID_ARGUMENT", "base:")),
    ):
        request = pb.CreateJobRequest(pipeline="sentiment", clone_of=clone)
        request.changes.update(changes)
        with refused(Code[words[0]], words[1]):
            control.CreateJob(request)
    assert control.ListJobs(pb.ListJobsRequest(pipeline="sentiment")).jobs == []


def test_jobs_are_listed_newest_first_with_the_progress_of_their_newest_run(serve: Any, sealed: Database) -> None:
    control = serve(sealed)
    with sealed.write() as session:
        first, second = history.queue_job(session, 1), history.queue_job(session, 1)
        for attempt, step in ((1, 50), (2, 12)):
            run = Run(id=f"run-{attempt}", job=first.id, attempt=attempt, fence=attempt, state="lost", owner="w")
            run.step, run.total_steps, run.loss, run.eta_seconds = step, 80, 0.5, 90.0
            run.started_at = clock(session)
            session.add(run)
    page = control.ListJobs(pb.ListJobsRequest(pipeline="sentiment", page_size=1))
    assert [job.id for job in page.jobs] == [second.id]
    assert not page.jobs[0].HasField("loss")
    rest = control.ListJobs(pb.ListJobsRequest(page_token=page.next_page_token))
    (job,) = rest.jobs
    assert (job.step, job.total_steps, job.loss, job.eta.seconds) == (12, 80, 0.5, 90)
    assert control.ListJobs(pb.ListJobsRequest(pipeline="another")).jobs == []
    runs = control.ListRuns(pb.ListRunsRequest(job=first.id)).runs
    assert [run.attempt for run in runs] == [1, 2]


def test_checkpoints_are_listed_and_unknown_jobs_are_not_found(control: Any, database: Database) -> None:
    with database.write() as session:
        job = history.queue_job(session, 1)
        for step in (10, 20):
            row = Checkpoint(job=job.id, run="run-1", fence=1, step=step, uri=f"c/{step}", digest="d" * 64)
            row.created_at = clock(session)
            session.add(row)
    found = control.ListCheckpoints(pb.ListCheckpointsRequest(job=job.id)).checkpoints
    assert [(row.step, row.uri) for row in found] == [(10, "c/10"), (20, "c/20")]
    for call in (
        lambda: control.ListCheckpoints(pb.ListCheckpointsRequest(job="job-x")),
        lambda: control.ListRuns(pb.ListRunsRequest(job="job-x")),
        lambda: control.GetJob(pb.GetJobRequest(id="job-x")),
        lambda: control.CancelJob(pb.CancelJobRequest(id="job-x")),
        lambda: list(control.WatchJob(pb.WatchJobRequest(id="job-x"))),
    ):
        with refused(Code.NOT_FOUND, "job-x"):
            call()


def test_jobs_are_paused_resumed_and_cancelled_and_it_is_written_down(control: Any, database: Database) -> None:
    with database.write() as session:
        job = history.queue_job(session, 1)
    assert control.PauseJob(pb.PauseJobRequest(id=job.id)).state == pb.JOB_STATE_PAUSED
    assert control.ResumeJob(pb.ResumeJobRequest(id=job.id)).state == pb.JOB_STATE_QUEUED
    assert control.CancelJob(pb.CancelJobRequest(id=job.id)).state == pb.JOB_STATE_CANCELLED
    assert control.CancelJob(pb.CancelJobRequest(id=job.id)).state == pb.JOB_STATE_CANCELLED
    with refused(Code.FAILED_PRECONDITION, "has ended"):
        control.ResumeJob(pb.ResumeJobRequest(id=job.id))
    with database.read() as session:
        acts = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
        assert acts == ["pause_job", "resume_job", "cancel_job", "cancel_job"]


def test_a_watch_replays_from_a_number_follows_and_ends_with_the_job(serve: Any, sealed: Database) -> None:
    control = serve(sealed)
    with sealed.write() as session:
        job = history.queue_job(session, 1)
        jobs.append_event(session, job.id, "log", {"text": "one"})
    seen: list[pb.JobEvent] = []
    stream: Iterator[pb.JobEvent] = control.WatchJob(pb.WatchJobRequest(id=job.id, from_sequence=2), timeout=30)
    follower = Thread(target=lambda: seen.extend(stream), daemon=True)
    follower.start()
    with sealed.write() as session:
        history.finish(session, jobs.get(session, job.id))
    follower.join(20)
    assert not follower.is_alive()
    assert [event.sequence for event in seen] == [2, 3, 4]
    assert [event.detail.fields["state"].string_value for event in seen[1:]] == ["running", "succeeded"]
    assert (seen[-1].job.state, seen[-1].job.model_version) == (pb.JOB_STATE_SUCCEEDED, 1)
    replay = list(control.WatchJob(pb.WatchJobRequest(id=job.id)))
    assert [event.sequence for event in replay] == [1, 2, 3, 4]


def test_a_watch_ends_when_its_client_goes_and_frees_its_place(database: Database) -> None:
    with database.write() as session:
        job = history.queue_job(session, 1)
    watcher, wanted = Watcher(database, watchers=1), [True]
    thread = Thread(target=lambda: list(watcher.watch(job.id, 0, lambda: wanted[0])), daemon=True)
    thread.start()
    eventually(lambda: _is_full(watcher, job.id))
    wanted[0] = False
    thread.join(5)
    assert not thread.is_alive()
    assert not _is_full(watcher, job.id)


def _is_full(watcher: Watcher, job: str) -> bool:
    try:
        return list(watcher.watch(job, 0, lambda: False)) != []
    except ResourceExhausted:
        return True

"""The queue as its owners see it: order, what a job waits for, who is heard, budgets, revisions."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from sqlalchemy import select

from services.control.pruning import Pruner
from services.control.servicer import ControlServicer, register
from services.finetuning import attempts
from services.finetuning.attempts import Attempt
from services.finetuning.heartbeat import Heartbeat, devices_of, worker_name
from services.finetuning.records import RunRecord
from services.finetuning.revision import code_revision
from shared.config import Settings
from shared.contracts.generated.flywheel.control.v1 import control_pb2 as pb
from shared.contracts.generated.flywheel.control.v1 import control_pb2_grpc
from shared.modeling.card import ModelCard
from shared.rpc.channel import open_channel
from shared.rpc.security import Security
from shared.rpc.server import Server
from shared.storage.database import Database, clock
from shared.storage.repositories import jobs
from shared.storage.tables import AuditEntry, OutboxMessage, Run, TrainingWorker
from tests.integration.control.calls import YAML, refused
from tests.support.wait import eventually
from tests.unit.control import history
from tests.unit.control.test_sweeper import Sweeping

Code = grpc.StatusCode
KEYS = """
- {key: key-of-the-boss-of-ads, tenant: ads, roles: [operate]}
- {key: key-of-the-modest-one, tenant: modest, roles: [operate], priority_max: 5}
"""


@pytest.fixture
def sealed(database: Database) -> Database:
    with database.write() as session:
        history.declare(session)
        history.add_batch(session, "b1", 10)
        history.seal(session, 1, "b1")
    return database


@pytest.fixture
def control(serve: Any, sealed: Database) -> Any:
    return serve(sealed)


def hear(database: Database, device: str, ago: float = -3600) -> None:
    """A worker for the device said something so many seconds ago; one that is alive still does in an hour."""
    with database.write() as session:
        now = clock(session)
        worker = TrainingWorker(owner=f"machine:{device}", device=device, revision="1.0+abc", started_at=now)
        worker.heard_at = now - timedelta(seconds=ago)
        session.add(worker)


def create(control: Any, **given: Any) -> Any:
    return control.CreateJob(pb.CreateJobRequest(pipeline="sentiment", **given))


def get(control: Any, job: str) -> Any:
    return control.GetJob(pb.GetJobRequest(id=job))


def take(database: Database, job: str, owner: str = "machine:cpu") -> Attempt:
    attempt = attempts.take(database, job, owner, 60, 3)
    assert attempt is not None
    return attempt


def use_up(database: Database, job: str, seconds: float, step: int) -> None:
    """A run that trained for so long and then met its budget."""
    attempt = take(database, job)
    record = RunRecord(database, attempt, rate=2.0)
    record.event({"event": "progress", "step": step, "total_steps": 90, "loss": 1.0, "seconds": seconds})
    attempts.fail(database, attempt, "BUDGET: used up", final=True, code="BUDGET")


def succeed(database: Database, attempt: Attempt) -> int | None:
    card = ModelCard("classification", "full", ("bad", "good"), "base", "b", 64, "w", "", attempt.run, "d", "float32")
    return attempts.succeed(database, attempt, "models/x", card, {})


def test_a_job_has_the_pipelines_priority_unless_it_is_given_one(control: Any, sealed: Database) -> None:
    assert create(control).priority == 0
    assert create(control, priority=-7).priority == -7
    with sealed.write() as session:
        history.declare(session, trigger={"priority": 4})
    assert create(control).priority == 4
    assert create(control, priority=0).priority == 0
    with refused(Code.INVALID_ARGUMENT, "priority", "101"):
        create(control, priority=101)


@pytest.fixture
def keyed(settings: Settings, database: Database) -> Iterator[Any]:
    """Stubs of two tenants of one server."""
    server = Server("127.0.0.1:0", security=Security.of(settings.model_copy(update={"api_keys": KEYS})))
    register(server, ControlServicer(settings, database))
    server.start()
    keys = ("key-of-the-boss-of-ads", "key-of-the-modest-one")
    channels = [open_channel(server.address, retries=False, security=Security(api_key=key)) for key in keys]
    yield [control_pb2_grpc.ControlStub(channel) for channel in channels]
    for channel in channels:
        channel.close()
    server.stop(2)


def test_jobs_count_against_the_tenant_that_declared_their_pipeline(keyed: Any, database: Database) -> None:
    ads, modest = keyed
    ads.ApplyPipeline(pb.ApplyPipelineRequest(yaml=YAML))
    modest.ApplyPipeline(pb.ApplyPipelineRequest(yaml=YAML.replace("new_rows: 100", "new_rows: 200")))
    with database.write() as session:
        history.add_batch(session, "b1", 10)
        history.seal(session, 1, "b1")
    assert create(modest).tenant == "ads"


def test_a_key_bounds_the_priority_that_its_jobs_may_have(keyed: Any, database: Database) -> None:
    ads, modest = keyed
    urgent = YAML.replace("cooldown: 0s", "cooldown: 0s, priority: 9")
    with refused(Code.PERMISSION_DENIED, "trigger.priority is 9", "at most 5"):
        modest.ApplyPipeline(pb.ApplyPipelineRequest(yaml=urgent))
    ads.ApplyPipeline(pb.ApplyPipelineRequest(yaml=urgent))
    with refused(Code.PERMISSION_DENIED, "priority is 6"):
        create(modest, priority=6)


def test_a_job_that_nobody_can_take_says_so(control: Any, sealed: Database) -> None:
    job = create(control).id
    assert get(control, job).reason == "waiting for a cpu worker; none has been heard"
    hear(sealed, "gpu")
    assert "none has been heard" in get(control, job).reason
    hear(sealed, "cpu", ago=100)
    assert get(control, job).reason.startswith("waiting for a cpu worker; the last was heard at 20")
    with sealed.write() as session:
        session.get_one(TrainingWorker, ("machine:cpu", "cpu")).heard_at = clock(session) + timedelta(hours=1)
    assert get(control, job).reason == ""


def test_a_pipeline_for_cuda_waits_for_a_cuda_worker(control: Any, sealed: Database) -> None:
    hear(sealed, "cpu")
    with sealed.write() as session:
        history.declare(session, resources={"device": "cuda"})
    made = create(control)
    assert (made.device, made.reason) == ("cuda", "waiting for a cuda worker; none has been heard")
    with sealed.read() as session:
        assert session.scalars(select(OutboxMessage.queue)).all() == ["finetuning.gpu"]


def test_a_job_that_failed_tells_when_it_is_tried_again_and_why(control: Any, sealed: Database) -> None:
    hear(sealed, "cpu")
    job = create(control).id
    attempts.fail(sealed, take(sealed, job), "DISK_FULL: none left", final=False, delay_seconds=60, code="DISK_FULL")
    seen = get(control, job)
    assert (seen.code, seen.HasField("due_at")) == ("DISK_FULL", True)
    assert seen.reason.startswith("tried again at ")
    assert seen.reason.endswith("UTC; DISK_FULL: none left")


def test_a_run_tells_when_it_was_heard_and_when_it_will_be_done(control: Any, sealed: Database) -> None:
    job = create(control).id
    record = RunRecord(sealed, take(sealed, job), rate=2.0)
    before = get(control, job)
    assert before.HasField("last_heard")
    assert not before.HasField("estimated_finish")
    progress = {"event": "progress", "step": 3, "total_steps": 9, "loss": 1.0, "eta_seconds": 600.0, "seconds": 30.0}
    record.event(progress)
    (seen,) = control.ListJobs(pb.ListJobsRequest(pipeline="sentiment")).jobs
    left = seen.estimated_finish.ToDatetime() - seen.last_heard.ToDatetime()
    assert 500 < left.total_seconds() <= 600
    assert seen.last_heard.ToDatetime() > before.last_heard.ToDatetime()
    assert (seen.spent.seconds, seen.spent.steps, seen.spent.cost) == (30, 3, 60)
    assert (seen.budget.seconds, seen.budget.HasField("steps")) == (1800, False)
    (run,) = control.ListRuns(pb.ListRunsRequest(job=job)).runs
    assert (run.estimated_finish, run.last_heard) == (seen.estimated_finish, seen.last_heard)
    assert run.revision == code_revision()
    with sealed.write() as session:
        jobs.end_run(session, session.get_one(Run, run.id), "drained")
    assert not get(control, job).HasField("estimated_finish")


def test_status_shows_the_workers_heard_of_lately_and_what_each_runs(control: Any, sealed: Database) -> None:
    hear(sealed, "cpu")
    hear(sealed, "gpu", ago=100)
    job = create(control).id
    (idle,) = control.GetStatus(pb.GetStatusRequest()).training_workers
    assert (idle.name, idle.device, idle.revision, idle.job) == ("machine:cpu", "cpu", "1.0+abc", "")
    take(sealed, job)
    (busy,) = control.GetStatus(pb.GetStatusRequest()).training_workers
    assert busy.job == job


def test_a_worker_is_heard_while_it_lives_and_gone_when_it_ends_well(any_database: Database) -> None:
    def rows() -> list[TrainingWorker]:
        with any_database.read() as session:
            return list(session.scalars(select(TrainingWorker).order_by(TrainingWorker.device)))

    with Heartbeat(any_database, devices_of(["finetuning.cpu", "finetuning.gpu"]), seconds=0.05):
        first = eventually(rows)
        assert [(row.owner, row.device, row.revision) for row in first] == [
            (worker_name(), "cpu", code_revision()),
            (worker_name(), "gpu", code_revision()),
        ]
        eventually(lambda: rows()[0].heard_at > first[0].heard_at)
    assert rows() == []


def test_a_worker_that_was_killed_is_forgotten_after_a_while(database: Database) -> None:
    hear(database, "cpu", ago=3600)
    hear(database, "gpu")
    sweeping = Sweeping(database)
    assert sweeping.leadership.term is not None
    assert Pruner(database, sweeping.leadership).prune(sweeping.leadership.term) == 1
    with database.read() as session:
        assert session.scalars(select(TrainingWorker.device)).all() == ["gpu"]


def test_a_job_whose_budget_is_used_up_goes_on_with_a_larger_one(control: Any, sealed: Database) -> None:
    job = create(control).id
    use_up(sealed, job, seconds=1800, step=40)
    seen = get(control, job)
    assert (seen.state, seen.code, seen.spent.seconds, seen.spent.cost) == (pb.JOB_STATE_FAILED, "BUDGET", 1800, 3600)
    with refused(Code.FAILED_PRECONDITION, "used up its budget", "--budget"):
        control.ResumeJob(pb.ResumeJobRequest(id=job))
    with refused(Code.INVALID_ARGUMENT, "budget.seconds", "1800"):
        control.ResumeJob(pb.ResumeJobRequest(id=job, budget=pb.Budget(seconds=1700)))
    with refused(Code.INVALID_ARGUMENT, "budget.seconds", "as well"):
        control.ResumeJob(pb.ResumeJobRequest(id=job, budget=pb.Budget(steps=90)))
    with refused(Code.INVALID_ARGUMENT, "budget.cost"):
        control.ResumeJob(pb.ResumeJobRequest(id=job, budget=pb.Budget(cost=-1)))
    again = control.ResumeJob(pb.ResumeJobRequest(id=job, budget=pb.Budget(seconds=3600, steps=90)))
    assert (again.state, again.code, again.HasField("finished_at")) == (pb.JOB_STATE_QUEUED, "", False)
    assert (again.budget.seconds, again.budget.steps, again.max_attempts) == (3600, 90, 4)
    assert take(sealed, job).job.budget == {"seconds": 3600, "steps": 90}
    with sealed.read() as session:
        acts = session.scalars(select(AuditEntry).where(AuditEntry.action == "resume_job")).all()
        assert [act.detail["budget"] for act in acts] == [{"seconds": 3600, "steps": 90}]


def test_a_running_job_keeps_its_budget_and_a_paused_one_takes_another(control: Any, sealed: Database) -> None:
    job = create(control).id
    attempt = take(sealed, job)
    more = pb.Budget(cost=50)
    with refused(Code.FAILED_PRECONDITION, "pause it first"):
        control.ResumeJob(pb.ResumeJobRequest(id=job, budget=more))
    control.PauseJob(pb.PauseJobRequest(id=job))
    attempts.stop(sealed, attempt)
    resumed = control.ResumeJob(pb.ResumeJobRequest(id=job, budget=more))
    assert (resumed.state, resumed.budget.cost, resumed.budget.seconds) == (pb.JOB_STATE_QUEUED, 50, 1800)


def test_a_job_that_met_another_revision_goes_on_once_that_is_declared(control: Any, sealed: Database) -> None:
    job = create(control).id
    attempts.fail(sealed, take(sealed, job), "REVISION: made by 1.0+abc", final=True, code="REVISION")
    assert get(control, job).code == "REVISION"
    control.ResumeJob(pb.ResumeJobRequest(id=job, allow_revision=True))
    assert take(sealed, job).job.allow_revision


@pytest.mark.parametrize("code", ["BAD_DATA", "HUNG", ""])
def test_a_job_that_failed_for_another_reason_stays_failed(control: Any, sealed: Database, code: str) -> None:
    job = create(control).id
    attempts.fail(sealed, take(sealed, job), "no use", final=True, code=code)
    with refused(Code.FAILED_PRECONDITION, "has ended: failed"):
        control.ResumeJob(pb.ResumeJobRequest(id=job, budget=pb.Budget(seconds=9999), allow_revision=True))
    assert get(control, job).budget.seconds == 1800


def test_a_job_that_is_being_judged_can_no_longer_be_steered(control: Any, sealed: Database) -> None:
    with sealed.write() as session:
        job = history.queue_job(session, 1)
        history.finish(session, job)
    for call in (
        lambda: control.CancelJob(pb.CancelJobRequest(id=job.id)),
        lambda: control.PauseJob(pb.PauseJobRequest(id=job.id)),
        lambda: control.ResumeJob(pb.ResumeJobRequest(id=job.id)),
    ):
        with refused(Code.FAILED_PRECONDITION, "has ended: succeeded", "it made version 1"):
            call()


def test_lineage_names_every_revision_that_trained_the_version(control: Any, sealed: Database) -> None:
    job = create(control).id
    attempts.stop(sealed, take(sealed, job))
    attempt = take(sealed, job)
    started = {"event": "started", "start_step": 4, "total_steps": 9, "checkpoint_revision": "1.0+aaa"}
    RunRecord(sealed, attempt).event(started)
    assert succeed(sealed, attempt) == 1
    found = control.GetLineage(pb.GetLineageRequest(model="sentiment", version=1))
    assert list(found.revisions) == ["1.0+aaa", code_revision()]
    assert (found.run.revision, found.run.resumed_revision) == (code_revision(), "1.0+aaa")


def test_a_verification_may_cost_what_the_job_may_in_the_end(control: Any, sealed: Database) -> None:
    job = create(control).id
    use_up(sealed, job, seconds=1800, step=40)
    control.ResumeJob(pb.ResumeJobRequest(id=job, budget=pb.Budget(seconds=3600)))
    assert succeed(sealed, take(sealed, job)) == 1
    assert control.VerifyModel(pb.VerifyModelRequest(model="sentiment", version=1)).budget.seconds == 3600

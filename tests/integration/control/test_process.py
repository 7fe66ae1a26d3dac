"""The process itself, on a real broker, with a finetuning worker that never comes."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import delete, select

from shared.config import child_environment
from shared.contracts import messages, routes
from shared.contracts.generated.flywheel.control.v1 import control_pb2 as pb
from shared.contracts.generated.flywheel.control.v1 import control_pb2_grpc
from shared.rpc.channel import open_channel
from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.migrate import migrate
from shared.storage.tables import Job, OutboxMessage
from tests.integration.control.calls import YAML
from tests.support.valkey import Valkey
from tests.support.wait import eventually
from tests.unit.control import history


class Control:
    """One `python -m services.control`."""

    def __init__(self, **settings: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.control"],
            env=child_environment(**settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.ready = json.loads(self.process.stdout.readline())
        self.channel = open_channel(self.ready["address"])
        self.stub = control_pb2_grpc.ControlStub(self.channel)

    def status(self) -> pb.Status:
        answer: pb.Status = self.stub.GetStatus(pb.GetStatusRequest(), timeout=20)
        return answer

    def stop(self) -> int:
        self.channel.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            assert self.process.stdout is not None
            self.process.stdout.close()


@pytest.fixture
def settings(valkey: Valkey, tmp_path: Path) -> dict[str, Any]:
    return {"home": tmp_path, "broker_url": valkey.url, "log_level": "WARNING"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'flywheel.db'}"
    migrate(url)
    opened = Database(url)
    yield opened
    opened.close()


def test_a_process_decides_leads_repairs_measures_and_drains(settings: dict[str, Any], database: Database) -> None:
    control = Control(**settings)
    try:
        assert control.ready["service"] == "control"
        health = health_pb2_grpc.HealthStub(control.channel)
        request = health_pb2.HealthCheckRequest(service="flywheel.control.v1.Control")
        assert health.Check(request).status == health_pb2.HealthCheckResponse.SERVING
        control.stub.ApplyPipeline(pb.ApplyPipelineRequest(yaml=YAML))
        with database.write() as session:
            history.add_batch(session, "b1", 100)
            history.seal(session, 1, "b1")
            message = messages.ConsiderDatasetVersion(pipeline="sentiment", version=1)
            outbox.put(session, routes.CONSIDER_DATASET_VERSION, message)
        (job,) = eventually(lambda: control.stub.ListJobs(pb.ListJobsRequest()).jobs)
        assert job.trigger == "new_rows"
        eventually(lambda: control.status().queues["finetuning.cpu"] == 1)
        eventually(lambda: control.status().leader)
        with database.write() as session:
            session.execute(delete(OutboxMessage))
        eventually(lambda: _messages(database, routes.RUN_JOB) == [job.id])
        eventually(lambda: 'flywheel_training_runs{pipeline="sentiment",state="queued"} 1.0' in _metrics(control))
        eventually(lambda: 'flywheel_queue_depth{queue="finetuning.cpu"}' in _metrics(control))
        assert 'flywheel_trigger_decisions_total{decision="start"' in _metrics(control)
    finally:
        assert control.stop() == 0


def test_a_standby_takes_over_from_a_killed_leader(settings: dict[str, Any], database: Database) -> None:
    first = Control(**settings)
    try:
        eventually(lambda: first.status().leader)
        second = Control(**settings)
        try:
            leader = second.status().leader
            assert leader
            first.process.kill()
            first.process.wait()
            after = eventually(lambda: _another(second.status().leader, leader))
            assert after != leader
            with database.write() as session:
                history.declare(session)
                history.add_batch(session, "b1", 100)
                history.seal(session, 1, "b1")
            assert eventually(lambda: _jobs(database)) == 1
        finally:
            second.stop()
    finally:
        first.stop()


def _messages(database: Database, route: routes.Route) -> list[str]:
    with database.read() as session:
        return [message.job for message in history.messages(session, route)]


def _jobs(database: Database) -> int:
    with database.read() as session:
        return len(session.scalars(select(Job)).all())


def _metrics(control: Control) -> str:
    with urlopen(control.ready["metrics"]) as page:
        return str(page.read().decode())


def _another(leader: str, before: str) -> str:
    return leader if leader != before else ""

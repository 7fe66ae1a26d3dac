"""From the message that a job waits to its first step, on a platform with a spare training process."""

import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

from sqlalchemy import select

from benchmarks.training.scenarios import Scenario
from shared.client.client import FlywheelClient
from shared.storage.database import Database
from shared.storage.tables import Job, Run
from tests.support.platform import Platform
from tests.support.wait import eventually

PIPELINE = """\
name: starts
kind: {kind}
base: {base}
method: {{name: full, epochs: 1, batch_size: 32, max_length: 128}}
trigger: {{new_rows: 1000000}}
"""
IDLE_SECONDS = 15.0
"""Between two jobs, so that the spare process is ready again, as it is when data arrives now and then."""
LABELS = 20
"""Of so many labels the rows are taken, all of which then occur in the train split."""


def measure_starts(scenario: Scenario, jobs: int) -> dict[str, float]:
    """Median and worst seconds from a job's row to its first step; real base model, real rows."""
    labels = sorted({row["label"] for row in scenario.train})[:LABELS]
    rows = [{"text": row["text"], "label": row["label"]} for row in scenario.train if row["label"] in labels]
    with tempfile.TemporaryDirectory() as folder:
        platform = Platform(Path(folder) / "home").start()
        database = Database(f"sqlite:///{platform.home / 'flywheel.db'}")
        try:
            with platform.client() as client:
                client.apply_pipeline(PIPELINE.format(kind=scenario.kind, base=scenario.base))
                client.append_rows("starts", rows)
                eventually(lambda: client.dataset_versions("starts"))
                # The first one converts the base model.
                seconds = [_start(client, database, number) for number in range(jobs + 1)][1:]
        finally:
            database.close()
            platform.stop()
    return {"start_seconds": round(median(seconds), 3), "start_seconds_worst": round(max(seconds), 3)}


def _start(client: FlywheelClient, database: Database, number: int) -> float:
    time.sleep(IDLE_SECONDS)
    job = client.train("starts", idempotency_key=f"start-{number}")
    eventually(partial(_has_stepped, database, job.id), timeout=300, interval=0.2)
    client.cancel(job.id)
    eventually(lambda: client.job(job.id).is_over, timeout=120, interval=0.2)
    with database.read() as session:
        row = session.get_one(Job, job.id)
        run = session.scalars(select(Run).filter_by(job=job.id)).one()
        assert run.first_step_at
        return (run.first_step_at - row.created_at).total_seconds()


def _has_stepped(database: Database, job: str) -> bool:
    with database.read() as session:
        run = session.scalars(select(Run).filter_by(job=job)).first()
        return run is not None and run.first_step_at is not None

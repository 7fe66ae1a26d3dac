"""What the platform itself costs: `python -m benchmarks.loop [--rounds 5] [--jobs 20]`.

1. Sealed-to-serving: from the moment a dataset version is sealed to the moment its model version answers, minus
   the seconds of the run and of the evaluation. Aim: at most 5 s (median of the rounds).
2. Dispatch: from the job row to the supervisor, and to the first training step, p50 and p99, on a tiny model.
   Aim: job row to supervisor under 50 ms p50. Baseline in the same run, on the same Valkey: bare Celery with JSON,
   from send to start of a task.

The last line is one JSON object.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from celery import Celery
from sqlalchemy import select

from benchmarks.machine import describe_machine
from shared.client.client import FlywheelClient
from shared.storage.database import Database
from shared.storage.tables import DatasetVersion, Deployment, Evaluation, Job, ModelVersion, Run
from tests.support.platform import Platform, wait_for_champion
from tests.support.rows import learnable_rows
from tests.support.tiny_models import tiny_encoder
from tests.support.wait import eventually

PIPELINE = """\
name: {name}
kind: classification
base: {base}
method: {{name: full, learning_rate: 4e-3, epochs: {epochs}, batch_size: 8, precision: float32}}
data: {{splits: {{validation: 0.05, test: 0.25}}}}
trigger: {{new_rows: {new_rows}, cooldown: 0s}}
gate: {{floors: {{accuracy: 0.5}}, champion: null}}
"""
IDLE_SECONDS = 8.0
"""Between two jobs, so that the spare training process is ready again, as it is when data arrives now and then."""
AIMS = {"overhead_seconds": 5.0, "to_supervisor_p50_ms": 50.0}


def measure_overhead(client: FlywheelClient, database: Database, base: Path, rounds: int) -> dict[str, float]:
    """Seconds from sealed to serving that are neither run nor evaluation: median and worst of the rounds."""
    client.apply_pipeline(PIPELINE.format(name="overhead", base=base, epochs=8, new_rows=100))
    overheads, totals = [], []
    for number in range(1, rounds + 1):
        client.append_rows("overhead", learnable_rows(600, seed=number), batch_key=str(number))
        wait_for_champion(client, "overhead", number)
        served = eventually(partial(_sealed_to_serving, database, "overhead", number), timeout=60)
        assert served
        total, compute = served
        totals.append(total)
        overheads.append(total - compute)
        print(f"round {number}: sealed to serving {total:.2f} s, of which run and evaluation {compute:.2f} s")
    return {
        "overhead_seconds": round(statistics.median(overheads), 3),
        "overhead_seconds_worst": round(max(overheads), 3),
        "sealed_to_serving_seconds": round(statistics.median(totals), 3),
    }


def _sealed_to_serving(database: Database, model: str, version: int) -> tuple[float, float] | None:
    """Seconds from sealed to ready, and those of run and evaluation; None while it is not served."""
    with database.read() as session:
        made = session.get(ModelVersion, (model, version))
        deployed = session.scalars(select(Deployment).filter_by(model=model, version=version)).first()
        judged = session.scalars(select(Evaluation).filter_by(model=model, version=version)).first()
        if not (made and deployed and deployed.ready_at and judged and judged.started_at and judged.finished_at):
            return None
        dataset = session.get_one(DatasetVersion, (model, made.dataset_version))
        run = session.get_one(Run, made.run)
        assert dataset.sealed_at
        assert run.finished_at
        compute = (run.finished_at - run.started_at) + (judged.finished_at - judged.started_at)
        return (deployed.ready_at - dataset.sealed_at).total_seconds(), compute.total_seconds()


def measure_dispatch(client: FlywheelClient, database: Database, base: Path, jobs: int) -> dict[str, float]:
    """Milliseconds from the job row to its supervisor, and to its first step."""
    client.apply_pipeline(PIPELINE.format(name="dispatch", base=base, epochs=1, new_rows=1_000_000))
    client.append_rows("dispatch", learnable_rows(200), batch_key="rows")
    eventually(lambda: client.dataset_versions("dispatch"))
    to_supervisor, to_first_step = [], []
    for number in range(jobs):
        job = client.train("dispatch", idempotency_key=f"job-{number}")
        eventually(partial(_is_over, client, job.id), timeout=120, interval=0.1)
        time.sleep(IDLE_SECONDS)
        with database.read() as session:
            row = session.get_one(Job, job.id)
            run = session.scalars(select(Run).filter_by(job=job.id)).first()
            assert run
            assert run.first_step_at, f"{job.id} is {row.state}: {row.reason}"
            to_supervisor.append((run.started_at - row.created_at).total_seconds() * 1000)
            to_first_step.append((run.first_step_at - row.created_at).total_seconds() * 1000)
    return {**_quantiles("to_supervisor", to_supervisor), **_quantiles("to_first_step", to_first_step)}


def _is_over(client: FlywheelClient, job: str) -> bool:
    return client.job(job).is_over


def measure_bare_celery(broker: str, messages: int) -> dict[str, float]:
    """Milliseconds from send to start of a task with nothing of ours: one worker, JSON, the same server."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bare_celery", broker], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout
    app = Celery(broker=broker, set_as_current=False)
    app.conf.task_default_queue = "bare"
    lines: list[str] = []
    output = worker.stdout  # its banner goes there too
    reader = threading.Thread(target=lambda: lines.extend(line for line in output if line[0].isdigit()), daemon=True)
    try:
        reader.start()
        for _ in range(messages + 1):
            app.send_task("bare.start", args=[time.time()])
            time.sleep(0.05)
        eventually(lambda: len(lines) >= messages + 1, timeout=60)
    finally:
        worker.terminate()
        worker.wait(20)
    return _quantiles("bare_celery", [float(line) for line in lines[1:]])


def _quantiles(name: str, values: list[float]) -> dict[str, float]:
    percentiles = statistics.quantiles(values, n=100, method="inclusive")
    return {f"{name}_p50_ms": round(percentiles[49], 2), f"{name}_p99_ms": round(percentiles[98], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="loops for the overhead")
    parser.add_argument("--jobs", type=int, default=20, help="jobs for the dispatch latency")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = tiny_encoder(Path(folder) / "base")
        platform = Platform(Path(folder) / "home").start()
        try:
            database = Database(f"sqlite:///{platform.home / 'flywheel.db'}")
            with platform.client() as client:
                figures = measure_overhead(client, database, base, wanted.rounds)
                figures |= measure_dispatch(client, database, base, wanted.jobs)
            figures |= measure_bare_celery((platform.home / "run" / "broker.url").read_text().strip(), 200)
            database.close()
        finally:
            platform.stop()
    ratios = {
        "to_supervisor_over_bare_celery_p50": round(figures["to_supervisor_p50_ms"] / figures["bare_celery_p50_ms"], 2)
    }
    print(json.dumps({"figures": figures, "ratios": ratios, "aims": AIMS, "machine": describe_machine()}))


if __name__ == "__main__":
    main()

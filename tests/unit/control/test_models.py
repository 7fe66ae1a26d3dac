import pytest

from shared.errors import IllegalTransition, NotFound
from shared.storage.database import Database
from shared.storage.repositories import models, pipelines
from tests.unit.control import history


def test_versions_are_numbered_from_one_and_a_job_makes_only_one(any_database: Database) -> None:
    with any_database.write() as session:
        history.declare(session)
        job = history.queue_job(session, 1)
        first = history.finish(session, job)
        second = history.finish(session, history.queue_job(session, 1))
        assert (first.version, second.version, first.state) == (1, 2, "trained")
        columns = {name: getattr(first, name) for name in ("model", "kind", "method", "base", "job", "run")}
        assert models.add_version(session, **columns).version == 1


def test_an_unknown_version_is_named_with_the_newest(database: Database) -> None:
    with database.write() as session:
        history.declare(session)
        with pytest.raises(NotFound, match="no version 7; it has none yet"):
            models.get_version(session, history.NAME, 7)
        history.finish(session, history.queue_job(session, 1))
        with pytest.raises(NotFound, match="no version 7; its newest is 1"):
            models.get_version(session, history.NAME, 7)
        with pytest.raises(NotFound, match="no champion"):
            models.get_version(session, history.NAME, 0)


def test_a_state_that_cannot_follow_is_refused(database: Database) -> None:
    with database.write() as session:
        history.declare(session)
        version = history.finish(session, history.queue_job(session, 1))
        with pytest.raises(IllegalTransition):
            models.move_version(session, version, "champion")


def test_alias_moves_rise_and_keep_their_history(any_database: Database) -> None:
    with any_database.write() as session:
        first = models.move_alias(session, "m", "champion", 1, "promotion", "a", "first")
        second = models.move_alias(session, "m", "champion", 2, "promotion", "a", "second")
        models.move_alias(session, "m", "candidate", 3, "candidate", "a", "third")
        models.move_alias(session, "m", "candidate", None, "promotion", "a", "gone")
    with any_database.read() as session:
        assert models.aliases(session, "m") == {"champion": 2}
        assert models.alias(session, "m", "candidate") is None
        assert second.id > first.id
        seen = [(move.from_version, move.to_version) for move in models.moves(session, "m", 10, alias="champion")]
        assert seen == [(1, 2), (None, 1)]


def test_an_unknown_pipeline_is_answered_with_the_nearest(database: Database) -> None:
    with database.write() as session:
        with pytest.raises(NotFound, match="none is declared yet"):
            pipelines.get(session, "sentimant")
        history.declare(session)
        with pytest.raises(NotFound, match="did you mean 'sentiment'"):
            pipelines.get(session, "sentimant")
        assert pipelines.spec(session, history.NAME).kind == "classification"


def test_saving_the_same_spec_again_changes_nothing(any_database: Database) -> None:
    with any_database.write() as session:
        history.declare(session)
    with any_database.write() as session:
        row, changed = pipelines.save(session, history.spec())
        assert (row.revision, changed) == (1, False)
        row, changed = pipelines.save(session, history.spec(seed=5))
        assert (row.revision, changed) == (2, True)

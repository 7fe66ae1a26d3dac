from typing import Any

import pytest
from sqlalchemy import select

from services.control import promotion, verdicts
from shared.contracts import routes
from shared.errors import FailedPrecondition, GateNotPassed
from shared.storage.database import Database
from shared.storage.repositories import models, pipelines
from shared.storage.tables import AliasMove, AuditEntry, Batch, ModelVersion, Report
from tests.unit.control import history


def prepare(database: Database, versions: int, **spec: Any) -> None:
    """A pipeline with one more batch in each dataset version."""
    with database.write() as session:
        history.declare(session, **spec)
        for number in range(1, versions + 1):
            history.add_batch(session, f"b{number}", 100)
            history.seal(session, number, *(f"b{n}" for n in range(1, number + 1)))


def train_and_judge(database: Database, dataset_version: int, verdict: str, *, worse: bool = False) -> Report:
    with database.write() as session:
        version = history.finish(session, history.queue_job(session, dataset_version))
        return history.judge(session, version, verdict, worse=worse)


def consider(database: Database, report: Report) -> None:
    with database.write() as session:
        verdicts.consider(session, report.id)


def states(database: Database) -> dict[int, str]:
    with database.read() as session:
        return {row.version: row.state for row in session.scalars(select(ModelVersion))}


def test_a_pass_makes_the_version_champion_once(any_database: Database) -> None:
    prepare(any_database, 2)
    for dataset_version in (1, 2):
        report = train_and_judge(any_database, dataset_version, "pass")
        for _ in range(3):
            consider(any_database, report)
    assert states(any_database) == {1: "superseded", 2: "champion"}
    with any_database.read() as session:
        assert models.aliases(session, history.NAME) == {"champion": 2}
        moved = [(move.alias, move.to_version) for move in session.scalars(select(AliasMove).order_by(AliasMove.id))]
        assert moved == [
            ("candidate", 1),
            ("candidate", None),
            ("champion", 1),
            ("candidate", 2),
            ("candidate", None),
            ("champion", 2),
        ]
        assert all(report.considered_at for report in session.scalars(select(Report)))


def test_without_automatic_rollout_a_pass_is_a_candidate(database: Database) -> None:
    prepare(database, 2, rollout={"automatic": False})
    consider(database, train_and_judge(database, 1, "pass"))
    assert states(database) == {1: "candidate"}
    consider(database, train_and_judge(database, 2, "pass"))
    assert states(database) == {1: "blessed", 2: "candidate"}
    with database.write() as session:
        assert models.aliases(session, history.NAME) == {"candidate": 2}
        promotion.promote_by_hand(session, history.NAME, 1, "the older one")
        assert models.aliases(session, history.NAME) == {"candidate": 2, "champion": 1}


def test_a_pass_against_another_champion_stays_a_candidate(database: Database) -> None:
    prepare(database, 3)
    consider(database, train_and_judge(database, 1, "pass"))
    late, early = (train_and_judge(database, version, "pass") for version in (2, 3))
    consider(database, early)
    consider(database, late)
    assert states(database) == {1: "superseded", 2: "candidate", 3: "champion"}


def test_a_version_worse_than_the_champion_has_its_new_batches_held(any_database: Database) -> None:
    prepare(any_database, 3)
    consider(any_database, train_and_judge(any_database, 1, "pass"))
    with any_database.write() as session:
        session.get_one(Batch, "b2").state = "held"
    report = train_and_judge(any_database, 3, "fail", worse=True)
    for _ in range(2):
        consider(any_database, report)
    assert states(any_database) == {1: "champion", 2: "refused"}
    with any_database.read() as session:
        (message,) = history.messages(session, routes.HOLD_BATCHES)
        assert (message.pipeline, list(message.batches), message.report) == (history.NAME, ["b3"], report.id)
        assert "version 2 was worse than version 1: accuracy 0.9 against a floor" in message.reason


@pytest.mark.parametrize(
    ("worse", "gate"), [(False, {}), (True, {"hold_batches": False})], ids=["not worse", "holding is off"]
)
def test_other_refusals_hold_nothing(database: Database, worse: bool, gate: dict[str, Any]) -> None:
    prepare(database, 2, gate=gate)
    consider(database, train_and_judge(database, 1, "pass"))
    consider(database, train_and_judge(database, 2, "fail", worse=worse))
    assert states(database) == {1: "champion", 2: "refused"}
    with database.read() as session:
        assert history.messages(session, routes.HOLD_BATCHES) == []


def test_a_first_version_that_fails_is_refused_and_holds_nothing(database: Database) -> None:
    prepare(database, 1)
    consider(database, train_and_judge(database, 1, "fail"))
    assert states(database) == {1: "refused"}


def test_a_deleted_pipeline_promotes_nothing(database: Database) -> None:
    prepare(database, 1)
    report = train_and_judge(database, 1, "pass")
    with database.write() as session:
        row = pipelines.get(session, history.NAME)
        row.deleted_at = row.updated_at
    consider(database, report)
    assert states(database) == {1: "candidate"}


def test_promotion_is_refused_unless_the_verdict_is_pass(database: Database) -> None:
    prepare(database, 2)
    with database.write() as session:
        version = history.finish(session, history.queue_job(session, 1))
        with pytest.raises(GateNotPassed, match="has not been judged"):
            promotion.promote_by_hand(session, history.NAME, 1, "now")
        history.judge(session, version, "fail")
        with pytest.raises(GateNotPassed, match=r"did not pass its gate: accuracy 0\.9 against a floor"):
            promotion.promote_by_hand(session, history.NAME, 1, "now")
        assert models.aliases(session, history.NAME) == {}


def test_promoting_the_champion_again_changes_nothing(database: Database) -> None:
    prepare(database, 1)
    consider(database, train_and_judge(database, 1, "pass"))
    with database.write() as session:
        before = models.moves(session, history.NAME, 1)[0]
        assert promotion.promote_by_hand(session, history.NAME, 1, "again").id == before.id


def test_rollback_goes_back_champion_by_champion(any_database: Database) -> None:
    prepare(any_database, 3)
    for dataset_version in (1, 2, 3):
        consider(any_database, train_and_judge(any_database, dataset_version, "pass"))
    with any_database.write() as session:
        assert promotion.rollback(session, history.NAME, "bad").to_version == 2
        assert promotion.rollback(session, history.NAME, "worse").to_version == 1
        with pytest.raises(FailedPrecondition, match="nothing to go back to: version 1 is its first champion"):
            promotion.rollback(session, history.NAME, "again")
    assert states(any_database) == {1: "champion", 2: "rolled_back", 3: "rolled_back"}
    with any_database.write() as session:
        promotion.promote_by_hand(session, history.NAME, 3, "it was innocent")
        assert promotion.rollback(session, history.NAME, "no").to_version == 1
        acts = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
        assert acts == ["rollback", "rollback", "promote", "rollback"]


def test_rollback_without_a_champion_says_so(database: Database) -> None:
    prepare(database, 1)
    with database.write() as session, pytest.raises(FailedPrecondition, match="it has no champion"):
        promotion.rollback(session, history.NAME, "bad")

"""Whose test rows judge a version whose own dataset version lost rows."""

from datetime import UTC, datetime

import pytest

from services.evaluation.frozen import judging_uri, manifest_uri
from shared.errors import NotFound
from shared.storage.database import Database
from shared.storage.tables import DatasetVersion, ModelVersion

NOW = datetime.now(UTC)


def store(database: Database, **states: str) -> None:
    with database.write() as session:
        for name, state in states.items():
            number = int(name.removeprefix("v"))
            uri = f"datasets/mood/{number}.json" if state != "validating" else ""
            session.add(DatasetVersion(pipeline="mood", version=number, state=state, manifest_uri=uri, created_at=NOW))


def trained_on(version: int) -> ModelVersion:
    return ModelVersion(model="mood", version=1, dataset_version=version)


def test_a_version_is_judged_by_the_test_rows_of_its_own_dataset_version(database: Database) -> None:
    store(database, v1="sealed", v2="sealed")
    with database.read() as session:
        assert judging_uri(session, trained_on(1)) == "datasets/mood/1.json"


def test_where_rows_were_deleted_the_newest_dataset_version_judges_and_old_trust_stays(database: Database) -> None:
    store(database, v1="expired", v2="sealed", v3="validating")
    with database.read() as session:
        assert judging_uri(session, trained_on(1)) == "datasets/mood/2.json"
        assert manifest_uri(session, trained_on(1)) == "datasets/mood/1.json", "which batches a champion trusts"


def test_without_any_dataset_version_there_is_nothing_to_judge_by(database: Database) -> None:
    store(database, v3="validating")
    with database.read() as session, pytest.raises(NotFound, match="no sealed version 3"):
        judging_uri(session, trained_on(3))

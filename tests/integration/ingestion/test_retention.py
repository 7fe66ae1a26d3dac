"""Old dataset versions expire as the pipeline says, and never one that somebody needs."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from services.ingestion.handlers import handlers
from services.ingestion.housekeeping import Housekeeper
from services.ingestion.versions.retention import Keeper
from shared.contracts.codec import decode
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.routes import BUILD_DATASET_VERSION
from shared.errors import Unavailable
from shared.messaging.handler import HandlerContext
from shared.storage.database import Database
from shared.storage.tables import Alias, AuditEntry, DatasetVersion, Evaluation, Job, Report, Search
from tests.integration.ingestion.door import SENTIMENT, Door, declare, tweets
from tests.integration.ingestion.test_deleting import job, model_version
from tests.support.wait import eventually

NOW = datetime.now(UTC)


def keep(door: Door, **limits: float) -> None:
    declare(door.database, {**SENTIMENT, "data": {"retention": limits}})


def build(door: Door, versions: int) -> None:
    for number in range(versions):
        door.append(tweets(4, start=10 * number), f"batch {number}")
        door.build()


def sealed(door: Door) -> list[int]:
    with door.database.read() as session:
        query = select(DatasetVersion.version).where(DatasetVersion.state == "sealed")
        return list(session.scalars(query.order_by(DatasetVersion.version)))


def test_only_so_many_versions_stay_readable_and_the_figures_of_the_others_stay(door: Door) -> None:
    build(door, 4)
    assert door.rooms.keeper.apply("sentiment") == []
    keep(door, versions=2)
    assert sorted(door.rooms.keeper.apply("sentiment")) == [1, 2]
    assert door.rooms.keeper.apply("sentiment") == []
    assert sealed(door) == [3, 4]
    expired = door.version(1)
    assert (expired.state, expired.splits.train + expired.splits.validation + expired.splits.test) == (
        pb.DATASET_VERSION_STATE_EXPIRED,
        4,
    )
    assert expired.reason == "retention: 3 newer versions; 2 stay readable"
    assert len(door.rows()) == 16
    with door.database.read() as session:
        acts = session.scalars(select(AuditEntry)).all()
    assert [(act.actor, act.action) for act in acts] == [("retention", "expire_dataset_version")] * 2


def test_versions_expire_by_age_but_never_the_newest(door: Door) -> None:
    build(door, 3)
    with door.database.write() as session:
        for row in session.scalars(select(DatasetVersion)):
            row.sealed_at = NOW - timedelta(days=30 if row.version != 2 else 1)
    keep(door, days=7)
    assert door.rooms.keeper.apply("sentiment") == [1]
    assert sealed(door) == [2, 3]


def test_what_is_needed_never_expires(door: Door) -> None:
    """The champion's data, what it was judged on, data of a job, of a search, and of what is being judged."""
    build(door, 8)
    keep(door, versions=1)
    with door.database.write() as session:
        session.add_all([model_version(1, 1, None), model_version(2, 3, None), model_version(3, 7, None)])
        session.add(Alias(model="sentiment", alias="champion", version=1, move=1))
        session.add(report(version=1, dataset_version=2))
        session.add(Evaluation(id="e", model="sentiment", version=2, state="queued", created_at=NOW))
        session.add(job("job-9", 4, "paused"))
        session.add(search(5))
        session.add(job("job-10", 6, "succeeded"))
    assert sorted(door.rooms.keeper.apply("sentiment")) == [6, 7]
    assert sealed(door) == [1, 2, 3, 4, 5, 8]
    with door.database.write() as session:
        session.get_one(Job, "job-9").state = "cancelled"
    assert door.rooms.keeper.apply("sentiment") == [4]


def test_files_that_only_an_expired_version_named_go(door: Door) -> None:
    """A batch that was held and released has another part since."""
    batch = door.append(tweets(10), "a")
    door.build()
    (part,) = [name for name in door.stored_parts() if name.endswith("parquet")]
    door.stub.HoldBatch(pb.HoldBatchRequest(id=batch.id))
    door.append(tweets(1), "b")
    door.stub.ReleaseBatch(pb.ReleaseBatchRequest(id=batch.id))
    door.build()
    keep(door, versions=1)
    assert part in door.stored_parts()
    assert door.rooms.keeper.apply("sentiment") == [1]
    assert part not in door.stored_parts()
    assert len(door.rows()) == len({row.id for row in door.rows()})


def test_a_message_that_builds_a_version_lets_old_ones_expire(door: Door, context: HandlerContext) -> None:
    keep(door, versions=1)
    for number in range(2):
        door.append(tweets(4, start=10 * number), f"batch {number}")
        message = decode(*last_message(door)).message
        handlers(door.rooms)[BUILD_DATASET_VERSION](message, context)
    assert sealed(door) == [2]


def test_the_housekeeper_goes_on_when_the_store_was_away(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    build(door, 2)
    keep(door, versions=1)
    away, apply_all = [True], Keeper.apply_all

    def flaky(keeper: Keeper) -> None:
        if away:
            away.pop()
            raise Unavailable("the artifact store does not answer")
        apply_all(keeper)

    monkeypatch.setattr(Keeper, "apply_all", flaky)
    housekeeper = Housekeeper(door.rooms.parts, door.rooms.keeper, every=0.01)
    housekeeper.start()
    try:
        eventually(lambda: sealed(door) == [2])
    finally:
        housekeeper.stop()


@pytest.fixture
def context(database: Database) -> HandlerContext:
    return HandlerContext("msg-1", threading.Event(), database)


def last_message(door: Door) -> tuple[str, bytes]:
    message = door.messages("ingestion.build_dataset_version")[-1]
    return message.task, message.payload


def report(version: int, dataset_version: int) -> Report:
    return Report(
        id="report-1",
        model="sentiment",
        version=version,
        dataset_version=dataset_version,
        test_rows=1,
        test_digest="0",
        metrics={},
        verdict="pass",
        reasons=[],
        seconds=1.0,
        created_at=NOW,
    )


def search(dataset_version: int) -> Search:
    return Search(
        id="search-1",
        pipeline="sentiment",
        dataset_version=dataset_version,
        spec={},
        plan={},
        device="cpu",
        max_attempts=1,
        state="running",
        created_at=NOW,
    )

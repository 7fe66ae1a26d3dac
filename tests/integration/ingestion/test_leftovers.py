"""Parts that a crash left behind."""

from pathlib import Path

import pytest

from services.ingestion.storing.parts import Parts
from shared.errors import Unavailable
from tests.integration.ingestion.door import Door, tweets


def test_parts_that_no_batch_names_are_swept_and_old_versions_keep_theirs(door: Door) -> None:
    batch = door.append(tweets(20), "a")
    door.build()
    folder = Path(door.settings.resolved_artifacts_url) / "datasets" / "sentiment" / "parts"
    (named,) = door.stored_parts()
    orphan, aside = "batch-00000000000aaaaaaaaa.part-0.parquet", f"{named}.part-1"
    foreign = "notes.txt"
    for name in (orphan, aside, foreign):
        (folder / name).write_bytes(b"half")
    parts: Parts = door.rooms.parts
    assert parts.sweep(stale_seconds=3600) == 1
    assert parts.sweep(stale_seconds=-60) == 1
    assert door.stored_parts() == [named, foreign]
    assert len(door.rows(batches=[batch.id])) == 20


def test_a_commit_that_may_have_been_done_keeps_its_part(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database goes away at the commit: nobody can tell then, so the part stays until a sweep can."""

    def away(*_: object, **__: object) -> None:
        raise Unavailable("the database does not answer")

    with monkeypatch.context() as patched:
        patched.setattr("services.ingestion.intake.receiving.row_index.changed", away)
        patched.setattr("services.ingestion.storing.parts.select", away)
        with pytest.raises(Exception, match="does not answer"):
            door.append(tweets(20), "a")
    assert len(door.stored_parts()) == 1
    assert door.append(tweets(20), "a").accepted == 20
    assert door.rooms.parts.sweep(stale_seconds=-60) == 2, "the part and its index"
    assert len(door.stored_parts()) == 1

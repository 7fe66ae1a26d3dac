"""Folders that pipelines follow: what is new or changed comes in once, when its writer is done with it."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from services.ingestion.following.files import FileFollower
from services.ingestion.following.following import Following
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.errors import (
    DataCorrupted,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from shared.pipelines.schema import PipelineSpec
from shared.storage.database import Database, clock
from shared.storage.repositories import batches, imports
from shared.storage.tables import Import, SourceState
from tests.integration.ingestion.door import SENTIMENT, Door, declare, lines, open_door, tweets
from tests.support.wait import eventually


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def door(database: Database, tmp_path: Path, drop: Path) -> Iterator[Door]:
    with open_door(database, tmp_path / "home", import_folders=str(drop)) as opened:
        yield opened


def followed(door: Door, folder: Path, **more: Any) -> FileFollower:
    source = {"name": "drop", "uri": str(folder), "every": 1, **more}
    spec = PipelineSpec.model_validate({**SENTIMENT, "data": {"sources": [source]}})
    declare(door.database, spec.model_dump(mode="json"))
    fetcher = door.rooms.importer._fetcher
    return FileFollower(door.database, fetcher, "sentiment", spec.data.sources[0], f"owner-{os.urandom(4).hex()}")


def look(door: Door, follower: FileFollower, times: int = 1) -> None:
    """Looks, as if the time to look had come each time, and runs the imports."""
    for _ in range(times):
        with door.database.write() as session:
            session.execute(update(SourceState).values(seen_at=clock(session) - timedelta(hours=1)))
        assert follower.look()
    while door.rooms.importer.run_next():
        continue


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise error

    return fail


def make_due(door: Door) -> None:
    """As if all waits were over."""
    with door.database.write() as session:
        past = clock(session) - timedelta(seconds=1)
        session.execute(update(Import).where(Import.retry_at.is_not(None)).values(retry_at=past))
        session.execute(update(Import).where(Import.lease_expires_at.is_not(None)).values(lease_expires_at=past))


def asked(door: Door) -> list[Import]:
    with door.database.read() as session:
        return imports.page(session, "sentiment", 500, 0)


def accepted(door: Door) -> int:
    with door.database.read() as session:
        return sum(batch.accepted for batch in batches.page(session, "sentiment", 500, 0))


def source(door: Door) -> pb.Source:
    found: list[pb.Source] = door.stub.ListSources(pb.ListSourcesRequest(), timeout=20).sources
    assert len(found) == 1
    return found[0]


def test_a_file_comes_in_once_it_looks_the_same_twice_and_never_again(door: Door, drop: Path) -> None:
    follower = followed(door, drop)
    (drop / "a #1.jsonl").write_text(lines(tweets(20)))
    look(door, follower)
    assert (asked(door), source(door).pending) == ([], 1)
    look(door, follower)
    assert (accepted(door), source(door).rows, source(door).pending) == (20, 20, 0)
    look(door, follower, times=3)
    look(door, followed(door, drop), times=3)
    assert len(asked(door)) == 1, "nor by a process that has seen nothing yet"
    (one,) = asked(door)
    assert one.source == "drop"
    with door.database.read() as session:
        assert batches.page(session, "sentiment", 1, 0)[0].source == "drop"


def test_a_file_that_is_still_written_is_left_alone_and_a_changed_one_comes_in_again(door: Door, drop: Path) -> None:
    follower, file = followed(door, drop), drop / "a.jsonl"
    for count in (5, 10, 15):
        file.write_text(lines(tweets(count)))
        look(door, follower)
    assert accepted(door) == 0
    look(door, follower)
    assert accepted(door) == 15
    file.write_text(lines(tweets(18)))
    look(door, follower, times=2)
    assert accepted(door) == 18
    assert len(asked(door)) == 2


def test_hidden_and_partial_files_are_passed_over(door: Door, drop: Path) -> None:
    for name in ("a.jsonl.partial", ".b.jsonl", "c.tmp"):
        (drop / name).write_text(lines(tweets(3)))
    look(door, followed(door, drop), times=3)
    assert asked(door) == []
    (drop / "a.jsonl.partial").rename(drop / "a.jsonl")
    look(door, followed(door, drop), times=2)
    assert accepted(door) == 3


def test_one_process_at_a_time_looks(door: Door, drop: Path) -> None:
    followers = [followed(door, drop) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        looked = list(pool.map(FileFollower.look, followers))
    assert sum(looked) == 1
    assert not followers[0].look(), "and the next look has its time"


def test_a_bad_file_stays_out_until_it_changes_and_is_told_so_long_and_stops_no_other(door: Door, drop: Path) -> None:
    follower = followed(door, drop)
    (drop / "a.jsonl").write_bytes(b"%PDF-1.7 no rows")
    look(door, follower, times=2)
    (drop / "b.jsonl").write_text(lines(tweets(5)))
    look(door, follower, times=2)
    make_due(door)
    look(door, follower, times=2)
    told = source(door)
    assert told.error.startswith(f"file://{drop}/a.jsonl: ")
    assert told.error.endswith("(1 file left out until changed)")
    assert (told.refused, told.retrying, told.HasField("next_try_at"), len(asked(door))) == (1, 0, False, 2)
    (drop / "a.jsonl").write_text(lines(tweets(3, start=5)))
    look(door, follower, times=2)
    assert (accepted(door), source(door).error, source(door).refused) == (8, "", 0)


def test_a_file_that_failed_for_a_reason_that_may_pass_comes_in_later_after_growing_waits(
    door: Door, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = followed(door, drop)
    (drop / "a.jsonl").write_text(lines(tweets(6)))
    waits = []
    with monkeypatch.context() as patched:
        patched.setattr(door.rooms.importer, "_fetch", failing(PermissionDenied("the store refuses it")))
        for tries in range(1, 4):
            look(door, follower, times=2)
            (one,) = asked(door)
            assert (one.state, one.failures) == ("failed", tries), "once more, and not before its time"
            assert one.finished_at
            assert one.retry_at
            waits.append(round((one.retry_at - one.finished_at).total_seconds()))
            told = source(door)
            assert told.error == f"file://{drop}/a.jsonl: the store refuses it (1 file tried again)"
            assert (told.retrying, told.refused, told.next_try_at.ToDatetime(UTC)) == (1, 0, one.retry_at)
            make_due(door)
    assert waits == [60, 120, 240]
    look(door, followed(door, drop))
    assert (accepted(door), source(door).rows, source(door).error, source(door).retrying) == (6, 6, "", 0)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (DeadlineExceeded("too slow"), True),
        (NotFound("nothing there"), True),
        (DataCorrupted("a file of ours"), True),
        (OSError(5, "the disk stumbles"), True),
        (FailedPrecondition("too large"), False),
        (InvalidArgument("no rows"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_may_pass_is_tried_again_and_what_the_content_is_to_blame_for_is_not(
    door: Door, drop: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, again: bool
) -> None:
    monkeypatch.setattr(door.rooms.importer, "_fetch", failing(error))
    follower = followed(door, drop)
    (drop / "a.jsonl").write_text(lines(tweets(1)))
    look(door, follower, times=2)
    for _ in range(door.settings.max_attempts):
        make_due(door)
        door.rooms.importer.run_next()
    (one,) = asked(door)
    assert (one.state, one.retry_at is not None) == ("failed", again)
    assert (source(door).retrying, source(door).refused) == (int(again), int(not again))


def test_a_store_that_is_away_is_told_with_the_next_try_and_a_day_of_it_loses_no_file(
    door: Door, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = followed(door, drop)
    (drop / "a.jsonl").write_text(lines(tweets(4)))
    with monkeypatch.context() as patched:
        patched.setattr(door.rooms.importer, "_fetch", failing(Unavailable("the store is away", retry_seconds=7)))
        look(door, follower, times=2)
        told = source(door)
        assert (told.pending, told.retrying, told.HasField("next_try_at")) == (1, 1, True)
        assert "the store is away (1 file tried again)" in told.error
        with door.database.write() as session:
            session.execute(update(Import).values(created_at=clock(session) - timedelta(days=2)))
        make_due(door)
        look(door, follower)
        assert (source(door).pending, source(door).retrying) == (0, 1)
        make_due(door)
        look(door, follower)
        assert source(door).pending == 1, "a day begins anew"
    make_due(door)
    look(door, follower)
    assert (accepted(door), source(door).error) == (4, "")


def test_a_file_that_is_gone_is_not_tried_and_comes_in_when_it_is_back(
    door: Door, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = followed(door, drop)
    (drop / "a.jsonl").write_text(lines(tweets(4)))
    with monkeypatch.context() as patched:
        patched.setattr(door.rooms.importer, "_fetch", failing(NotFound("no file")))
        look(door, follower, times=2)
    (drop / "a.jsonl").rename(tmp_path / "aside")
    make_due(door)
    look(door, follower)
    assert (asked(door)[0].state, source(door).error, source(door).retrying) == ("failed", "", 0)
    (tmp_path / "aside").rename(drop / "a.jsonl")
    look(door, follower, times=2)
    assert (accepted(door), len(asked(door))) == (4, 1)


def test_files_to_be_tried_again_wait_for_room_among_the_imports(
    door: Door, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = followed(door, drop)
    for number in range(5):
        (drop / f"{number}.jsonl").write_text(lines(tweets(1, start=number)))
    with monkeypatch.context() as patched:
        patched.setattr(door.rooms.importer, "_fetch", failing(NotFound("no file")))
        look(door, follower, times=2)
    make_due(door)
    monkeypatch.setattr("services.ingestion.following.files.MOST_UNDER_WAY", 2)
    look(door, follower)
    assert (accepted(door), source(door).retrying) == (2, 3)
    for _ in range(2):
        look(door, follower)
    assert accepted(door) == 5


def test_a_folder_that_is_not_there_or_not_allowed_is_told_and_found_later(
    door: Door, drop: Path, tmp_path: Path
) -> None:
    later = followed(door, drop / "later")
    look(door, later)
    assert "no file" in source(door).error
    (drop / "later").mkdir()
    (drop / "later" / "a.jsonl").write_text(lines(tweets(4)))
    look(door, later, times=2)
    assert (accepted(door), source(door).error) == (4, "")
    look(door, followed(door, tmp_path / "elsewhere"))
    assert "FLYWHEEL_IMPORT_FOLDERS" in source(door).error


def test_a_source_s_format_and_names_hold_for_its_files_and_others_read_them_anew(door: Door, drop: Path) -> None:
    (drop / "a.txt").write_text("body;mood\nhallo;neutral\nja;positive\n")
    follower = followed(door, drop, format="csv", fields={"text": "body", "label": "mood"})
    look(door, follower, times=2)
    assert accepted(door) == 2
    look(door, followed(door, drop, format="csv", fields={"text": "mood", "label": "mood"}), times=2)
    assert len(asked(door)) == 2


def test_only_so_many_imports_of_a_source_wait_and_the_rest_follow(
    door: Door, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingestion.following.files.MOST_UNDER_WAY", 3)
    for number in range(8):
        (drop / f"{number}.jsonl").write_text(lines(tweets(1, start=number)))
    follower = followed(door, drop)
    monkeypatch.setattr(door.rooms.importer, "run_next", lambda: False)
    look(door, follower, times=3)
    assert (len(asked(door)), source(door).pending) == (3, 8)
    monkeypatch.undo()
    look(door, follower, times=3)
    assert accepted(door) == 8


def test_sources_are_followed_from_the_moment_a_pipeline_names_them_until_it_does_not(
    door: Door, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingestion.following.following.LONGEST_WAIT_SECONDS", 0.05)
    receiver, fetcher = door.rooms.receiver, door.rooms.importer._fetcher
    following = Following(door.settings, door.database, receiver, fetcher)
    try:
        following.adjust()
        assert not following._followed
        (drop / "a.jsonl").write_text(lines(tweets(7)))
        followed(door, drop)
        following.adjust()
        eventually(lambda: asked(door))
        declare(door.database, SENTIMENT)
        following.adjust()
        assert not following._followed
    finally:
        following.stop()

"""The life of an import: taken by one, killed, cancelled, told often, watched."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import select, update

from services.ingestion.reading.received import Received
from services.ingestion.remote.fetching import Fetched
from services.ingestion.remote.importing import Importer
from services.ingestion.remote.reading import FetchedRows
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.routes import RUN_IMPORT
from shared.errors import Unavailable
from shared.storage.database import clock
from shared.storage.repositories import imports
from shared.storage.tables import AuditEntry, Import
from tests.integration.ingestion.door import Door, lines, tweets
from tests.integration.ingestion.remote.asking import ask, kept, run, seen
from tests.support.wait import eventually


@pytest.fixture
def uri(drop: Path) -> str:
    (drop / "rows.jsonl").write_text(lines(tweets(200)))
    return f"file://{drop}/rows.jsonl"


def importer_of(door: Door, **overrides: Any) -> Importer:
    """One more worker, as in another process."""
    settings = door.settings.model_copy(update=overrides)
    return Importer(settings, door.database, door.rooms.receiver, door.rooms.importer._fetcher)


@contextmanager
def held_before_its_file_comes(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    """The file is fetched only when `go` is set; `there` tells that it was asked for."""
    there, go = threading.Event(), threading.Event()
    fetch = importer._fetch

    def slowly(*arguments: Any) -> Fetched:
        there.set()
        assert go.wait(30)
        return fetch(*arguments)

    monkeypatch.setattr(importer, "_fetch", slowly)
    try:
        yield there, go
    finally:
        go.set()


def let_leases_run_out(door: Door) -> None:
    with door.database.write() as session:
        session.execute(update(Import).values(lease_expires_at=clock(session) - timedelta(seconds=1)))


def test_an_import_leaves_a_message_and_any_number_of_workers_makes_one_batch_of_it(door: Door, uri: str) -> None:
    asked = ask(door, uri)
    assert asked.state == pb.IMPORT_STATE_QUEUED
    assert [message.task for message in door.messages(RUN_IMPORT.task)] == ["ingestion.run_import"]
    workers = [importer_of(door) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        ran = list(pool.map(lambda worker: worker.run_next(), workers))
    assert sum(ran) == 1
    assert seen(door, asked).state == pb.IMPORT_STATE_SUCCEEDED
    assert kept(door) == 1


def test_the_same_key_gives_the_same_import_and_a_failed_one_may_be_asked_for_again(
    door: Door, uri: str, drop: Path
) -> None:
    first = run(door, uri, "monday")
    assert ask(door, uri, "monday").id == first.id
    assert first.batch.batch_key == "monday"
    absent = f"file://{drop}/absent.jsonl"
    failed = run(door, absent, "tuesday")
    assert failed.state == pb.IMPORT_STATE_FAILED
    assert ask(door, absent, "tuesday").id != failed.id


def test_a_worker_that_falls_silent_loses_the_import_and_can_write_nothing_any_more(
    door: Door, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingestion.remote.progress.TELL_SECONDS", 600)
    silent, next_one = importer_of(door, lease_seconds=6000), importer_of(door)
    asked = ask(door, uri)
    with held_before_its_file_comes(silent, monkeypatch) as (there, go):
        thread = threading.Thread(target=silent.run_next)
        thread.start()
        assert there.wait(30)
        let_leases_run_out(door)
        assert next_one.run_next()
        go.set()
        thread.join(30)
        assert not thread.is_alive()
    done = seen(door, asked)
    assert (done.state, done.batch.accepted) == (pb.IMPORT_STATE_SUCCEEDED, 200)
    assert kept(door) == 1


def test_an_import_whose_worker_ends_each_time_is_given_up(door: Door, uri: str) -> None:
    asked = ask(door, uri)
    for number in range(door.settings.max_attempts):
        with door.database.write() as session:
            assert imports.take(session, asked.id, f"worker-{number}", 600)
        let_leases_run_out(door)
    assert door.rooms.importer.run_next()
    done = seen(door, asked)
    assert done.state == pb.IMPORT_STATE_FAILED
    assert "after 3 attempts" in done.reason
    assert not door.rooms.importer.run_next()


def test_one_that_the_service_stumbles_over_is_tried_again_and_then_given_up(
    door: Door, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(door.rooms.importer, "_fetch", stumble)
    asked = ask(door, uri)
    for _ in range(door.settings.max_attempts):
        assert door.rooms.importer.run_next()
        let_leases_run_out(door)
    done = seen(door, asked)
    assert (done.state, done.reason) == (pb.IMPORT_STATE_FAILED, "ZeroDivisionError: a bug")
    assert kept(door) == 0


def test_a_place_that_is_away_costs_no_attempt_and_the_import_waits_for_its_time(
    door: Door, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise Unavailable("the store does not answer", retry_seconds=40)

    asked = ask(door, uri)
    with monkeypatch.context() as patched:
        patched.setattr(door.rooms.importer, "_fetch", away)
        for _ in range(2 * door.settings.max_attempts):
            assert door.rooms.importer.run_next()
            assert not door.rooms.importer.run_next(), "it has to wait"
            waiting = seen(door, asked)
            assert (waiting.state, waiting.reason) == (pb.IMPORT_STATE_QUEUED, "the store does not answer")
            let_leases_run_out(door)
    assert door.rooms.importer.run_next()
    assert seen(door, asked).state == pb.IMPORT_STATE_SUCCEEDED


@pytest.mark.parametrize("moment", ["queued", "fetching", "committing"])
def test_an_import_that_is_cancelled_keeps_nothing_whenever_it_is(
    door: Door, uri: str, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    asked = ask(door, uri)

    def cancel() -> pb.Import:
        answer: pb.Import = door.stub.CancelImport(pb.CancelImportRequest(id=asked.id, reason="a mistake"), timeout=20)
        return answer

    importer = door.rooms.importer
    if moment == "queued":
        cancel()
        assert not importer.run_next()
    elif moment == "fetching":
        with held_before_its_file_comes(importer, monkeypatch) as (there, go):
            thread = threading.Thread(target=importer.run_next)
            thread.start()
            assert there.wait(30)
            cancel()
            go.set()
            thread.join(30)
            assert not thread.is_alive()
    else:
        publish = door.rooms.parts.publish

        def cancelled_first(*arguments: Any, **options: Any) -> Any:
            cancel()
            return publish(*arguments, **options)

        monkeypatch.setattr(door.rooms.parts, "publish", cancelled_first)
        assert importer.run_next()
    done = seen(door, asked)
    assert (done.state, done.reason) == (pb.IMPORT_STATE_CANCELLED, "a mistake")
    assert kept(door) == 0
    assert door.stored_parts() == []
    assert cancel().state == pb.IMPORT_STATE_CANCELLED, "ending it twice changes nothing"
    with door.database.read() as session:
        acts = session.scalars(select(AuditEntry.action).where(AuditEntry.target == asked.id)).all()
    assert acts == ["import_uri", "cancel_import"]


def test_an_import_that_is_over_can_t_be_cancelled(door: Door, uri: str) -> None:
    done = run(door, uri)
    with pytest.raises(grpc.RpcError) as refused:
        door.stub.CancelImport(pb.CancelImportRequest(id=done.id), timeout=20)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_a_worker_that_drains_gives_its_import_back_at_once(
    door: Door, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(door, uri)
    draining = importer_of(door)
    with held_before_its_file_comes(draining, monkeypatch) as (there, go):
        draining.start()
        assert there.wait(30)
        stopping = threading.Thread(target=draining.stop, args=(30,))
        stopping.start()
        go.set()
        stopping.join(60)
    assert seen(door, asked).state == pb.IMPORT_STATE_QUEUED
    assert door.rooms.importer.run_next()
    with door.database.read() as session:
        row = imports.get(session, asked.id)
        assert (row.state, row.attempt) == ("succeeded", 1)


def test_a_watch_tells_what_changes_and_ends_with_the_import(
    door: Door, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(door, uri)
    told: list[pb.Import] = []
    importer = door.rooms.importer
    with held_before_its_file_comes(importer, monkeypatch) as (_, go):
        watch = door.stub.WatchImport(pb.WatchImportRequest(id=asked.id), timeout=60)
        told.append(next(watch))
        thread = threading.Thread(target=importer.run_next)
        thread.start()
        told.append(next(watch))
        go.set()
        told.extend(watch)
        thread.join(30)
    states = [one.state for one in told]
    assert states[0] == pb.IMPORT_STATE_QUEUED
    assert pb.IMPORT_STATE_RUNNING in states
    assert (told[-1].state, told[-1].rows, told[-1].batch.accepted) == (pb.IMPORT_STATE_SUCCEEDED, 200, 200)


def test_progress_stands_in_the_row_while_rows_come(
    door: Door, drop: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader stops after a hundred rows until the row tells of them."""
    asked = ask(door, uri)
    importer = importer_of(door, lease_seconds=0.3)
    read = FetchedRows._read

    def in_two_parts(rows: FetchedRows, fetched: Fetched) -> Iterator[Received]:
        for number, row in enumerate(read(rows, fetched)):
            yield row
            if number == 99:
                eventually(lambda: seen(door, asked).rows == 100, timeout=30)

    monkeypatch.setattr(FetchedRows, "_read", in_two_parts)
    assert importer.run_next()
    done = seen(door, asked)
    assert (done.state, done.rows, done.eta_seconds) == (pb.IMPORT_STATE_SUCCEEDED, 200, 0)


def test_imports_are_listed_newest_first_and_by_pipeline(door: Door, uri: str) -> None:
    first, second = ask(door, uri), ask(door, uri)
    other = ask(door, uri, pipeline="support")
    listed = door.stub.ListImports(pb.ListImportsRequest(pipeline="sentiment", page_size=1))
    assert [one.id for one in listed.imports] == [second.id]
    rest = door.stub.ListImports(pb.ListImportsRequest(pipeline="sentiment", page_token=listed.next_page_token))
    assert [one.id for one in rest.imports] == [first.id]
    assert {one.id for one in door.stub.ListImports(pb.ListImportsRequest()).imports} == {first.id, second.id, other.id}

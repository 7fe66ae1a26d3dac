"""Imports and followed sources in both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy.orm import Session

from shared.errors import IllegalTransition, LeaseLost
from shared.storage.database import Database
from shared.storage.leases import Lease
from shared.storage.repositories import failed_imports, imports, sources
from shared.storage.repositories.imports import Figures
from shared.storage.tables import Import
from tests.support.wait import eventually


def asked(database: Database, **more: Any) -> str:
    with database.write() as session:
        return imports.ask(session, "sentiment", "s3://bucket/key", {"source": "lake"}, **more).id


def take(database: Database, id: str, owner: str = "worker") -> Lease | None:
    with database.write() as session:
        return imports.take(session, id, owner, 600)


def row(database: Database, id: str) -> Import:
    with database.read() as session:
        return imports.get(session, id)


def test_one_of_many_takes_an_import_and_a_lost_one_writes_nothing(any_database: Database) -> None:
    id = asked(any_database)
    with ThreadPoolExecutor(6) as pool:
        leases = list(filter(None, pool.map(lambda n: take(any_database, id, f"worker-{n}"), range(6))))
    assert len(leases) == 1
    with any_database.write() as session:
        imports.progress(session, leases[0], Figures(5, 10, 2, 1.5, 3.5), 600)
    seen = row(any_database, id)
    assert (seen.state, seen.bytes, seen.rows, seen.rows_per_second, seen.eta_seconds) == ("running", 5, 2, 1.5, 3.5)
    with any_database.write() as session:
        imports.cancel(session, id, "a mistake")
    writes: tuple[Callable[[Session], object], ...] = (
        lambda session: imports.progress(session, leases[0], Figures(), 600),
        lambda session: imports.finish(session, leases[0], "batch-1", Figures()),
        lambda session: imports.fail(session, leases[0], "late"),
        lambda session: imports.give_back(session, leases[0], "late", 1, counted=False),
    )
    for write in writes:
        with pytest.raises(LeaseLost), any_database.write() as session:
            write(session)
    assert (row(any_database, id).state, row(any_database, id).reason) == ("cancelled", "a mistake")
    assert take(any_database, id) is None


def test_an_import_that_is_given_back_waits_for_its_time_and_counts_what_was_its_fault(any_database: Database) -> None:
    id = asked(any_database)
    for counted, attempt in ((False, 0), (True, 1)):
        lease = take(any_database, id)
        assert lease
        with any_database.write() as session:
            imports.give_back(session, lease, "the store is away", 0, counted=counted)
        assert (row(any_database, id).state, row(any_database, id).attempt) == ("queued", attempt)
    lease = take(any_database, id)
    assert lease
    with any_database.write() as session:
        imports.give_back(session, lease, "later", 600, counted=True)
        assert imports.waiting(session, 10) == []
    assert take(any_database, id) is None


def test_an_import_ends_once(any_database: Database) -> None:
    id = asked(any_database, batch_key="monday", source="drop")
    lease = take(any_database, id)
    assert lease
    with any_database.write() as session:
        assert imports.under_way(session, "sentiment", "drop") == 1
        imports.finish(session, lease, "batch-1", Figures(10, 10, 4))
    with any_database.write() as session:
        assert imports.under_way(session, "sentiment", "drop") == 0
        last = imports.get(session, id)
        assert (last.batch, last.rows) == ("batch-1", 4)
        found = imports.by_key(session, "sentiment", "monday", "s3://bucket/key")
        assert found
        assert found.id == id
    with pytest.raises(IllegalTransition), any_database.write() as session:
        imports.cancel(session, id, "too late")


def test_failed_imports_of_a_source_are_told_and_asked_for_again_when_they_are_due(any_database: Database) -> None:
    ids = [asked(any_database, source="drop") for _ in range(3)] + [asked(any_database)]
    for id, longest in zip(ids, (1e-3, 3600, 0, 3600), strict=True):
        lease = take(any_database, id)
        assert lease
        with any_database.write() as session:
            imports.fail(session, lease, f"{longest}", longest)
    soon, later, never, nobody_s = ids
    assert (row(any_database, never).retry_at, row(any_database, nobody_s).retry_at) == (None, None)
    with any_database.write() as session:
        seen = failed_imports.trouble(session, "sentiment", "drop")
        assert (seen.retrying, seen.refused, seen.reason) == (2, 1, "0")
        assert seen.next_try_at == row(any_database, soon).retry_at
        assert failed_imports.note_there(session, "sentiment", "drop", {later, never}) == []
        assert failed_imports.trouble(session, "sentiment", "drop").retrying == 1
    eventually(lambda: due(any_database, set(ids)) == [soon])
    with any_database.write() as session:
        failed_imports.ask_again(session, soon)
        with pytest.raises(IllegalTransition):
            failed_imports.ask_again(session, soon)
    assert take(any_database, soon)
    assert due(any_database, set(ids)) == []


def due(database: Database, there: set[str]) -> list[str]:
    with database.write() as session:
        return failed_imports.note_there(session, "sentiment", "drop", there)


def test_one_process_looks_at_a_source_and_the_next_look_has_its_time(any_database: Database) -> None:
    def begin(number: int, every: float = 600) -> bool:
        with any_database.write() as session:
            return sources.begin_look(session, "sentiment", "drop", f"owner-{number}", every, 600)

    with ThreadPoolExecutor(6) as pool:
        began = list(pool.map(begin, range(6)))
    assert sum(began) == 1
    looker = began.index(True)
    for owner in (looker + 1, looker):
        with any_database.write() as session:
            sources.end_look(session, "sentiment", "drop", f"owner-{owner}", pending=3, error="x" * 5000)
            state = sources.find(session, "sentiment", "drop")
            assert state
            session.refresh(state)
            assert state.pending == (3 if owner == looker else 0)
            assert len(state.error) == (1000 if owner == looker else 0)
    assert not begin(9)
    assert begin(9, every=0)


def test_rows_of_many_batches_are_counted_with_their_marks(any_database: Database) -> None:
    def add(number: int) -> None:
        with any_database.write() as session:
            sources.add_rows(session, "sentiment", "events", 10, lambda cursor: cursor.update({str(number): number}))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(12)))
    with any_database.read() as session:
        state = sources.all_of(session, "sentiment")["events"]
    assert (state.rows, len(state.cursor)) == (120, 12)

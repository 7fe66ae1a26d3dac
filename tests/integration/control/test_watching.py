"""Watching a job: replay from any number, nothing missing, nothing twice, whoever writes and however often one reconnects."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from services.control import watching
from shared.contracts.generated.flywheel.control.v1 import control_pb2 as pb
from shared.storage.database import Database
from shared.storage.repositories import jobs
from tests.support.wait import eventually
from tests.unit.control import history

WRITERS = 3
EACH = 40


def queue_job(database: Database) -> str:
    with database.write() as session:
        return history.queue_job(session, 1).id


def tell(database: Database, job: str, count: int, writer: int = 0) -> None:
    for index in range(count):
        with database.write() as session:
            jobs.append_event(session, job, "log", {"writer": writer, "index": index})


def cancel(database: Database, job: str) -> None:
    with database.write() as session:
        jobs.want(session, job, "cancel")


def numbers(control: Any, job: str, start: int) -> list[int]:
    stream: Iterator[pb.JobEvent] = control.WatchJob(pb.WatchJobRequest(id=job, from_sequence=start), timeout=60)
    return [event.sequence for event in stream]


@pytest.mark.parametrize(
    ("start", "seen"),
    [(0, range(1, 13)), (1, range(1, 13)), (7, range(7, 13)), (12, range(12, 13)), (13, ()), (99, ())],
)
def test_an_ended_job_is_replayed_from_any_number(
    control: Any, database: Database, start: int, seen: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "AT_ONCE", 4)  # a long job in small: twelve events are read in several goes
    job = queue_job(database)
    tell(database, job, 10)
    cancel(database, job)
    assert numbers(control, job, start) == list(seen)


def test_a_watch_from_beyond_the_end_waits_for_the_event_of_that_number(control: Any, database: Database) -> None:
    job = queue_job(database)
    with ThreadPoolExecutor(1) as pool:
        watch = pool.submit(numbers, control, job, 4)
        tell(database, job, 4)
        cancel(database, job)
        assert watch.result(60) == [4, 5, 6]


def test_watchers_see_every_event_once_while_several_write(serve: Any, any_database: Database) -> None:
    control, job = serve(any_database), queue_job(any_database)
    with ThreadPoolExecutor(WRITERS + 3) as pool:
        watches = [pool.submit(numbers, control, job, start) for start in (0, 5, 60)]
        writers = [pool.submit(tell, any_database, job, EACH, writer) for writer in range(WRITERS)]
        for writer in writers:
            writer.result(60)
        cancel(any_database, job)
        last = WRITERS * EACH + 2
        assert [watch.result(60) for watch in watches] == [list(range(start, last + 1)) for start in (1, 5, 60)]


def test_a_client_that_reconnects_while_events_flow_sees_every_event_once(control: Any, database: Database) -> None:
    job, seen = queue_job(database), [0]
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(tell, database, job, 60)
        for wanted in (3, 1, 7, 2, 5):
            stream = control.WatchJob(pb.WatchJobRequest(id=job, from_sequence=seen[-1] + 1), timeout=60)
            seen.extend(event.sequence for event, _ in zip(stream, range(wanted), strict=False))
            stream.cancel()
        writer.result(60)
    cancel(database, job)
    seen.extend(numbers(control, job, seen[-1] + 1))
    assert seen == list(range(63))


def test_watches_that_clients_left_free_their_places(control: Any, database: Database) -> None:
    job = queue_job(database)

    def watch() -> bool:
        stream = control.WatchJob(pb.WatchJobRequest(id=job), timeout=60)
        try:
            return bool(next(stream).sequence == 1)
        except grpc.RpcError:
            return False
        finally:
            stream.cancel()

    for _ in range(watching.MAX_WATCHERS + 3):
        eventually(watch)

"""Following a job's events as they come."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from services.control import training
from services.control.training import JobView
from shared.errors import ResourceExhausted
from shared.storage.database import Database
from shared.storage.repositories import jobs
from shared.storage.states import JOB_ENDED
from shared.storage.tables import JobEvent

POLL_SECONDS = 0.2
MAX_WATCHERS = 24
AT_ONCE = 500
"""Events read from the database in one go; a replay of a long job takes several."""


class Watcher:
    """Streams of job events; at most `watchers` at once, because each holds a thread of the server."""

    def __init__(self, database: Database, watchers: int = MAX_WATCHERS) -> None:
        self._database = database
        self._places = BoundedSemaphore(watchers)

    def watch(self, job_id: str, from_sequence: int, wanted: Callable[[], bool]) -> Iterator[tuple[JobEvent, JobView]]:
        """Events from a sequence number on, each with the job after it, until the job ends or nobody wants more.

        Raises NotFound, or ResourceExhausted when too many watch already.
        """
        with self._place():
            last = max(0, from_sequence - 1)
            while wanted():
                events, view = self._since(job_id, last)
                for event in events:
                    last = event.sequence
                    yield event, view
                if len(events) == AT_ONCE:
                    continue
                if view.job.state in JOB_ENDED:
                    return
                time.sleep(POLL_SECONDS)

    def _since(self, job_id: str, sequence: int) -> tuple[list[JobEvent], JobView]:
        """The job is read before its events: when it has ended, no event of it can be missing.

        Nor can one be missing in between: whoever appends holds the job's row, so numbers are committed in order.
        """
        with self._database.read() as session:
            view = training.get(session, job_id)
            return jobs.events_after(session, job_id, sequence, AT_ONCE), view

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise ResourceExhausted("too many jobs are being watched at once; try again later", retry_seconds=5)
        try:
            yield
        finally:
            self._places.release()

"""What the training process says, written to the database under the attempt's fence."""

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.finetuning import attempts
from services.finetuning.attempts import Attempt
from shared.errors import Unavailable
from shared.storage.database import Database, clock
from shared.storage.repositories import jobs
from shared.storage.tables import Checkpoint, JobEvent, Run

PROGRESS_SECONDS = 1.0
KEPT_WRITES = 1000
"""What is kept while the database is away; the oldest goes first."""

Event = dict[str, Any]
Write = Callable[[Session, Run], None]


class RunRecord:
    """Writes a run's events, from any thread. While the database is away they wait, in order, for the next write or `flush`.

    Every method raises LeaseLost, having written nothing, when another worker holds the job by now.
    """

    def __init__(self, database: Database, attempt: Attempt, rate: float = 0.0) -> None:
        """`rate` is what a second of training costs."""
        self._database, self._rate = database, rate
        self._attempt = attempt
        self._waiting: deque[Write] = deque(maxlen=KEPT_WRITES)
        self._lock = threading.Lock()
        self._progress_due = 0.0
        self._events: dict[str, Callable[[Event], None]] = {
            "started": self._started,
            "progress": self._progress,
            "validation": self._validation,
            "log": self._log,
            "report": self._report,
        }

    def event(self, event: Event) -> None:
        """Writes one event; checkpoints and endings are others' business."""
        write = self._events.get(str(event.get("event")))
        if write is not None:
            write(event)

    def checkpoint(self, step: int, uri: str, digest: str, keep: int) -> None:
        """Records a checkpoint, and forgets all but the job's newest `keep`.

        Those of later steps are forgotten as well: the run did not go on from them, so they can't be good.
        """
        self._write(lambda session, run: _record_checkpoint(session, run, step, uri, digest, keep))

    def checkpoints(self) -> set[str]:
        """URIs of the job's checkpoints in the books. Raises Unavailable."""
        with self._database.read() as session:
            return set(session.scalars(select(Checkpoint.uri).where(Checkpoint.job == self._attempt.job.id)))

    def warn(self, message: str) -> None:
        """Tells the job's owner of something that the training process knows nothing of."""
        self._log({"level": "warning", "message": message})

    def flush(self) -> None:
        """Tries to write what waits; quiet when the database is still away."""
        with self._lock:
            if not self._waiting:
                return
            try:
                with attempts.holding(self._database, self._attempt) as (session, run):
                    for write in self._waiting:
                        write(session, run)
                    run.heard_at = clock(session)
            except Unavailable:
                return
            self._waiting.clear()

    def _write(self, write: Write) -> None:
        with self._lock:
            self._waiting.append(write)
        self.flush()

    def _started(self, event: Event) -> None:
        def write(session: Session, run: Run) -> None:
            run.start_step = run.step = event["start_step"]
            run.total_steps = event["total_steps"]
            run.resumed_revision = event.get("checkpoint_revision", "")
            how = f"resumed at step {run.start_step}" if run.start_step else "started"
            detail = {**_detail(event), "level": "info", "message": f"training {how} of {run.total_steps} steps"}
            jobs.append_event(session, run.job, "log", detail)

        self._write(write)

    def _progress(self, event: Event) -> None:
        now = time.monotonic()
        if now < self._progress_due and event["step"] < event["total_steps"]:
            return
        self._progress_due = now + PROGRESS_SECONDS

        def write(session: Session, run: Run) -> None:
            now = clock(session)
            run.first_step_at = run.first_step_at or now
            run.step, run.total_steps = event["step"], event["total_steps"]
            run.loss = event["loss"]
            run.tokens_per_second = event.get("tokens_per_second")
            run.eta_seconds = left = event.get("eta_seconds")
            run.estimated_finish_at = None if left is None else now + timedelta(seconds=left)
            run.seconds = event.get("seconds", run.seconds)
            run.cost = run.seconds * self._rate
            jobs.append_event(session, run.job, "progress", {**_detail(event), "attempt": run.attempt})

        self._write(write)

    def _validation(self, event: Event) -> None:
        self._write(lambda session, run: _append(session, run, "validation", event))

    def _log(self, event: Event) -> None:
        self._write(lambda session, run: _append(session, run, "log", event))

    def _report(self, event: Event) -> None:
        self._write(lambda session, run: _append_report(session, run, event))


def _append_report(session: Session, run: Run, event: Event) -> None:
    """Once a job: a run that has reported may end before its model is stored, and the next one reports the same."""
    there = select(JobEvent.sequence).where(JobEvent.job == run.job, JobEvent.kind == "report")
    if session.execute(there.limit(1)).first() is None:
        _append(session, run, "report", event)


def _append(session: Session, run: Run, kind: str, event: Event) -> None:
    jobs.append_event(session, run.job, kind, _detail(event))


def _record_checkpoint(session: Session, run: Run, step: int, uri: str, digest: str, keep: int) -> None:
    query = select(Checkpoint).where(Checkpoint.job == run.job).order_by(Checkpoint.step.desc(), Checkpoint.id.desc())
    known = list(session.execute(query).scalars())
    later, older = [row for row in known if row.step >= step], [row for row in known if row.step < step]
    for row in [*later, *older[keep - 1 :]]:
        session.delete(row)
    session.add(
        Checkpoint(
            job=run.job, run=run.id, fence=run.fence, step=step, uri=uri, digest=digest, created_at=clock(session)
        )
    )
    jobs.append_event(session, run.job, "checkpoint", {"step": step, "uri": uri, "digest": digest})


def _detail(event: Event) -> Event:
    return {key: value for key, value in event.items() if key != "event"}

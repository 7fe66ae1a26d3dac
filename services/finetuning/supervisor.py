"""The handler of RunJob: one attempt at a job, from taking it to its model version. Knows no torch."""

import errno
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from services.finetuning import attempts, checkpoint_store, gauges, trials, verification
from services.finetuning.allowance import allowance
from services.finetuning.attempts import Attempt
from services.finetuning.checkpoint_store import CheckpointStore
from services.finetuning.following import FULL_DISK_DELAY_SECONDS, Ending, Follower, Limits
from services.finetuning.heartbeat import worker_name
from services.finetuning.paraphrasing.ending import NotTranslated
from services.finetuning.paraphrasing.paraphrases import Paraphrasing
from services.finetuning.plan import training_spec
from services.finetuning.process import TrainingProcess
from services.finetuning.records import Event, RunRecord
from services.finetuning.spare import Spares
from services.finetuning.spec import FailureReason, TrainingSpec
from services.finetuning.tracking.tracking import open_tracking
from services.finetuning.watch import JobWatch
from services.finetuning.workplace import Workplace
from shared.config import Settings
from shared.contracts.messages import RunJob
from shared.errors import (
    DataCorrupted,
    FailedPrecondition,
    FlywheelError,
    InvalidArgument,
    LeaseLost,
    NotFound,
    RetryableError,
    Unavailable,
)
from shared.messaging.handler import HandlerContext
from shared.modeling.card import ModelCard
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.telemetry.logs import bound, get_logger
from shared.telemetry.metrics import TRAINING_ATTEMPTS

T = TypeVar("T")

BUDGET_SLACK_SECONDS = 120.0
"""For imports, loading and saving, which the training process does not count."""
STOP_SHARE = 0.6
"""Of the grace; the rest is for the database and the store."""
RETRY_SECONDS = 1.0

log = get_logger(__name__)


class Supervisor:
    """Runs jobs for one worker, each in a training process of its own."""

    def __init__(self, settings: Settings, artifacts: Artifacts, spares: Spares) -> None:
        self._settings, self._artifacts, self._spares = settings, artifacts, spares
        self._owner = worker_name()

    def run_job(self, message: RunJob, context: HandlerContext) -> None:
        """Runs the best queued job of the message's device kind; returns at once when none waits."""
        settings = self._settings
        attempt = attempts.take_next(
            context.database, message.job, self._owner, settings.lease_seconds, settings.max_attempts
        )
        if attempt is None:
            log.info("no job to run", message_about=message.job)
            return
        with bound(job=attempt.job.id, run=attempt.run, pipeline=attempt.job.pipeline):
            log.info("run started", attempt=attempt.lease.attempt)
            try:
                outcome = self._attempt(attempt, context)
            except LeaseLost:
                outcome = "lost"
            finally:
                gauges.settle(attempt.job.pipeline)
            TRAINING_ATTEMPTS.labels(outcome).inc()
            log.info("run ended", outcome=outcome)
        if not context.draining.is_set():
            self._spares.refill()

    def _attempt(self, attempt: Attempt, context: HandlerContext) -> str:
        """Returns how the run ended. Raises LeaseLost."""
        place = Workplace(self._settings.home, attempt.job.id)
        with JobWatch(context.database, attempt.lease, self._settings.lease_seconds) as watch:
            try:
                if (adopted := self._adopt(attempt, place, watch, context)) is not None:
                    return adopted
                ending = self._train(attempt, place, watch, context)
                if ending.kind == "finished":
                    return self._finish(attempt, place, ending, watch, context)
            except LeaseLost:
                raise
            except Exception as error:
                ending = explain(error)
                if ending.reason == FailureReason.INTERNAL:
                    log.exception("the supervisor failed")
            return self._give_back(attempt, place, ending, watch, context)

    def _train(self, attempt: Attempt, place: Workplace, watch: JobWatch, context: HandlerContext) -> Ending:
        settings, pipeline = self._settings, attempt.job.pipeline
        record = RunRecord(context.database, attempt, settings.cost_rate(attempt.job.device))
        spec, process = self._begin(attempt, place, watch, context, record)
        store = CheckpointStore(self._artifacts, record, attempt.job.id, attempt.run)
        tracking = open_tracking(settings, attempt, place)

        def on_event(event: Event) -> None:
            gauges.show(pipeline, event)
            record.event(event)
            tracking.event(event)
            if event.get("event") == "checkpoint":
                store.keep(event)

        budget = (spec.budget_seconds or float("inf")) + BUDGET_SLACK_SECONDS
        limits = Limits(settings.stall_seconds, budget, settings.grace_seconds * STOP_SHARE)
        ended = "failed"
        try:
            ending = self._in_units(Follower(process, watch, context.draining, limits, on_event).follow(), attempt)
            ended = ending.kind
            return ending
        finally:
            process.close()
            store.close(finish=ended == "stopped", patience=settings.grace_seconds * (1 - STOP_SHARE) / 2)
            record.flush()
            tracking.close(ended, self._artifacts, watch)

    def _in_units(self, ending: Ending, attempt: Attempt) -> Ending:
        """A budget in cost units is told as such: the training process knows seconds only."""
        if ending.reason != FailureReason.BUDGET:
            return ending
        words = allowance(attempt.job, self._settings.cost_rate(attempt.job.device)).words
        return replace(ending, message=ending.message + words)

    def _begin(
        self, attempt: Attempt, place: Workplace, watch: JobWatch, context: HandlerContext, record: RunRecord
    ) -> tuple[TrainingSpec, TrainingProcess]:
        settings, artifacts, database = self._settings, self._artifacts, context.database
        paraphrasing = Paraphrasing(settings, artifacts, database, attempt, watch, context.draining, record)
        with place.locked(settings.grace_seconds / 2, watch.check) as lock:
            spec = paraphrasing.complete(training_spec(database, artifacts, settings, attempt, place))
            checkpoint_store.fetch_newest(database, artifacts, attempt.job.id, place, record.warn)
            place.spec.write_text(spec.to_json())
            watch.check()
            process = self._spares.begin(place.spec, lock)
            place.note_holder(process.pid)
        return spec, process

    def _finish(
        self, attempt: Attempt, place: Workplace, ending: Ending, watch: JobWatch, context: HandlerContext
    ) -> str:
        uri = f"models/{attempt.job.pipeline}/{attempt.job.id}/{attempt.lease.attempt}"
        card = ModelCard.read(place.output)
        if attempt.job.sort == "verify":
            return self._compare(attempt, place, card, watch, context)
        if attempt.job.sort == trials.TRIAL:
            return self._keep_trial(attempt, place, uri, ending, watch, context)
        try:
            self._insist(lambda: self._artifacts.put_folder(place.output, uri), watch, context.draining)
            version = self._insist(
                lambda: attempts.succeed(context.database, attempt, uri, card, ending.metrics), watch, context.draining
            )
        except LeaseLost:
            self._drop_orphan(uri, context.database)
            raise
        self._clean(attempt, place)
        if version is None:
            self._artifacts.delete(uri)
            return "cancelled"
        log.info("model version made", version=version, weights=card.weights_digest[:12])
        return "succeeded"

    def _drop_orphan(self, uri: str, database: Database) -> None:
        """What a run stored and may not record nobody would ever remove; its record may only seem to have failed."""
        with suppress(Unavailable):
            if not attempts.is_recorded(database, uri):
                self._artifacts.delete(uri)

    def _keep_trial(
        self, attempt: Attempt, place: Workplace, uri: str, ending: Ending, watch: JobWatch, context: HandlerContext
    ) -> str:
        kept = (context.database, self._artifacts, attempt, place.output, uri, ending.metrics)
        job = self._insist(lambda: trials.keep(*kept), watch, context.draining)
        self._clean(attempt, place)
        return "succeeded" if job else "cancelled"

    def _adopt(self, attempt: Attempt, place: Workplace, watch: JobWatch, context: HandlerContext) -> str | None:
        """Makes what a search's best trial left in the store a version; None when there is nothing to take over."""
        trial = trials.left_by(context.database, attempt.job)
        if trial is None:
            return None
        uri, metrics = trial.outcome["uri"], trial.outcome["metrics"]
        try:
            card = ModelCard.read(self._artifacts.fetch_folder(uri))
        except (NotFound, DataCorrupted) as error:
            log.warning("the best trial's model can't be read and is trained again", error=error.message)
            return None
        made = self._insist(
            lambda: attempts.succeed(context.database, attempt, uri, card, metrics, trial), watch, context.draining
        )
        self._clean(attempt, place)
        trials.sweep(context.database, self._artifacts, trial)
        return "succeeded" if made else "cancelled"

    def _compare(
        self, attempt: Attempt, place: Workplace, card: ModelCard, watch: JobWatch, context: HandlerContext
    ) -> str:
        job = self._insist(lambda: verification.conclude(context.database, attempt, card), watch, context.draining)
        self._clean(attempt, place)
        if job is None:
            return "cancelled"
        log.info("version verified", version=job.verifies, verdict=job.reason)
        return "succeeded"

    def _give_back(
        self, attempt: Attempt, place: Workplace, ending: Ending, watch: JobWatch, context: HandlerContext
    ) -> str:
        database = context.database
        if ending.kind == "stopped":
            state = self._insist(
                lambda: attempts.stop(database, attempt, ending.delay_seconds or 0), watch, context.draining
            )
            outcome = "cancelled" if state == "cancelled" else "drained"
        else:
            log.warning("run failed", reason=ending.reason, message=ending.message)
            state = self._insist(
                lambda: attempts.fail(
                    database,
                    attempt,
                    str(ending),
                    final=ending.final,
                    delay_seconds=ending.delay_seconds,
                    code=ending.reason,
                ),
                watch,
                context.draining,
            )
            outcome = "failed"
        if state == "cancelled":
            self._clean(attempt, place)
        return outcome

    def _insist(self, action: Callable[[], T], watch: JobWatch, draining: threading.Event) -> T:
        """Does it as soon as the database and the store are there. Raises LeaseLost, or Unavailable when draining."""
        patience = self._settings.grace_seconds * (1 - STOP_SHARE)
        drained_at: float | None = None
        while True:
            try:
                return action()
            except Unavailable as error:
                log.warning("waiting to write how the run ended", error=error.message)
                watch.check()
                if draining.is_set():
                    drained_at = drained_at or time.monotonic()
                    if time.monotonic() - drained_at > patience:
                        raise
                time.sleep(RETRY_SECONDS)

    def _clean(self, attempt: Attempt, place: Workplace) -> None:
        place.remove()
        checkpoint_store.forget(self._artifacts, attempt.job.id)


def explain(error: Exception) -> Ending:
    """What an error outside the training process means for the run."""
    if isinstance(error, NotTranslated):
        return error.ending
    if isinstance(error, RetryableError):
        return Ending("stopped", "UNAVAILABLE", error.message, delay_seconds=max(error.retry_seconds, 5.0))
    if isinstance(error, InvalidArgument):
        return Ending("failed", FailureReason.BAD_SPEC, error.message)
    if isinstance(error, NotFound) and "base" in error.metadata:
        return Ending("failed", FailureReason.BASE_MISSING, error.message)
    if isinstance(error, NotFound | DataCorrupted | FailedPrecondition):
        return Ending("failed", FailureReason.BAD_DATA, error.message)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Ending("failed", FailureReason.DISK_FULL, str(error), delay_seconds=FULL_DISK_DELAY_SECONDS)
    what = error.message if isinstance(error, FlywheelError) else f"{type(error).__name__}: {error}"
    return Ending("failed", FailureReason.INTERNAL, what)

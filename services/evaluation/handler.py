"""evaluate_model_version: hold the evaluation, judge, record report and verdict in one transaction."""

import os
import socket
import threading

from google.protobuf.message import Message
from sqlalchemy.orm import Session

from services.evaluation.case import Case, read_case
from services.evaluation.holding import Holding
from services.evaluation.judging import Judgement, judge_case, report_columns
from services.evaluation.subjects import Subjects
from shared.config import Settings
from shared.contracts.messages import EvaluateModelVersion
from shared.errors import LeaseLost, RetryableError, Unavailable
from shared.messaging.handler import HandlerContext
from shared.modeling.memory import is_out_of_memory
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database, clock
from shared.storage.ids import new_id
from shared.storage.leases import Lease
from shared.storage.repositories import evaluations, models, pipelines
from shared.storage.tables import Report
from shared.telemetry.logs import bound, get_logger
from shared.telemetry.metrics import GATE_VERDICTS

LONGEST_RETRY_SECONDS = 60.0
log = get_logger(__name__)


class Evaluating:
    """Handles EvaluateModelVersion; may be called any number of times, the version is judged once."""

    def __init__(self, settings: Settings, database: Database, artifacts: Artifacts) -> None:
        self._settings = settings
        self._database = database
        self._artifacts = artifacts
        self._subjects = Subjects(settings, artifacts)
        self._owner = f"{socket.gethostname()}:{os.getpid()}"

    def __call__(self, message: Message, context: HandlerContext) -> None:
        """Raises RetryableError when it is to be tried again."""
        assert isinstance(message, EvaluateModelVersion)
        seconds = self._settings.lease_seconds
        with self._database.write() as session:
            lease = evaluations.take(session, message.model, message.version, self._owner, seconds)
        if lease is None:
            return
        with bound(evaluation=lease.id, model=message.model, version=message.version):
            try:
                self._evaluate(message.model, message.version, lease, context.draining)
            except LeaseLost:
                log.warning("evaluation taken over by another worker")
            except RetryableError as error:
                self._give_back(lease, error.message, counted=False)
                raise
            except Exception as error:
                log.exception("evaluation failed", attempt=lease.attempt)
                self._failed(lease, error)

    def _evaluate(self, model: str, version: int, lease: Lease, draining: threading.Event) -> None:
        with Holding(self._database, lease, self._settings.lease_seconds, draining) as holding:
            with self._database.read() as session:
                case = read_case(session, model, version)
            judgement = judge_case(case, self._artifacts, self._subjects, holding)
        with self._database.write() as session:
            _check_champion(session, case)
            report = Report(id=new_id("report"), created_at=clock(session), **report_columns(judgement))
            evaluations.finish(session, lease, report, holding.total)
        log.info("version judged", report=report.id, verdict=report.verdict, seconds=round(report.seconds, 3))
        _measure(judgement)

    def _failed(self, lease: Lease, error: Exception) -> None:
        text = _explained(error)
        if lease.attempt < self._settings.max_attempts:
            self._give_back(lease, text, counted=True)
            wait = min(2.0**lease.attempt, LONGEST_RETRY_SECONDS)
            raise Unavailable(f"evaluation {lease.id} is tried again: {text}", retry_seconds=wait) from error
        with self._database.write() as session:
            evaluations.fail(session, lease, text)

    def _give_back(self, lease: Lease, error: str, counted: bool) -> None:
        with self._database.write() as session:
            evaluations.give_back(session, lease, error, counted)


def _explained(error: Exception) -> str:
    if is_out_of_memory(error):
        return (
            "OUT_OF_MEMORY: a model and a batch of test rows do not fit into this worker's memory; give the evaluation "
            f"service more, or lower method.max_length ({str(error)[:200]})"
        )
    return f"{type(error).__name__}: {error}"


def _check_champion(session: Session, case: Case) -> None:
    """A verdict holds against the champion of its moment only. Raises Unavailable when that has moved on."""
    model = case.candidate.model
    pipelines.lock(session, model)
    if models.alias(session, model, models.CHAMPION) != case.champion_version:
        raise Unavailable(f"the champion of {model} changed meanwhile; judging again", retry_seconds=0.1)


def _measure(judgement: Judgement) -> None:
    verdict = judgement.verdict
    GATE_VERDICTS.labels(judgement.case.candidate.model, verdict.word, verdict.first_failure).inc()

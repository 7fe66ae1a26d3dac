"""Forgetting what only matters for a while: old answers, servers that are gone."""

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from services.control.leadership import Leadership, Term
from shared.storage.database import Database, clock
from shared.storage.tables import Answer, Deployment, TrainingWorker

ANSWERS_KEPT = timedelta(days=1)
SILENT_SERVER = timedelta(minutes=10)
AT_ONCE = 1000


class Pruner:
    """Deletes at most `AT_ONCE` rows of a table in one transaction, so that nobody waits long for its lock."""

    def __init__(self, database: Database, leadership: Leadership) -> None:
        self._database = database
        self._leadership = leadership

    def prune(self, term: Term) -> int:
        """Returns how many rows went. Raises LeaseLost when another process leads."""
        with self._database.read() as session:
            now = clock(session)
        answers = self._drop(term, Answer.request_id, Answer.created_at < now - ANSWERS_KEPT)
        servers = self._drop(term, Deployment.server, Deployment.heartbeat_at < now - SILENT_SERVER)
        return answers + servers + self._drop(term, TrainingWorker.owner, TrainingWorker.heard_at < now - SILENT_SERVER)

    def _drop(self, term: Term, key: Any, condition: Any) -> int:
        gone = 0
        while True:
            with self._database.write() as session:
                self._leadership.guard(session, term)
                dropped = _drop_some(session, key, condition)
            gone += dropped
            if dropped < AT_ONCE:
                return gone


def _drop_some(session: Session, key: Any, condition: Any) -> int:
    keys = session.scalars(select(key).where(condition).limit(AT_ONCE)).all()
    if keys:
        session.execute(delete(key.class_).where(key.in_(keys), condition))
    return len(keys)

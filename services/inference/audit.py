"""What operators did here, kept in the table `audit`."""

from sqlalchemy.orm import Session

from shared.errors import Unavailable
from shared.rpc import callers
from shared.storage.database import Database, clock
from shared.storage.tables import AuditEntry
from shared.telemetry.logs import get_logger

OPERATOR = "operator"
"""Where no keys are configured, and nobody knows more."""

log = get_logger(__name__)


class Audit:
    """Most acts here are done in memory, and must be possible while the database is away: then the log keeps them."""

    def __init__(self, database: Database, server: str) -> None:
        self.server = server
        self._database = database

    def record(self, action: str, target: str, **detail: object) -> None:
        """Notes one act that has been done; to be called in the context of the operator's call."""
        try:
            with self._database.write() as session:
                self.note(session, action, target, **detail)
        except Unavailable as error:
            log.warning("an act is not in the audit", act=action, target=target, error=str(error), **detail)

    def note(self, session: Session, action: str, target: str, **detail: object) -> None:
        """The same for an act that is a row itself, in the transaction that writes it."""
        told = {"server": self.server, **detail}
        actor = callers.tenant() or OPERATOR
        session.add(AuditEntry(actor=actor, action=action, target=target, detail=told, created_at=clock(session)))

"""What operators did, kept with the change itself."""

from sqlalchemy.orm import Session

from shared.rpc import callers
from shared.storage.database import clock
from shared.storage.tables import AuditEntry

OPERATOR = "operator"
"""Where no keys are configured, and nobody knows more."""


def actor() -> str:
    """Whose key it was; to be asked in the thread that answers the call."""
    return callers.tenant() or OPERATOR


def record(session: Session, action: str, target: str, **detail: object) -> None:
    """Appends one act of an operator, in the transaction that carries it out."""
    entry = AuditEntry(actor=actor(), action=action, target=target, detail=detail, created_at=clock(session))
    session.add(entry)

"""What operators did, kept with the change itself."""

from sqlalchemy.orm import Session

from shared.storage.database import clock
from shared.storage.tables import AuditEntry

OPERATOR = "operator"


def record(session: Session, action: str, target: str, **detail: object) -> None:
    """Appends one act of an operator, in the transaction that carries it out."""
    entry = AuditEntry(actor=OPERATOR, action=action, target=target, detail=detail, created_at=clock(session))
    session.add(entry)

"""The index of the rows that a pipeline has, for exact de-duplication: 16 bytes a row.

Millions of digests pass through here, so this is written for each database rather than through the ORM.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from shared.storage.tables import RowDigest

DIGEST_BYTES = 16
FORGET_ROWS = 500
ADD = {
    "sqlite": "INSERT OR IGNORE INTO row_digests (pipeline, digest, batch) VALUES (?, ?, ?)",
    "postgresql": "INSERT INTO row_digests (pipeline, digest, batch)"
    " SELECT %s, d, %s FROM unnest(%s::bytea[]) AS d ON CONFLICT DO NOTHING",
}
KNOWN = "SELECT digest FROM row_digests WHERE pipeline = "


def digest_of(row_id: str) -> bytes:
    """What the index keeps of a row id."""
    return bytes.fromhex(row_id[: 2 * DIGEST_BYTES])


def known(session: Session, pipeline: str, digests: Sequence[bytes]) -> set[bytes]:
    """Those of at most some thousand digests that the pipeline has already."""
    if not digests:
        return set()
    if _is_sqlite(session):
        query, values = f"{KNOWN}? AND digest IN ({','.join('?' * len(digests))})", (pipeline, *digests)
    else:
        query, values = f"{KNOWN}%s AND digest = ANY(%s::bytea[])", (pipeline, list(digests))
    return {bytes(digest) for (digest,) in session.connection().exec_driver_sql(query, values)}


def add(session: Session, pipeline: str, batch: str, chunks: Iterable[Sequence[bytes]]) -> int:
    """Adds digests and returns how many were new; one that another batch brought stays that batch's."""
    connection, added = session.connection(), 0
    for chunk in filter(None, chunks):
        values: Any = (pipeline, batch, list(chunk))
        if _is_sqlite(session):
            values = [(pipeline, digest, batch) for digest in chunk]
        added += connection.exec_driver_sql(ADD[connection.dialect.name], values).rowcount
    return added


def remove(session: Session, batch: str) -> None:
    """Forgets the rows of a batch, so that other batches may bring them."""
    session.execute(delete(RowDigest).where(RowDigest.batch == batch))


def forget(session: Session, pipeline: str, row_ids: Iterable[str]) -> None:
    """Forgets rows, whichever batch brought them."""
    wanted = sorted(map(digest_of, row_ids))
    for start in range(0, len(wanted), FORGET_ROWS):
        chunk = wanted[start : start + FORGET_ROWS]
        session.execute(delete(RowDigest).where(RowDigest.pipeline == pipeline, RowDigest.digest.in_(chunk)))


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"

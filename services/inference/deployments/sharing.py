"""The table `traffic`. Every inference server follows it; whichever is asked to writes it."""

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy.orm import Session

from services.inference.models.traffic import Share, Traffic
from shared.storage import tables
from shared.storage.database import Database, clock


class TrafficTable:
    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, traffic: Traffic, beside: Callable[[Session], None] = lambda session: None) -> Traffic:
        """Replaces what is said of the model, and does what `beside` writes; returns the traffic with its time."""
        with self._database.write() as session:
            now = clock(session)
            session.merge(
                tables.Traffic(
                    model=traffic.model,
                    shares=_pairs(traffic.shares),
                    shadows=_pairs(traffic.shadows),
                    set_at=now,
                )
            )
            beside(session)
        return replace(traffic, set_at=now)

    def promoted(self, model: str, version: int) -> None:
        """A version that became champion loses its share and its shadow; those of others stay.

        So a rollback takes all requests away from it.
        """
        with self._database.write() as session:
            row = session.get(tables.Traffic, model)
            if row is not None:
                row.shares = [pair for pair in row.shares if pair[0] != version]
                row.shadows = [pair for pair in row.shadows if pair[0] != version]


def _pairs(shares: tuple[Share, ...]) -> list[list[float]]:
    return [[one.version, one.share] for one in shares]

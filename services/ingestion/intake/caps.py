"""How many rows a source, and a batch, may still bring into a dataset."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.ingestion.clusters.rows import Outcome, Room
from shared.pipelines.schema import PipelineSpec
from shared.rows import Reason
from shared.storage.database import Database
from shared.storage.tables import Batch


def capped(reasons: Mapping[str, int]) -> list[dict[str, Any]]:
    """What the caps did to the rows of a batch, by why rows are in its quarantine."""
    rules = {Reason.SOURCE_CAP: "caps.per_source", Reason.BATCH_CAP: "caps.per_batch"}
    found = ((rule, reasons.get(reason, 0)) for reason, rule in rules.items())
    return [{"rule": rule, "action": "rejected", "rows": rows} for rule, rows in found if rows]


class Caps:
    """Of one source of a pipeline. Held batches do not count: their rows are in no later version."""

    def __init__(self, database: Database, spec: PipelineSpec, source: str) -> None:
        self._database, self._spec, self._source = database, spec, source

    def room(self) -> Room | None:
        """What is left now; None without a cap."""
        caps = self._spec.data.caps
        if caps.per_source is None:
            return None if caps.per_batch is None else Room(caps.per_batch, Outcome.BATCH_CAP)
        with self._database.read() as session:
            return self.room_in(session)

    def room_in(self, session: Session) -> Room | None:
        """The same inside a transaction; under the pipeline's lock nothing is newer."""
        caps = self._spec.data.caps
        rooms = [] if caps.per_batch is None else [Room(caps.per_batch, Outcome.BATCH_CAP)]
        if caps.per_source is not None:
            query = select(func.coalesce(func.sum(Batch.accepted), 0)).where(
                Batch.pipeline == self._spec.name, Batch.source == self._source, Batch.state == "accepted"
            )
            rooms.append(Room(max(0, caps.per_source - int(session.scalar(query) or 0)), Outcome.SOURCE_CAP))
        return min(rooms, default=None)

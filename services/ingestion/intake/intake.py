"""Rows as they come -> a draft, a quarantine and a journal, chunk by chunk: mapped to our names, ruled, checked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.ingestion.clusters.rows import Room
from services.ingestion.index.indexes import Indexes
from services.ingestion.intake.checked import CheckedRow
from services.ingestion.intake.draft import Draft, unlimited
from services.ingestion.intake.quoting import quoted_row
from services.ingestion.reading.received import Received
from services.ingestion.rules.chain import Ruled, Rules
from services.ingestion.rules.personal.keys import KeySource, no_key
from services.ingestion.scratch import RecordFile
from services.ingestion.storing.journal import Journal
from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS, RowError

CHUNK_ROWS = 4096
CHUNK_BYTES = 4 << 20


class Intake:
    """Checks every row of a batch. A bad one goes to quarantine and never fails the batch."""

    def __init__(
        self,
        spec: PipelineSpec,
        folder: Path,
        indexes: Indexes,
        key: KeySource = no_key,
        room: Callable[[], Room | None] = unlimited,
    ) -> None:
        """`key` gives the secret that hashes of personal data are keyed with; `room` tells how many rows may come in."""
        self._spec = spec
        self._schema = SCHEMAS[spec.kind]
        self._read = self._schema.reader(spec)
        self._rules = Rules(spec.data, self._schema.texts, key)
        self.draft = Draft(spec, folder, indexes, room)
        self.quarantine = RecordFile(folder)
        self.journal = Journal(folder)
        self.received = 0
        self.reasons: dict[str, int] = {}
        self._chunk: list[Received] = []
        self._chunk_bytes = 0

    @property
    def rules(self) -> list[dict[str, Any]]:
        """What the rules did: {"rule", "action", "rows"} each."""
        return self._rules.counts

    @property
    def statistics(self) -> dict[str, Any]:
        """Figures that only the rules know: rows by language, where a rule asks for it."""
        return {"languages": dict(self._rules.languages)} if self._rules.languages else {}

    def take(self, row: Received) -> None:
        self.received += 1
        self._chunk.append(row)
        self._chunk_bytes += row.size
        if len(self._chunk) >= CHUNK_ROWS or self._chunk_bytes >= CHUNK_BYTES:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self.draft.finish()

    def close(self) -> None:
        self.draft.close()
        self.quarantine.close()
        self.journal.close()

    def set_aside(self, row: Received, error: RowError, row_id: str = "", rule: str = "") -> None:
        """Puts a row into quarantine. `row_id` is there for one that was read; `rule` is what did not let it in."""
        self.reasons[error.reason] = self.reasons.get(error.reason, 0) + 1
        self.journal.note(row.line, row_id, "quarantined", rule, detail=error.reason)
        self.quarantine.append(
            {
                "line": row.line,
                "reason": error.reason,
                "field": error.field,
                "message": self._rules.redacted(error.message),
                "raw": quoted_row(row, self._rules.redacted if self._rules.redacts else None),
            }
        )

    def _flush(self) -> None:
        chunk, self._chunk, self._chunk_bytes = self._chunk, [], 0
        names, mapped = self._spec.data.fields, self._schema.mapped
        ruled = iter(
            self._rules.apply([mapped(row.fields, names) for row in chunk if not isinstance(row.fields, RowError)])
        )
        checked: list[CheckedRow] = []
        for row in chunk:
            if isinstance(row.fields, RowError):
                self.set_aside(row, row.fields)
            elif found := self._checked(row, next(ruled)):
                checked.append(found)
        self.draft.add(checked)

    def _checked(self, row: Received, ruled: Ruled) -> CheckedRow | None:
        if ruled.error is not None:
            self.set_aside(row, ruled.error, rule=ruled.done[-1].rule)
            return None
        try:
            row_id, split_key, fields = self._read(ruled.row)
        except RowError as error:
            self.set_aside(row, error)
            return None
        for rule, action, detail in ruled.done:
            self.journal.note(row.line, row_id, action, rule, detail=detail)
        return CheckedRow(row, row_id, split_key, fields, ruled.flags if ruled.done else ())

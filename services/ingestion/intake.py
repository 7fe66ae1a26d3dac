"""Rows as they come -> a draft and a quarantine, chunk by chunk."""

from pathlib import Path

from services.ingestion.draft import Draft, DraftRow, Known
from services.ingestion.reading.received import Received, raw_text
from services.ingestion.scratch import RecordFile
from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS, RowError
from shared.rows.splits import side

CHUNK_ROWS = 4096
CHUNK_BYTES = 4 << 20


class Intake:
    """Checks every row of a batch. A bad one goes to quarantine and never fails the batch."""

    def __init__(self, spec: PipelineSpec, folder: Path, known: Known) -> None:
        self._spec = spec
        self._schema = SCHEMAS[spec.kind]
        self.draft = Draft(self._schema, folder, known)
        self.quarantine = RecordFile(folder)
        self.received = 0
        self.reasons: dict[str, int] = {}
        self._chunk: list[DraftRow] = []
        self._chunk_bytes = 0

    @property
    def quarantined(self) -> int:
        return sum(self.reasons.values())

    def take(self, row: Received) -> None:
        self.received += 1
        try:
            if isinstance(row.fields, RowError):
                raise row.fields
            parsed = self._schema.parse(row.fields, self._spec)
        except RowError as error:
            self._set_aside(row, error)
            return
        split = side(self._spec.name, parsed.split_key, self._spec.data.splits)
        self._chunk.append(DraftRow(parsed.row_id, split, parsed.fields))
        self._chunk_bytes += row.size
        if len(self._chunk) >= CHUNK_ROWS or self._chunk_bytes >= CHUNK_BYTES:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self.draft.finish()

    def close(self) -> None:
        self.draft.close()
        self.quarantine.close()

    def _flush(self) -> None:
        self.draft.add(self._chunk)
        self._chunk, self._chunk_bytes = [], 0

    def _set_aside(self, row: Received, error: RowError) -> None:
        self.reasons[error.reason] = self.reasons.get(error.reason, 0) + 1
        self.quarantine.append(
            {
                "line": row.line,
                "reason": error.reason,
                "field": error.field,
                "message": error.message,
                "raw": raw_text(row.raw),
            }
        )

"""The call that tells the life of a row."""

from dataclasses import dataclass
from datetime import datetime

from shared.client.connection import Connection
from shared.client.data import Row
from shared.client.reading import read
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.generated.flywheel.ingestion.v1.ingestion_pb2_grpc import IngestionStub


@dataclass(frozen=True)
class RowEvent:
    """Something that happened to a row; `subject` is the batch, dataset version or model version that it is about."""

    event: str
    subject: str
    detail: str
    at: datetime | None


@dataclass(frozen=True)
class RowLife:
    """`row` is without fields when the dataset does not hold it (any more); events are oldest first."""

    row: Row
    events: tuple[RowEvent, ...]
    near: tuple[str, ...]
    dataset_versions: tuple[int, ...]
    model_versions: tuple[int, ...]


class LifeCalls:
    """Raises the errors of shared.errors."""

    _ingestion: Connection

    def explain_row(self, pipeline: str, row: str) -> RowLife:
        """The life of a row; `row` is its id, or the first 8 or more characters of it."""
        stub = self._ingestion.stub(IngestionStub)
        return read(RowLife, self._ingestion.call(stub.ExplainRow, pb.ExplainRowRequest(pipeline=pipeline, row=row)))

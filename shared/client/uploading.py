"""Sending rows and files, and going on where the server is when the stream was cut."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.client.connection import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Connection
from shared.client.reading import struct
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.generated.flywheel.ingestion.v1.ingestion_pb2_grpc import IngestionStub
from shared.errors import FailedPrecondition, InvalidArgument, Unavailable, Unsupported

UPLOAD_SECONDS = 3600.0
"""Deadline of one stream of rows or of a file."""
CHUNK_ROWS = 256
CHUNK_BYTES = 1 << 19
MESSAGE_BYTES = 1 << 20
"""A message of rows is cut before it grows beyond this; the server takes 4 MiB."""
ASK_FIRST_BYTES = 1 << 20
"""Of a larger upload the server may have the begin, from a client that was stopped."""
MISSES = 5
"""How often in a row the server may say that it is somewhere else."""

Progress = Callable[[int], None]
Row_ = Mapping[str, Any]
Send = Callable[[int], pb.Batch]


class Upload:
    """One batch on its way, in as many streams as it takes."""

    def __init__(self, connection: Connection, header: pb.BatchHeader, send: Send) -> None:
        """`send` streams all that stands behind an offset and returns the answer."""
        self._connection, self._header, self._send = connection, header, send

    def run(self, ask_first: bool) -> pb.Batch:
        """Raises what the server says, and Unavailable when it stays away for the connection's patience, in which
        nothing more arrived."""
        give_up = time.monotonic() + self._connection.patience
        pause, furthest, misses, offset = FIRST_PAUSE_SECONDS, 0, 0, 0
        ask = ask_first
        while True:
            try:
                if ask:
                    held = self._held()
                    if held.HasField("batch"):
                        held.batch.repeated_call = True
                        return held.batch
                    offset = held.received
                    if offset > furthest:
                        furthest, pause = offset, FIRST_PAUSE_SECONDS
                        give_up = time.monotonic() + self._connection.patience
                with self._connection.errors():
                    return self._send(offset)
            except Unavailable as error:
                left = give_up - time.monotonic()
                if left <= 0:
                    raise
                time.sleep(min(pause, left, max(error.retry_seconds, FIRST_PAUSE_SECONDS)))
                pause, ask = min(pause * 2, LONGEST_PAUSE_SECONDS), True
            except (FailedPrecondition, InvalidArgument) as error:
                misses += 1
                if (not offset and "offset" not in error.metadata) or misses > MISSES:
                    raise
                offset, ask = _elsewhere(error), False

    def _held(self) -> pb.Upload:
        request = pb.GetUploadRequest(pipeline=self._header.pipeline, batch_key=self._header.batch_key)
        try:
            held: pb.Upload = self._connection.call(self._connection.stub(IngestionStub).GetUpload, request)
        except Unsupported:
            return pb.Upload()  # a server from before uploads could go on
        return held


def _elsewhere(error: FailedPrecondition | InvalidArgument) -> int:
    """Where the server is; the begin when what it has is of another file, which was sent under this key before."""
    if isinstance(error, FailedPrecondition) and error.metadata.get("offset", "").isdigit():
        return int(error.metadata["offset"])
    if error.metadata.get("field") in ("kind", "size", "sha256"):
        return 0
    raise error


def behind(header: pb.BatchHeader, offset: int) -> pb.BatchHeader:
    """The header of a stream that goes on at an offset."""
    made = pb.BatchHeader()
    made.CopyFrom(header)
    made.offset = offset
    return made


def row_messages(header: pb.BatchHeader, rows: Iterable[Row_], progress: Progress) -> Iterator[pb.AppendRowsRequest]:
    """The header, then the rows behind its offset, in messages of bounded size."""
    yield pb.AppendRowsRequest(header=header)
    sent = header.offset
    if sent:
        assert isinstance(rows, Sequence), "only what can be read again goes on"
        rows = rows[sent:]
    chunk, size = pb.RowChunk(), 0
    for row in rows:
        made = struct(row)
        size += made.ByteSize()
        if chunk.rows and (size > MESSAGE_BYTES or len(chunk.rows) == CHUNK_ROWS):
            yield pb.AppendRowsRequest(rows=chunk)
            sent += len(chunk.rows)
            progress(sent)
            chunk, size = pb.RowChunk(), made.ByteSize()
        chunk.rows.append(made)
    if chunk.rows:
        yield pb.AppendRowsRequest(rows=chunk)
    progress(sent + len(chunk.rows))


def file_messages(header: pb.BatchHeader, path: Path, progress: Progress) -> Iterator[pb.ImportFileRequest]:
    """The header, then the file's bytes behind its offset."""
    yield pb.ImportFileRequest(header=header)
    sent = header.offset
    with path.open("rb") as file:
        file.seek(sent)
        while piece := file.read(CHUNK_BYTES):
            yield pb.ImportFileRequest(chunk=piece)
            sent += len(piece)
            progress(sent)

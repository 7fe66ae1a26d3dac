"""The Parquet reader's own process: a file on standard input, a row a line on standard output.

    python -m services.ingestion.reading.parquet_rows BYTES < rows.parquet

A binary format decides how much memory its reader takes, and a damaged one can end it. Here it ends nobody else, and
takes BYTES at most. A line begins with what it is: `{` a row as JSON, `!` a row that can't be one, `?` why the file
can't be read, `.` the end.
"""

import resource
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 512
MOST_COLUMNS = 1000
BUFFER_BYTES = 1 << 20
WRONG = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError, NotImplementedError)


def main(file: IO[bytes], out: IO[bytes], most_bytes: int) -> None:
    """Writes every row, then why it ended."""
    resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))
    for none_of in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(none_of, (0, 0))
    try:
        for line in rows_of(file):
            out.write(line + b"\n")
        out.write(b".\n")
    except MemoryError:
        message = f"it needs more than {most_bytes >> 20} MiB of memory; write it in smaller row groups"
        out.write(b"?" + message.encode() + b"\n")
    except WRONG as error:
        out.write(b"?" + " ".join(str(error).split()).encode(errors="replace")[:500] + b"\n")
    out.flush()


def rows_of(file: IO[bytes]) -> Iterator[bytes]:
    """A line a row. Raises what pyarrow does, and ValueError for what is no table of rows."""
    table = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False, memory_map=False)
    names = table.schema_arrow.names
    if len(set(names)) < len(names) or not 0 < len(names) <= MOST_COLUMNS:
        raise ValueError(f"its columns need names of their own, and at most {MOST_COLUMNS} are taken")
    seen = 0
    for batch in table.iter_batches(BATCH_ROWS, use_threads=False):
        yield from _lines(names, batch)
        seen += batch.num_rows
    if seen != table.metadata.num_rows:
        raise ValueError(f"it says that it has {table.metadata.num_rows} rows, and has {seen}")


def _lines(names: Sequence[str], batch: Any) -> Iterator[bytes]:
    columns = [column.to_pylist() for column in batch.columns]
    for values in zip(*columns, strict=True):
        row = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        try:
            yield orjson.dumps(row, default=_plain)
        except orjson.JSONEncodeError as error:
            yield b"!" + str(error.__cause__ or error).encode(errors="replace")


def _plain(value: Any) -> Any:
    """Text that was written as bytes, decimals, spans of time."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))

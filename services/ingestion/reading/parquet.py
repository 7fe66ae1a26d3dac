"""Parquet: read by a process of its own, whose memory and time are bounded, whatever the file says of itself."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from services.ingestion.reading.limits import PIECE_BYTES, Budget
from services.ingestion.reading.lines import fields_of, split_lines
from services.ingestion.reading.received import Received
from shared.errors import InvalidArgument
from shared.rows import Reason, RowError

PROGRAM = "services.ingestion.reading.parquet_rows"
ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
"""All of it: the secrets of this process are none of a foreign file's business."""
MEMORY_BYTES = 1 << 30
SILENT_SECONDS = 60.0
"""A reader that says nothing for so long is stuck."""
ROW_BYTES = 64
"""What a row counts at least: a few bytes of Parquet can say `the same a billion times`."""


def read_parquet(file: IO[bytes], limit: int) -> Iterator[Received]:
    """The rows of a Parquet file on a disk, numbered from 1. Raises InvalidArgument when it can't be read."""
    budget, number, ended = Budget(), 0, False
    budget.came(os.fstat(file.fileno()).st_size)
    for line, size in split_lines(_output(file), limit):
        if not line:
            continue
        mark = line[:1]
        if mark == b"?":
            raise _unreadable(line[1:].decode(errors="replace"))
        ended = mark == b"."
        if not ended:
            number += 1
            budget.made(max(size, ROW_BYTES))
            yield Received(number, _fields(mark, line, size, limit), line, size)
    if not ended:
        raise _unreadable("its reader ended in the middle of it")


def _fields(mark: bytes, line: bytes, size: int, limit: int) -> Mapping[str, Any] | RowError:
    if mark == b"!":
        return RowError(Reason.MALFORMED_ROW, "", f"a value can't be taken: {line[1:300].decode(errors='replace')}")
    return fields_of(line, size, limit)


def _output(file: IO[bytes]) -> Iterator[bytes]:
    """What the reader writes, until it ends. Raises InvalidArgument when it is stuck."""
    file.seek(0)
    command = [sys.executable, "-m", PROGRAM, str(MEMORY_BYTES)]
    process = subprocess.Popen(
        command,
        stdin=file,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        while True:
            ready, _, _ = select.select([process.stdout], [], [], SILENT_SECONDS)
            if not ready:
                raise _unreadable(f"its reader was stuck for {SILENT_SECONDS:.0f} s")
            piece = os.read(process.stdout.fileno(), PIECE_BYTES)
            if not piece:
                return
            yield piece
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _unreadable(why: str) -> InvalidArgument:
    return InvalidArgument(f"the Parquet file can't be read: {why}", field="chunk")

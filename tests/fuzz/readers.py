"""Throws damaged files at the readers: whatever comes, they give rows or say InvalidArgument, and nothing else.

    python -m tests.fuzz.readers --seconds 30 --seed 1

A case that fails is printed with what it takes to run it again. The pieces in which a file arrives make no difference.
"""

import argparse
import gzip
import io
import json
import random
import sys
import time
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from services.ingestion.reading.received import raw_text
from services.ingestion.reading.sniffing import FORMATS
from shared.errors import InvalidArgument
from shared.rows import RowError
from tests.support.reading import reading_of

LIMIT = 2000
ROWS = [{"text": 'a "quoted"\nline', "label": "x"}, {"text": "你好，世界 \\", "label": "y"}, {"text": "😀", "n": 1.5}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
TURNS = {"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]}
TOKENS = [b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"\n", b"\r\n", b"\t", b"\0", b"NaN", b"1e999", b"-0"]
TOKENS += [
    b"\\ud800",
    b"\xff",
    b"\xef\xbb\xbf",
    b"9" * 25,
    b"[" * 300,
    b"#",
    b" O\n",
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"''",
]
PARQUET_SHARE = 0.005
"""Of the cases: each starts a process."""


class Case(NamedTuple):
    """A file, the size of the pieces that it comes in, and what is said of it."""

    data: bytes
    piece: int
    format: str
    encoding: str
    filename: str


def zipped(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(zipfile.ZipInfo(name), data)
    return made.getvalue()


def tabular() -> bytes:
    made = io.BytesIO()
    pq.write_table(pa.table({"text": ["a", "b"], "label": ["x", None]}), made)
    return made.getvalue()


PARQUET = tabular()
SEEDS = [
    LINES,
    json.dumps(ROWS).encode(),
    json.dumps({"version": 1, "data": ROWS}, indent=1).encode(),
    json.dumps([TURNS]).encode(),
    b'text,label\n"a ""b""\nc",x\nd,y\n',
    b"text\tlabel\na\tx\n",
    b"EU B-ORG\nrejects O\n\n# c\nGerman B-MISC\n",
    "一段\n又一行\n\n另一段\n".encode(),
    LINES.decode().encode("gb18030"),
    LINES.decode().encode("utf-16"),
    gzip.compress(LINES, mtime=0),
    zstandard.compress(LINES),
    zipped({"a.jsonl": LINES, "b/c.csv": b"text,label\na,x\n", "d.txt": b"hello\n"}),
]


def cases(seed: int) -> Iterator[Case]:
    """Without end; the same for the same seed."""
    chance = random.Random(seed)
    while True:
        data = PARQUET if chance.random() < PARQUET_SHARE else chance.choice(SEEDS)
        for _ in range(chance.choice((0, 1, 1, 2, 4, 16))):
            data = mutated(data, chance)
        yield Case(
            data,
            chance.choice((1, 3, 17, 256)),
            chance.choice((*FORMATS, *[""] * 30)),
            chance.choice(("utf-8", "gb18030", "utf-16", *[""] * 20)),
            chance.choice(("", "", "a.jsonl", "a.json", "a.csv", "a.txt", "a.conll", "a.csv.gz")),
        )


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The file with one thing wrong."""
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + chance.randrange(1, 40))
    way = chance.randrange(6)
    if way == 0 and data:
        at = min(at, len(data) - 1)
        return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
    if way == 1:
        return data[:at] + data[end:]
    if way == 2:
        return data[:at] + data[at:end] * chance.choice((2, 50)) + data[end:]
    if way == 3:
        return data[:at] + chance.choice(TOKENS) + data[at:]
    if way == 4:
        return data[:at]
    other = chance.choice(SEEDS)
    return data[:at] + other[chance.randrange(len(other)) :]


def outcome(case: Case, piece: int) -> tuple[list[object], str]:
    """The rows and the refusal that ended them. Raises whatever else the readers raise."""
    rows: list[object] = []
    reading = reading_of(case.data, piece, LIMIT, format=case.format, encoding=case.encoding, filename=case.filename)
    try:
        for row in reading:
            assert row.line >= 1
            assert row.size >= 0
            assert "\0" not in raw_text(row.raw)
            raw_text(row.raw).encode()
            refused = isinstance(row.fields, RowError)
            assert refused or all(isinstance(name, str) for name in row.fields)
            rows.append((row.line, str(row.fields.message) if refused else repr(row.fields)))
    except InvalidArgument as error:
        return rows, error.message
    return rows, ""


def check(case: Case) -> None:
    """Raises AssertionError when the pieces make a difference, and whatever else goes wrong."""
    by_pieces, whole = outcome(case, case.piece), outcome(case, len(case.data) or 1)
    assert by_pieces[1] == whole[1], (by_pieces[1], whole[1])
    if not whole[1]:  # a refusal comes sooner or later after the rows before it
        assert by_pieces[0] == whole[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, default=-1, help="run this case of the seed alone")
    options = parser.parse_args()
    ends, done = time.monotonic() + options.seconds, 0
    for number, case in enumerate(cases(options.seed)):
        if options.only >= 0 and number != options.only:
            continue
        if time.monotonic() > ends or number > options.only >= 0:
            break
        try:
            check(case)
        except Exception as error:
            print(f"--seed {options.seed} --only {number}: {type(error).__name__}: {error}\n{case}")
            return 1
        done += 1
    print(f"{done} files, none surprised")
    return 0


if __name__ == "__main__":
    sys.exit(main())

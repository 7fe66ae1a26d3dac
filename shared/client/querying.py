"""SQL over a dataset version on this machine, in a DuckDB that can read nothing but the version's own files."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb

from shared.client.datasets import LocalVersion
from shared.errors import InvalidArgument

FETCH_ROWS = 1000
QUESTIONS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
CLOSED = (
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


@dataclass(frozen=True)
class Answer:
    """Rows are read as they are asked for."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def query(local: LocalVersion, sql: str) -> Iterator[Answer]:
    """One statement about the view `rows`: row_id, split, batch, source, licence, and the kind's columns.

    Raises InvalidArgument with what DuckDB says is wrong.
    """
    with closing(duckdb.connect(":memory:")) as database, _told():
        _open(database, local)
        result = database.execute(_question(database, sql))
        columns = tuple(str(column[0]) for column in result.description or ())
        yield Answer(columns, _rows(result))


def _question(database: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """Raises InvalidArgument for anything but one SELECT: others could only change what is thrown away."""
    statements = database.extract_statements(sql)
    if len(statements) != 1 or statements[0].type not in QUESTIONS:
        raise InvalidArgument("sql: give one SELECT over the view `rows`", field="sql")
    return statements[0]


def _open(database: duckdb.DuckDBPyConnection, local: LocalVersion) -> None:
    parts = [
        (str(local.files[part.digest].absolute()), part.batch, part.source, part.licence, part.test)
        for part in local.manifest.parts
        if part.rows
    ]
    database.execute("CREATE TABLE parts (file VARCHAR, batch VARCHAR, source VARCHAR, licence VARCHAR, test BOOLEAN)")
    if parts:
        database.executemany("INSERT INTO parts VALUES (?, ?, ?, ?, ?)", parts)
    files = [file for file, *_ in parts]
    database.execute(f"SET allowed_paths = {_list(files)}")
    if files:
        database.execute(
            "CREATE VIEW rows AS SELECT row_id, split, batch, source, licence, found.* EXCLUDE (row_id, split, file) "
            f"FROM read_parquet({_list(files)}, filename = 'file', union_by_name = true) AS found "
            "JOIN parts USING (file) WHERE test OR split <> 'test'"
        )
    else:
        columns = ", ".join(f'NULL::VARCHAR AS "{name}"' for name in local.manifest.schema.get("columns", ["text"]))
        database.execute(
            "CREATE VIEW rows AS SELECT '' AS row_id, '' AS split, '' AS batch, '' AS source, '' AS licence, "
            f"{columns} WHERE false"
        )
    for statement in CLOSED:
        database.execute(statement)


def _rows(result: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while chunk := result.fetchmany(FETCH_ROWS):
        yield from chunk


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise InvalidArgument(f"the query failed: {error}", field="sql") from None


def _list(values: list[str]) -> str:
    return "[" + ", ".join("'" + value.replace("'", "''") + "'" for value in values) + "]"

"""The rows of a dataset version, from its local Parquet files."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.finetuning.spec import DatasetInput, FailureReason
from services.finetuning.training.failures import TrainingFailed
from shared.modeling.digests import file_digest

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class SplitRows:
    """Rows by split, each sorted by row id; test rows are never among them."""

    train: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    earlier: frozenset[str] = frozenset()
    """Ids of the rows that stand in parts of an earlier dataset version."""


def read_rows(
    dataset: DatasetInput,
    columns: tuple[str, ...],
    optional: tuple[str, ...] = (),
    earlier: frozenset[str] = frozenset(),
) -> SplitRows:
    """Read the train and validation rows; raises TrainingFailed (BAD_DATA) when a part is missing or altered.

    A part may lack `optional` columns; its rows have None there. `earlier` are digests of parts.
    """
    rows: list[dict[str, Any]] = []
    known: set[str] = set()
    for part in dataset.parts:
        if not part.path.is_file():
            raise _bad(f"part {part.path.name} is missing")
        if file_digest(part.path) != part.digest:
            raise _bad(f"part {part.path.name} does not have the digest of the manifest")
        try:
            there = set(pq.read_schema(part.path).names)
            wanted = ["row_id", "split", *columns, *(name for name in optional if name in there)]
            table = pq.read_table(part.path, columns=wanted, filters=[("split", "in", SPLITS)])
        except (pa.ArrowException, OSError) as error:
            raise _bad(f"part {part.path.name} can't be read: {error}") from None
        absent = dict.fromkeys(name for name in optional if name not in there)
        found = [{**row, **absent} for row in table.to_pylist()]
        rows += found
        known |= {row["row_id"] for row in found} if part.digest in earlier else set()
    missing = [name for name in columns if rows and name not in rows[0]]
    if missing:
        raise _bad(f"rows have no column {missing[0]!r}")
    rows.sort(key=lambda row: str(row["row_id"]))
    train, validation = ([row for row in rows if row["split"] == name] for name in SPLITS)
    split = SplitRows(train, validation, frozenset(known))
    if not split.train:
        raise _bad("the train split is empty")
    return split


def _bad(message: str) -> TrainingFailed:
    return TrainingFailed(FailureReason.BAD_DATA, f"dataset: {message}")

"""A study's rows as the platform would hold them: checked by the kind's schema, identified, without leaks."""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from benchmarks.quality.judging import UNBOUNDED
from benchmarks.quality.sources import Raw, RawRows
from benchmarks.quality.studies import Sizes, Study
from shared.pipelines.kinds import KINDS
from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS, RowError

Row = dict[str, Any]


@dataclass(frozen=True)
class Material:
    """Rows in the order of their ids, which are hashes: the first so many are a fair sample."""

    study: Study
    spec: PipelineSpec
    train: list[Row]
    test: list[Row]
    prompted: int
    """So many of the test rows are answered by a model that is only prompted."""
    left_out: int
    """Rows that the schema refuses, copies, and train rows whose input is on the test side too."""

    @property
    def digest(self) -> str:
        """Over the ids of all rows: equal digests, equal rows."""
        return sha256(json.dumps([_ids(self.train), _ids(self.test)]).encode()).hexdigest()


def prepare(study: Study, raw: RawRows, sizes: Sizes) -> Material:
    """Raises ValueError or KeyError when the platform does not have the study's kind."""
    spec = PipelineSpec.model_validate(
        {"name": study.name, "kind": study.kind, "base": study.base, "options": _options(study, sizes)}
    )
    shaped = study.shape(raw)
    test = _checked(shaped.test, spec, "test", frozenset())
    train = _checked(shaped.train, spec, "train", frozenset(key for key, _ in test.values()))
    left_out = len(shaped.test) + len(shaped.train) - len(test) - len(train)
    return Material(
        study, spec, _first(train, sizes.train), _first(test, sizes.test), min(sizes.prompted, sizes.test), left_out
    )


def _options(study: Study, sizes: Sizes) -> dict[str, Any]:
    """Where a kind writes answers for some rows only: all where answers are what is judged, or else as many as a
    prompted model writes."""
    if "answered_rows" not in KINDS[study.kind].options:
        return dict(study.options)
    answered = sizes.prompted if study.metric in UNBOUNDED else sizes.test
    return {"answered_rows": answered, **study.options}


def _checked(rows: list[Raw], spec: PipelineSpec, side: str, taken: frozenset[str]) -> dict[str, tuple[str, Row]]:
    """Row id -> split key and row."""
    schema = SCHEMAS[spec.kind]
    checked = {}
    for raw in rows:
        try:
            parsed = schema.parse(raw, spec)
        except RowError:
            continue
        if parsed.split_key not in taken:
            row = {"row_id": parsed.row_id, "split": side, **parsed.fields}
            checked[parsed.row_id] = (parsed.split_key, row)
    return checked


def _first(rows: dict[str, tuple[str, Row]], most: int) -> list[Row]:
    return [rows[row_id][1] for row_id in sorted(rows)[:most]]


def _ids(rows: list[Row]) -> list[str]:
    return [row["row_id"] for row in rows]

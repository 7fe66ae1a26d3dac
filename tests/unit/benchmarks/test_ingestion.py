"""What the benchmark of ingestion writes and says, without a service."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ingesting.rows import LABELS, write_rows
from benchmarks.ingestion import slope, summary


def test_rows_are_the_same_every_time_and_some_are_copies(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    written = write_rows(first, 2000)
    assert write_rows(second, 2000) == written
    assert first.read_bytes() == second.read_bytes()
    rows = [json.loads(line) for line in first.read_text(encoding="utf-8").splitlines()]
    distinct = {(row["text"], row["label"]) for row in rows}
    assert (len(rows), written.copies) == (2000, 2000 - len(distinct))
    assert 10 < written.copies < 100
    assert {row["label"] for row in rows} == set(LABELS)
    assert 300 < sum(not row["text"].isascii() for row in rows) < 700


@pytest.mark.parametrize(("power", "expected"), [(1.0, 1.0), (2.0, 2.0), (0.5, 0.5)])
def test_the_slope_is_the_power_that_time_grows_with(power: float, expected: float) -> None:
    assert slope([(rows, 3 * rows**power) for rows in (10, 100, 1000)]) == expected
    assert slope([(10, 1.0)]) == 1.0


def figures(rows: int, seconds: float) -> dict[str, Any]:
    way = {"sealed_seconds": seconds, "cpu_seconds": seconds, "peak_mib": 900.0, "rows_per_second": rows / seconds}
    others = {name: {"seconds": 2 * seconds} for name in ("python", "datasets", "datasketch")}
    return {"rows": rows, "whole": way, "exact": way, "more": {"sealed_seconds": 12.0}, **others}


def test_aims_are_met_or_not_and_others_are_compared_with() -> None:
    found = summary([figures(100_000, 2.0), figures(1_000_000, 20.0)])
    assert found["reached"]["slope"] == 1.0
    assert found["met"] == {
        "whole_seconds": True,
        "whole_mib": True,
        "exact_rows_per_second": True,
        "slope": True,
        "more_seconds": False,
    }
    assert set(found["ratios"].values()) == {2.0}

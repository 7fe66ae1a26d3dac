"""The leak check reads nothing but the parts, so it finds what clustering would have let through."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.ingestion.near.keys import key_reader
from services.ingestion.near.leaks import LeakReport, check_leaks
from services.ingestion.storing.part_file import part_schema
from shared.errors import DataCorrupted
from shared.rows import SCHEMAS
from shared.rows.base import row_id
from shared.storage.artifacts import Artifacts
from shared.storage.datasets import Manifest, Part

LONG = "the parcel came three days late and the box was open so please send me a new one as soon as you can thank you"
CHINESE = "这家酒店的房间非常干净服务员也很热情早餐种类丰富位置离地铁站只有五分钟下次来还会选择这里"
Stored = tuple[str, str]


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(str(tmp_path / "store"), tmp_path / "cache")


def part(artifacts: Artifacts, batch: str, rows: Sequence[Stored], *, test: bool = True) -> Part:
    shape = part_schema(SCHEMAS["classification"])
    found: list[dict[str, Any]] = [
        {"row_id": row_id("classification", "x", text), "split": split, "text": text, "label": "x"}
        for text, split in rows
    ]
    uri = f"datasets/p/parts/{batch}.parquet"
    with artifacts.create(uri) as file:
        pq.write_table(pa.Table.from_pylist(found, shape), file)
    digest = hashlib.sha256(artifacts.read_bytes(uri)).hexdigest()
    sides = [split for _, split in rows]
    train, validation, held_out = (sides.count(split) for split in ("train", "validation", "test"))
    return Part(batch, uri, digest, train, validation, held_out, test)


def check(
    artifacts: Artifacts, *parts: Part, new: list[str] | None = None, threshold: float | None = 0.8
) -> LeakReport:
    return check_leaks(artifacts, Manifest("p", 1, "classification", "", parts), new, threshold)


def test_clean_parts_are_proven_clean(artifacts: Artifacts) -> None:
    rows = [(f"tweet number {n}", ("train", "test")[n % 2]) for n in range(200)]
    report = check(artifacts, part(artifacts, "a", [*rows, (LONG, "test"), (LONG + "!", "test")]))
    assert (report.pairs, report.exact, report.near, report.rows) == ((), 0, 0, 202)
    assert 0 < report.missed_probability < 1e-6


@pytest.mark.parametrize("new", [None, ["a"], ["b"], ["a", "b"]])
@pytest.mark.parametrize(("copy", "likeness"), [(LONG.upper(), 1.0), (LONG + " tonight", 0.96), (CHINESE[1:], 0.977)])
def test_pairs_across_sides_are_found_whichever_part_is_new(
    artifacts: Artifacts, copy: str, likeness: float, new: list[str] | None
) -> None:
    one = part(artifacts, "a", [(LONG, "train"), (CHINESE, "train"), ("other", "test")])
    two = part(artifacts, "b", [("more", "train"), (copy, "test")])
    report = check(artifacts, one, two, new=new)
    assert report.exact + report.near == len(report.pairs) == 1
    assert (report.exact == 1) == (copy == LONG.upper())
    (pair,) = report.pairs
    assert {(row.batch, row.split) for row in (pair.first, pair.second)} == {("a", "train"), ("b", "test")}
    assert pair.similarity == pytest.approx(likeness, abs=0.001)
    assert row_id("classification", "x", copy).startswith((pair.first.row_id, pair.second.row_id))


def test_old_pairs_are_not_looked_for_again(artifacts: Artifacts) -> None:
    old = part(artifacts, "a", [(LONG, "train"), (LONG + "!", "test")])
    assert check(artifacts, old, part(artifacts, "b", [("new", "train")]), new=["b"]).pairs == ()
    assert check(artifacts, old, new=[]).pairs == ()


def test_test_rows_that_never_judge_do_not_leak(artifacts: Artifacts) -> None:
    held = part(artifacts, "a", [(LONG, "test"), ("more", "train")], test=False)
    other = part(artifacts, "b", [(LONG + "!", "train")])
    assert check(artifacts, held, other).pairs == ()
    assert check(artifacts, held, other).rows == 2


def test_without_a_threshold_only_equal_inputs_count(artifacts: Artifacts) -> None:
    rows = [(LONG, "train"), (LONG + " x", "test"), (LONG.upper(), "validation")]
    report = check(artifacts, part(artifacts, "a", rows), threshold=None)
    assert (report.exact, report.near, report.missed_probability) == (1, 0, 0.0)


def test_what_is_kept_of_a_part_is_read_again_and_goes_with_it(artifacts: Artifacts) -> None:
    one, two = part(artifacts, "a", [(LONG, "train")]), part(artifacts, "b", [(LONG + "!", "test")])
    check(artifacts, one)
    kept = artifacts.cache / "sketches" / "p"
    (sketch,) = kept.iterdir()
    sketch.write_bytes(sketch.read_bytes()[:-9])
    assert check(artifacts, one, two).near == 1, "a damaged one is made anew"
    assert len(list(kept.iterdir())) == 2
    check(artifacts, two)
    assert [path.name.split(".")[0] for path in kept.iterdir()] == [two.digest]


def test_a_damaged_part_is_refused(artifacts: Artifacts) -> None:
    damaged = part(artifacts, "a", [(LONG, "train")])
    artifacts.write_bytes(damaged.uri, b"other bytes")
    with pytest.raises(DataCorrupted):
        check(artifacts, damaged)


def test_the_first_thousand_of_many_pairs_are_told(artifacts: Artifacts) -> None:
    rows = [(f"{LONG} {'abc'[n % 3] * (n + 1)}", ("train", "test")[n % 2]) for n in range(70)]
    report = check(artifacts, part(artifacts, "a", rows))
    assert (report.near, len(report.pairs)) == (35 * 35, 1000)


STORED: dict[str, dict[str, Any]] = {
    "classification": {"text": "A text", "label": None, "text_pair": "Another", "labels": ["x"]},
    "token_classification": {"tokens": ["A", "dog"], "tags": ["O", "B-X"]},
    "chat": {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]},
    "ranking": {"query": "Q", "positives": ["p"], "negatives": []},
    "embedding": {"query": "Q", "positives": ["p"], "negatives": ["n"]},
    "translation": {"source": "S", "target": "t", "source_lang": None, "target_lang": None},
    "summarisation": {"document": "D", "summary": "s"},
    "instruction": {"instruction": "I", "input": None, "output": "o", "system": None},
    "generation": {"prompt": None, "text": "T"},
    "pretraining": {"text": "T"},
    "answer_selection": {"question": "Q", "context": None, "candidates": ["a", "b"], "answer": 1},
    "question_answering": {"question": "Q", "context": "C a", "answers": [{"text": "a", "start": 2}]},
    "relation_extraction": {
        "text": "A b c",
        "head_start": 0,
        "head_end": 1,
        "tail_start": 4,
        "tail_end": 5,
        "label": "x",
    },
}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_split_key_of_a_stored_row_can_be_read_back(kind: str) -> None:
    stored = {name: STORED[kind].get(name) for name in SCHEMAS[kind].columns}
    assert key_reader(kind)(stored)

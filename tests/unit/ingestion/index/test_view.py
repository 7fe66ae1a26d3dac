"""A pipeline's index as batches come, are held and go."""

from pathlib import Path

import numpy as np
import pytest

from services.ingestion.clusters.recording import segment_of
from services.ingestion.clusters.resolving import resolve, touches
from services.ingestion.index import view as views
from services.ingestion.index.deriving import remembered
from services.ingestion.index.segment import Segment, merged, read_segment, write_segment
from services.ingestion.index.view import ACCEPTED, HELD, View
from shared.pipelines.data import Data
from tests.unit.ingestion.clusters.dataset import Dataset, Example, columns_of

LONG = "the parcel came three days late and the box was open so please send me a new one as soon as you can thank you"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(Data.model_validate({"splits": {"group": "user"}}), tmp_path)


def has(view: View, *texts: str) -> list[bool]:
    found: list[bool] = view.has(columns_of([Example(text) for text in texts], near=False).ids).tolist()
    return found


def test_thousands_of_batches_of_one_row_are_a_few_segments(dataset: Dataset) -> None:
    for number in range(150):
        dataset.add([Example(f"text {number}")])
    assert len(dataset.view.segments) <= 8
    assert has(dataset.view, "text 0", "text 77", "text 149", "text 150") == [True, True, True, False]


def test_rows_of_a_held_batch_are_not_there_but_their_sides_are(dataset: Dataset) -> None:
    dataset.add([Example(LONG, group="u")])
    view = dataset.view.with_batches(1, {"batch-0": HELD}, [])
    assert has(view, LONG) == [False]
    rows = columns_of([Example(LONG), Example(LONG + "!"), Example("other", group="u")], near=True)
    found = resolve(rows, view, dataset.data)
    assert found.accepted.tolist() == [True, True, True]
    assert set(found.clusters.tolist()) == {dataset.clusters[LONG, 0]}
    assert has(view.with_batches(2, {"batch-0": ACCEPTED}, []), LONG) == [True]


def test_heavy_segments_lie_in_files_without_names(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "HEAVY", 20)
    for start in range(0, 100, 10):
        dataset.add([Example(f"text {number}") for number in range(start, start + 10)])
    assert has(dataset.view, "text 0", "text 99", "text 100") == [True, True, False]
    assert list(dataset.folder.iterdir()) == []


def test_a_segment_comes_back_from_its_file(dataset: Dataset, tmp_path: Path) -> None:
    dataset.add([Example(LONG, group="u"), Example("other")])
    (segment,) = dataset.view.segments
    path = tmp_path / "segment"
    with path.open("wb") as file:
        write_segment(file, segment)
    again = read_segment(path)
    assert (again.sources, again.bands) == (segment.sources, segment.bands)
    assert all(np.array_equal(again[name], segment[name]) for name in segment.columns)


def test_merged_segments_answer_as_each_did(dataset: Dataset) -> None:
    for batch in ([LONG, "one"], [LONG + " indeed", "two"], ["three"]):
        dataset.add([Example(text, group=text[:3]) for text in batch])
    whole = merged([segment for _, segment in dataset.view.newest])
    assert len(whole["keys"]) == 5
    assert np.array_equal(np.sort(whole["keys"]), whole["keys"])
    assert np.array_equal(np.sort(whole["bands"]), whole["bands"])
    view = View(dataset.view.bands, dataset.folder, 0, dataset.view.states, (whole,))
    rows = columns_of([Example(LONG + " now"), Example("x", group="two")], near=True)
    found = resolve(rows, view, dataset.data)
    assert found.clusters.tolist() == [dataset.clusters[LONG, 0], dataset.clusters["two", 0]]


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (Example("unrelated"), False),
        (Example("mine"), True),
        (Example("MINE", label=1), True),
        (Example("of the same user", group="u"), True),
        (Example(LONG + " now"), True),
    ],
)
def test_a_draft_hears_only_of_what_has_to_do_with_it(dataset: Dataset, later: Example, expected: bool) -> None:
    dataset.add([Example("before")])
    before = dataset.view
    rows = columns_of([Example("mine", group="u"), Example(LONG)], near=True)
    found = resolve(rows, before, dataset.data)
    dataset.add([later])
    since = dataset.view.since(before.change)
    assert since is not None
    assert touches(rows, found, since, dataset.data) is expected


def test_what_is_too_long_ago_can_not_be_told(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "REMEMBERED", 3)
    dataset.add([Example("text")])
    before = dataset.view
    for number in range(4):
        dataset.add([Example(f"text {number}")])
    assert before.change < dataset.view.change
    assert dataset.view.since(before.change) is None
    assert dataset.view.since(dataset.view.change - 2) is not None


def test_a_rewritten_batch_remembers_the_sides_of_what_is_gone(dataset: Dataset) -> None:
    rows = columns_of([Example("stays"), Example("goes", group="u")], near=True)
    found = resolve(rows, dataset.view, dataset.data)
    before = segment_of(rows, found, "batch-0", dataset.view.bands)
    kept = columns_of([Example("stays")], near=True)
    rewritten = segment_of(kept, resolve(kept, dataset.view, dataset.data), "batch-1", dataset.view.bands)
    segment: Segment = remembered(rewritten, before)
    view = dataset.view.with_batches(0, {"batch-1": ACCEPTED}, [(0, segment)])
    assert has(view, "stays", "goes") == [True, False]
    contacts = view.keys(columns_of([Example("goes")], near=False).keys)
    assert contacts.sides.tolist() == [int(found.sides[1])]
    assert view.groups(rows.groups[1:]).sides.tolist() == [int(found.sides[1])]

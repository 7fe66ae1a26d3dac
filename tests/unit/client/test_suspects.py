"""Which labels look wrong to a model, by cleanlab itself."""

import random

from shared.client.data import Row
from shared.client.suspects import Suspects, judge

LABELS = ["bad", "good", "rare"]


def _rows(count: int, wrong: set[int]) -> tuple[list[Row], list[list[float]]]:
    """A model that is right nine times in ten sees rows of two labels, some of them given the other one."""
    drawn = random.Random(3)
    rows, table = [], []
    for number in range(count):
        truth = number % 2
        label = LABELS[1 - truth if number in wrong else truth]
        rows.append(Row(f"row-{number:03d}", "train", "batch", {"text": f"text {number}", "label": label}))
        sure = 0.9 + 0.09 * drawn.random()
        table.append([1 - sure, sure - 0.005, 0.005] if truth else [sure - 0.005, 1 - sure, 0.005])
    return rows, table


def _judged(rows: list[Row], table: list[list[float]]) -> Suspects:
    result = Suspects("sentiment", 1, 1)
    judge(result, rows, LABELS, table)
    return result


def test_labels_that_were_turned_are_found_and_no_others() -> None:
    wrong = {4, 17, 30, 51}
    rows, table = _rows(100, wrong)
    result = _judged(rows, table)
    assert {one.row.id for one in result.found} == {f"row-{number:03d}" for number in wrong}
    assert all(one.suggested != one.label == one.row.fields["label"] for one in result.found)
    assert [one.quality for one in result.found] == sorted(one.quality for one in result.found)
    assert result.rare_labels == ["rare"]


def test_clean_labels_raise_no_suspicion() -> None:
    assert _judged(*_rows(60, set())).found == []


def test_labels_of_too_few_rows_are_told_and_not_judged() -> None:
    rows, table = _rows(6, {1})
    result = _judged(rows, table)
    assert (result.found, result.rare_labels) == ([], LABELS)
    assert _judged([], []).rare_labels == LABELS

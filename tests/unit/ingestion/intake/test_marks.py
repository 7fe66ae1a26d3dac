"""What a product's own fields say about where a row belongs."""

import math
from typing import Any

import pytest

from services.ingestion.clusters.rows import NO_SIDE
from services.ingestion.intake.marks import UNMARKED, marks_of
from shared.pipelines.dividing import Splits
from shared.rows import RowError
from shared.rows.splits import SPLITS

GROUPED, TIMED, OFFICIAL = Splits(group="talk.user"), Splits(by_time="at"), Splits(official="split")


def group(user: Any) -> int:
    return marks_of({"talk": {"user": user}}, GROUPED).group


def test_equal_users_are_one_group_however_their_number_travels() -> None:
    assert group(7) == group(7.0) != 0
    assert group("u7") == group("u7") != group("u8")
    assert group({"a": 1, "b": [2]}) == group({"b": [2], "a": 1})


@pytest.mark.parametrize("fields", [{}, {"talk": None}, {"talk": {}}, {"talk": {"user": ""}}, {"talk": "x"}])
def test_a_row_without_a_user_is_a_group_of_its_own(fields: dict[str, Any]) -> None:
    assert marks_of(fields, GROUPED) == pytest.approx(UNMARKED, nan_ok=True)


@pytest.mark.parametrize(
    ("given", "side"),
    [("train", "train"), (" Training ", "train"), ("dev", "validation"), ("VAL", "validation"), ("test", "test")],
)
def test_publishers_have_several_words_for_a_side(given: str, side: str) -> None:
    assert marks_of({"split": given}, OFFICIAL).official == SPLITS.index(side)


def test_no_word_for_a_side_says_nothing() -> None:
    assert marks_of({"split": ""}, OFFICIAL).official == NO_SIDE
    assert marks_of({}, OFFICIAL).official == NO_SIDE


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(5, 5.0), (1.5, 1.5), ("1970-01-01T00:01:00Z", 60.0), ("1970-01-01T01:00:00+01:00", 0.0), ("1970-01-02", 86400.0)],
)
def test_times_are_numbers_or_dates(given: Any, seconds: float) -> None:
    assert marks_of({"at": given}, TIMED).time == seconds


def test_no_time_is_older_than_any() -> None:
    assert math.isnan(marks_of({}, TIMED).time)


@pytest.mark.parametrize(
    ("fields", "splits", "word"),
    [
        ({"split": "holdout"}, OFFICIAL, "'holdout'"),
        ({"split": 3}, OFFICIAL, "a number"),
        ({"at": "yesterday"}, TIMED, "'yesterday'"),
        ({"at": True}, TIMED, "true or false"),
        ({"at": [1]}, TIMED, "a list"),
        ({"at": math.inf}, TIMED, "a number"),
    ],
)
def test_what_can_not_be_read_is_named(fields: dict[str, Any], splits: Splits, word: str) -> None:
    with pytest.raises(RowError, match=word) as refused:
        marks_of(fields, splits)
    assert refused.value.field in ("split", "at")

import json
import unicodedata
from typing import Any

import pytest

from shared.rows import SCHEMAS, Reason, RowError
from tests.unit.rows.specs import reading

SCHEMA = SCHEMAS["question_answering"]
CONTEXT = "It is ten coins for one, ten for two."
ASKED = {"question": "What is the price?", "context": CONTEXT}
RIGHT = [{"text": "ten coins", "start": 6}]


def refused(answers: Any, **changes: Any) -> RowError:
    with pytest.raises(RowError) as error:
        SCHEMA.parse({**ASKED, "answers": answers, **changes}, reading())
    return error.value


@pytest.mark.parametrize(
    "answers",
    [
        RIGHT,
        [{"text": "ten coins", "answer_start": 6.0}],
        [{"text": "ten coins"}],
        ["ten coins"],
        {"text": ["ten coins"], "answer_start": [6]},
        [{"text": " ten coins ", "start": 5}],
        RIGHT * 3,
    ],
)
def test_answers_may_come_in_several_forms(answers: Any) -> None:
    assert SCHEMA.parse({**ASKED, "answers": answers}, reading()).fields == {**ASKED, "answers": RIGHT}


@pytest.mark.parametrize("answers", [[], {"text": [], "answer_start": []}])
def test_no_answer_is_an_empty_list(answers: Any) -> None:
    row = SCHEMA.parse({**ASKED, "answers": answers}, reading())
    assert row.fields["answers"] == []
    assert SCHEMA.lengths(row.fields)["answers"] == 0


def test_several_answers_stand_in_the_order_of_the_context() -> None:
    later = {"text": "ten", "start": 25}
    row = SCHEMA.parse({**ASKED, "answers": [later, *RIGHT]}, reading())
    assert row.fields["answers"] == [*RIGHT, later]
    assert row.row_id == SCHEMA.parse({**ASKED, "answers": [*RIGHT, later]}, reading()).row_id


def test_places_count_in_the_context_as_sent() -> None:
    context = unicodedata.normalize("NFD", "Café: zehn Münzen für eins")
    start = context.index("zehn")
    answers = [{"text": context[start : context.index(" fu")], "start": start}]
    row = SCHEMA.parse({**ASKED, "context": context, "answers": answers}, reading())
    assert row.fields["answers"] == [{"text": "zehn Münzen", "start": 6}]


def test_questions_on_one_context_share_a_side() -> None:
    one = SCHEMA.parse({**ASKED, "answers": RIGHT}, reading())
    other = SCHEMA.parse({**ASKED, "question": "And for two?", "answers": ["ten for two"]}, reading())
    assert one.row_id != other.row_id
    assert one.split_key == other.split_key


@pytest.mark.parametrize(
    ("answers", "reason", "field"),
    [
        (None, Reason.MISSING_FIELD, "answers"),
        ("ten", Reason.WRONG_TYPE, "answers"),
        ([7], Reason.WRONG_TYPE, "answers[0]"),
        ([{"start": 6}], Reason.MISSING_FIELD, "answers[0].text"),
        ([{"text": " ", "start": 6}], Reason.EMPTY_TEXT, "answers[0].text"),
        ([{"text": "ten", "start": "6"}], Reason.WRONG_TYPE, "answers[0].start"),
        ([{"text": "ten", "start": -3}], Reason.NOT_IN_TEXT, "answers[0]"),
        ([{"text": "ten", "start": 10**9}], Reason.NOT_IN_TEXT, "answers[0]"),
        ([{"text": "ten coins", "start": 7}], Reason.NOT_IN_TEXT, "answers[0]"),
        ([{"text": "ten"}], Reason.NOT_IN_TEXT, "answers[0].text"),
        (["eleven"], Reason.NOT_IN_TEXT, "answers[0].text"),
        ({"text": ["ten"], "answer_start": []}, Reason.LENGTHS_DIFFER, "answers"),
        ({"text": "ten", "answer_start": 6}, Reason.WRONG_TYPE, "answers.text"),
    ],
)
def test_answers_that_can_not_be_used_say_why_and_where(answers: Any, reason: Reason, field: str) -> None:
    error = refused(answers)
    assert (error.reason, error.field) == (reason, field)


def test_an_answer_in_the_wrong_place_is_told_the_right_one() -> None:
    assert "it occurs at 6" in refused([{"text": "ten coins", "start": 7}]).message
    assert "it does not occur" in refused([{"text": "eleven", "start": 7}]).message
    assert "6, 25" in refused([{"text": "ten"}]).message


@pytest.mark.parametrize("field", ["question", "context"])
def test_an_empty_side_is_named(field: str) -> None:
    assert refused(RIGHT, **{field: "\n"}).field == field


@pytest.mark.parametrize(
    ("correction", "answers"),
    [("ten coins", RIGHT), (json.dumps(RIGHT), RIGHT), (json.dumps(RIGHT[0]), RIGHT), ("[]", [])],
)
def test_a_correction_is_words_of_the_context_or_json(correction: str, answers: Any) -> None:
    row = SCHEMA.corrected({**ASKED, "candidates": []}, correction)
    assert SCHEMA.parse(row, reading()).fields["answers"] == answers

from typing import Any

import pytest

from shared.rows import SCHEMAS, Reason, RowError
from tests.unit.rows.specs import support

SCHEMA = SCHEMAS["chat"]
ASK = {"role": "user", "content": "When?"}
ANSWER = {"role": "assistant", "content": "Now."}


def test_prompt_and_response_are_the_same_row_as_their_messages() -> None:
    short = SCHEMA.parse({"prompt": "When?", "response": "Now."}, support())
    assert short == SCHEMA.parse({"messages": [ASK, ANSWER]}, support())
    assert short.fields == {"messages": [ASK, ANSWER]}


def test_two_answers_to_one_question_are_two_rows_on_one_side() -> None:
    now, later = (SCHEMA.parse({"prompt": "When?", "response": text}, support()) for text in ("Now.", "Later."))
    assert now.row_id != later.row_id
    assert now.split_key == later.split_key


def test_what_is_said_by_whom_is_part_of_the_identity() -> None:
    system = [{"role": "system", "content": "When?"}, ANSWER]
    assert (
        SCHEMA.parse({"messages": system}, support()).row_id
        != SCHEMA.parse({"messages": [ASK, ANSWER]}, support()).row_id
    )


def test_what_a_turn_has_beside_role_and_content_is_left_out() -> None:
    row = SCHEMA.parse({"messages": [{**ASK, "name": "Ann"}, ANSWER]}, support())
    assert row.fields["messages"] == [ASK, ANSWER]


@pytest.mark.parametrize(
    ("row", "reason", "field"),
    [
        ({}, Reason.MISSING_FIELD, "messages"),
        ({"response": "Now."}, Reason.MISSING_FIELD, "prompt"),
        ({"prompt": "When?", "response": " "}, Reason.EMPTY_TEXT, "response"),
        ({"messages": []}, Reason.EMPTY_TEXT, "messages"),
        ({"messages": {"role": "user"}}, Reason.WRONG_TYPE, "messages"),
        ({"messages": ["hello", ANSWER]}, Reason.WRONG_TYPE, "messages[0]"),
        ({"messages": [{"content": "a"}, ANSWER]}, Reason.MISSING_FIELD, "messages[0].role"),
        ({"messages": [{"role": "bot", "content": "a"}, ANSWER]}, Reason.UNKNOWN_ROLE, "messages[0].role"),
        ({"messages": [ASK, {"role": "assistant", "content": ""}]}, Reason.EMPTY_TEXT, "messages[1].content"),
        ({"messages": [ASK, {"role": "assistant", "content": [{}]}]}, Reason.WRONG_TYPE, "messages[1].content"),
        ({"messages": [ASK]}, Reason.BAD_TURN_ORDER, "messages"),
        ({"messages": [ANSWER]}, Reason.BAD_TURN_ORDER, "messages"),
        ({"messages": [ASK, ANSWER, ASK]}, Reason.BAD_TURN_ORDER, "messages"),
    ],
)
def test_a_conversation_that_can_not_be_used_says_why_and_where(
    row: dict[str, Any], reason: Reason, field: str
) -> None:
    with pytest.raises(RowError) as refused:
        SCHEMA.parse(row, support())
    assert (refused.value.reason, refused.value.field) == (reason, field)


def test_a_correction_takes_the_place_of_the_answer() -> None:
    row = SCHEMA.parse(SCHEMA.corrected({"messages": [ASK]}, "At nine."), support())
    assert row.fields["messages"][-1] == {"role": "assistant", "content": "At nine."}

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rows import SCHEMAS, Reason, RowError
from tests.unit.rows.specs import sentiment

SCHEMA = SCHEMAS["classification"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    lambda text: not text.isspace()
)


def reason_of(row: dict[str, Any], **changes: Any) -> tuple[Reason, str]:
    with pytest.raises(RowError) as refused:
        SCHEMA.parse(row, sentiment(**changes))
    return refused.value.reason, refused.value.field


@given(TEXTS)
def test_any_text_is_taken_and_kept_as_received_but_for_composition(text: str) -> None:
    row = SCHEMA.parse({"text": text, "label": "positive"}, sentiment())
    composed = unicodedata.normalize("NFC", text)
    assert row.fields == {"text": composed, "label": "positive", "text_pair": None, "labels": None}
    assert len(bytes.fromhex(row.row_id)) == 32


@given(TEXTS, TEXTS)
def test_rows_are_the_same_row_only_when_text_and_label_are(first: str, second: str) -> None:
    spec = sentiment(labels=None)
    one = SCHEMA.parse({"text": first, "label": second}, spec)
    turned = SCHEMA.parse({"text": second, "label": first}, spec)
    assert (one.row_id == turned.row_id) == (one.fields == turned.fields)


def test_composed_and_decomposed_letters_are_one_row() -> None:
    composed, decomposed = (
        SCHEMA.parse({"text": unicodedata.normalize(form, "café"), "label": "positive"}, sentiment())
        for form in ("NFC", "NFD")
    )
    assert composed == decomposed


def test_the_label_is_part_of_the_identity_but_not_of_the_side() -> None:
    good = SCHEMA.parse({"text": "fine", "label": "positive"}, sentiment())
    bad = SCHEMA.parse({"text": "fine", "label": "negative"}, sentiment())
    assert good.row_id != bad.row_id
    assert good.split_key == bad.split_key


def test_copies_that_differ_in_case_and_space_share_a_side() -> None:
    plain = SCHEMA.parse({"text": "so good", "label": "positive"}, sentiment())
    loud = SCHEMA.parse({"text": " So   GOOD\n", "label": "positive"}, sentiment())
    assert plain.row_id != loud.row_id
    assert plain.split_key == loud.split_key


@pytest.mark.parametrize(
    ("row", "reason", "field"),
    [
        ({"label": "positive"}, Reason.MISSING_FIELD, "text"),
        ({"text": None, "label": "positive"}, Reason.MISSING_FIELD, "text"),
        ({"text": "a"}, Reason.MISSING_FIELD, "label"),
        ({"text": ["a"], "label": "positive"}, Reason.WRONG_TYPE, "text"),
        ({"text": "\u2003\n", "label": "positive"}, Reason.EMPTY_TEXT, "text"),
        ({"text": "a", "label": ""}, Reason.EMPTY_TEXT, "label"),
        ({"text": "a\0", "label": "positive"}, Reason.BAD_CHARACTER, "text"),
        ({"text": "a\ud800", "label": "positive"}, Reason.BAD_CHARACTER, "text"),
        ({"text": "a", "label": "good"}, Reason.UNKNOWN_LABEL, "label"),
        ({"text": "a", "label": True}, Reason.WRONG_TYPE, "label"),
        ({"text": "a", "label": 1.5}, Reason.WRONG_TYPE, "label"),
        ({"text": "a", "label": float("inf")}, Reason.NON_FINITE_NUMBER, "label"),
        ({"text": "a", "label": {"name": "positive"}}, Reason.WRONG_TYPE, "label"),
    ],
)
def test_a_row_that_can_not_be_used_says_why_and_where(row: dict[str, Any], reason: Reason, field: str) -> None:
    assert reason_of(row) == (reason, field)


def test_an_unknown_label_names_the_nearest() -> None:
    with pytest.raises(RowError, match="nearest: 'positive'"):
        SCHEMA.parse({"text": "a", "label": "possitive"}, sentiment())


@pytest.mark.parametrize(("label", "stored"), [(3, "3"), (3.0, "3"), (-1, "-1"), ("3", "3")])
def test_whole_numbers_are_labels_however_they_travel(label: object, stored: str) -> None:
    assert SCHEMA.parse({"text": "a", "label": label}, sentiment(labels=None)).fields["label"] == stored


@pytest.mark.parametrize("row", [{"tweet": {"body": "a"}, "mood": "positive"}, {"tweet.body": "a", "mood": "positive"}])
def test_fields_are_found_where_the_pipeline_says(row: dict[str, Any]) -> None:
    data = {"fields": {"text": "tweet.body", "label": "mood"}}
    found = SCHEMA.parse(row, sentiment(data=data)).fields
    assert (found["text"], found["label"]) == ("a", "positive")
    assert reason_of({"tweet": "a", "mood": "positive"}, data=data) == (Reason.MISSING_FIELD, "text")

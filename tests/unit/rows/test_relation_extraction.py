import unicodedata
from typing import Any

import pytest

from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS, Reason, RowError
from tests.unit.rows.specs import relations

SCHEMA = SCHEMAS["relation_extraction"]
TEXT = "The fire made smoke"
LABEL = "Cause-Effect(e1,e2)"
STORED = {"text": TEXT, "head_start": 4, "head_end": 8, "tail_start": 14, "tail_end": 19, "label": LABEL}
FIRE, SMOKE = {"start": 4, "end": 8}, {"start": 14, "end": 19}


def refused(row: dict[str, Any], spec: PipelineSpec | None = None) -> RowError:
    with pytest.raises(RowError) as error:
        SCHEMA.parse(row, spec or relations())
    return error.value


@pytest.mark.parametrize(
    "row",
    [
        {"text": "The <e1>fire</e1> made <e2>smoke</e2>"},
        {"text": "The <e1>fire</e1> made <e2>smoke</e2>", "head": "fire", "tail": "smoke"},
        {"text": "The <e1> fire</e1> made <e2>smoke</e2>"},
        {"text": TEXT, "head": FIRE, "tail": SMOKE},
        {"text": TEXT, "head": [4.0, 8.0], "tail": [14, 19]},
        {"text": TEXT, "head": "fire", "tail": " smoke "},
    ],
)
def test_marks_spans_and_words_name_the_same_places(row: dict[str, Any]) -> None:
    found = SCHEMA.parse({**row, "label": LABEL}, relations()).fields
    if "<e1> fire" in row["text"]:
        assert found["text"][found["head_start"] : found["head_end"]] == "fire"
    else:
        assert found == STORED


def test_head_may_come_after_tail() -> None:
    row = SCHEMA.parse({"text": "<e2>smoke</e2> from <e1>fire</e1>", "label": "Other"}, relations())
    assert row.fields["text"][row.fields["head_start"] : row.fields["head_end"]] == "fire"
    assert row.fields["head_start"] > row.fields["tail_start"]


def test_places_count_in_the_text_as_sent() -> None:
    text = unicodedata.normalize("NFD", "Café fire makes é smoke")
    places = {"head": [text.index("fire"), text.index("fire") + 4], "tail": [text.index("smoke"), len(text)]}
    found = SCHEMA.parse({"text": text, **places, "label": LABEL}, relations()).fields
    assert [found["text"][found[f"{end}_start"] : found[f"{end}_end"]] for end in ("head", "tail")] == ["fire", "smoke"]


def test_chinese_places_are_characters() -> None:
    found = SCHEMA.parse({"text": "<e1>大火</e1>造成<e2>浓烟</e2>", "label": LABEL}, relations()).fields
    assert (found["text"], found["tail_start"], found["tail_end"]) == ("大火造成浓烟", 4, 6)


def test_all_pairs_of_a_text_share_a_side_and_are_rows_of_their_own() -> None:
    one = SCHEMA.parse({"text": TEXT, "head": FIRE, "tail": SMOKE, "label": LABEL}, relations())
    other = SCHEMA.parse({"text": TEXT, "head": SMOKE, "tail": FIRE, "label": LABEL}, relations())
    assert one.row_id != other.row_id
    assert one.split_key == other.split_key


@pytest.mark.parametrize(
    ("row", "reason", "field"),
    [
        ({}, Reason.MISSING_FIELD, "text"),
        ({"text": TEXT, "tail": SMOKE}, Reason.MISSING_FIELD, "head"),
        ({"text": TEXT, "head": FIRE}, Reason.MISSING_FIELD, "tail"),
        ({"text": "The <e1>fire</e1> made smoke"}, Reason.BAD_SPAN, "text"),
        ({"text": "<e1>a</e1> <e2>b</e2> <e2>c</e2>"}, Reason.BAD_SPAN, "text"),
        ({"text": "<e1>a <e2>b</e2></e1>"}, Reason.BAD_SPAN, "text"),
        ({"text": "<e1></e1> <e2>b</e2>"}, Reason.BAD_SPAN, "e1"),
        ({"text": TEXT, "head": "fire", "tail": "fire"}, Reason.BAD_SPAN, "tail"),
        ({"text": TEXT, "head": FIRE, "tail": {"start": 7, "end": 19}}, Reason.BAD_SPAN, "tail"),
        ({"text": TEXT, "head": FIRE, "tail": {"start": 14, "end": 99}}, Reason.BAD_SPAN, "tail"),
        ({"text": TEXT, "head": FIRE, "tail": {"start": 14}}, Reason.MISSING_FIELD, "tail.end"),
        ({"text": TEXT, "head": FIRE, "tail": [14]}, Reason.WRONG_TYPE, "tail"),
        ({"text": TEXT, "head": FIRE, "tail": 14}, Reason.WRONG_TYPE, "tail"),
        ({"text": TEXT, "head": FIRE, "tail": "water"}, Reason.NOT_IN_TEXT, "tail"),
        ({"text": "fire and smoke and smoke", "head": "fire", "tail": "smoke"}, Reason.NOT_IN_TEXT, "tail"),
        ({"text": TEXT, "head": FIRE, "tail": SMOKE, "label": "Odd"}, Reason.UNKNOWN_LABEL, "label"),
        ({"text": TEXT, "head": FIRE, "tail": SMOKE, "label": None}, Reason.MISSING_FIELD, "label"),
    ],
)
def test_a_row_that_can_not_be_used_says_why_and_where(row: dict[str, Any], reason: Reason, field: str) -> None:
    error = refused({"label": LABEL, **row})
    assert (error.reason, error.field) == (reason, field)


def test_words_that_occur_twice_are_named_with_their_places() -> None:
    error = refused({"text": "fire and smoke and smoke", "head": "fire", "tail": "smoke", "label": LABEL})
    assert "9, 19" in error.message


def test_a_correction_takes_the_place_of_the_label() -> None:
    asked = {"text": TEXT, "head": [4, 8], "tail": [14, 19]}
    assert SCHEMA.parse(SCHEMA.corrected(asked, "Other"), relations()).fields == {**STORED, "label": "Other"}

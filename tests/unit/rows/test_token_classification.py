import json
import unicodedata
from typing import Any

import pytest

from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS, Reason, RowError
from tests.unit.rows.specs import tagging

SCHEMA = SCHEMAS["token_classification"]
TEXT = "Ann Lee lives in Rome."
TOKENS = ["Ann", "Lee", "lives", "in", "Rome", "."]
TAGS = ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]
PERSON, PLACE = {"start": 0, "end": 7, "label": "PER"}, {"start": 17, "end": 21, "label": "LOC"}


def refused(row: dict[str, Any], spec: PipelineSpec | None = None) -> RowError:
    with pytest.raises(RowError) as error:
        SCHEMA.parse(row, spec or tagging())
    return error.value


def test_a_text_with_entities_and_its_words_with_tags_are_one_row() -> None:
    annotated = SCHEMA.parse({"text": TEXT, "entities": [PLACE, PERSON]}, tagging())
    assert annotated == SCHEMA.parse({"tokens": TOKENS, "tags": TAGS}, tagging())
    assert annotated.fields == {"tokens": TOKENS, "tags": TAGS}
    assert SCHEMA.labels(annotated.fields) == ["LOC", "PER"]
    assert SCHEMA.lengths(annotated.fields) == {"tokens": 6, "entities": 2}


def test_the_tags_are_part_of_the_identity_but_not_of_the_side() -> None:
    one, other = (SCHEMA.parse({"tokens": TOKENS, "tags": tags}, tagging()) for tags in (TAGS, ["O"] * 6))
    assert one.row_id != other.row_id
    assert one.split_key == other.split_key


def test_chinese_is_tagged_by_characters() -> None:
    row = SCHEMA.parse({"text": "我在北京。", "entities": [{"start": 2, "end": 4, "label": "LOC"}]}, tagging())
    assert row.fields == {"tokens": list("我在北京。"), "tags": ["O", "O", "B-LOC", "I-LOC", "O"]}


def test_places_count_in_the_text_as_sent_and_numbers_may_travel_as_floats() -> None:
    text = unicodedata.normalize("NFD", "Café Žižek in Rome")
    start = text.index("Rome")
    row = SCHEMA.parse(
        {"text": text, "entities": [{"start": float(start), "end": start + 4.0, "label": "LOC"}]}, tagging()
    )
    assert row.fields == {"tokens": ["Café", "Žižek", "in", "Rome"], "tags": ["O", "O", "O", "B-LOC"]}


def test_blanks_at_the_ends_of_an_entity_do_no_harm() -> None:
    row = SCHEMA.parse({"text": TEXT, "entities": [{"start": 16, "end": 21, "label": "LOC"}]}, tagging())
    assert row.fields["tags"] == ["O", "O", "O", "O", "B-LOC", "O"]


def test_a_row_without_entities_is_one_too() -> None:
    assert SCHEMA.parse({"text": "Nobody here", "entities": []}, tagging()).fields["tags"] == ["O", "O"]


def test_fields_are_found_where_the_pipeline_says() -> None:
    data = {"fields": {"tokens": "doc.words", "tags": "ner", "text": "body", "entities": "spans"}}
    row = SCHEMA.parse({"doc": {"words": TOKENS}, "ner": TAGS}, tagging(data=data))
    assert row == SCHEMA.parse({"body": TEXT, "spans": [PERSON, PLACE]}, tagging(data=data))


@pytest.mark.parametrize(
    ("row", "reason", "field"),
    [
        ({}, Reason.MISSING_FIELD, "tokens"),
        ({"tokens": TOKENS}, Reason.MISSING_FIELD, "tags"),
        ({"text": TEXT}, Reason.MISSING_FIELD, "entities"),
        ({"tokens": [], "tags": []}, Reason.EMPTY_TEXT, "tokens"),
        ({"tokens": TEXT, "tags": TAGS}, Reason.WRONG_TYPE, "tokens"),
        ({"tokens": ["a", " "], "tags": ["O", "O"]}, Reason.EMPTY_TEXT, "tokens[1]"),
        ({"tokens": ["a", 3], "tags": ["O", "O"]}, Reason.WRONG_TYPE, "tokens[1]"),
        ({"tokens": ["a"], "tags": ["O", "O"]}, Reason.LENGTHS_DIFFER, "tags"),
        ({"tokens": ["a", "b"], "tags": ["O", 3]}, Reason.WRONG_TYPE, "tags[1]"),
        ({"tokens": ["a", "b"], "tags": ["O", "B-"]}, Reason.BAD_TAG, "tags[1]"),
        ({"tokens": ["a", "b"], "tags": ["O", "B-DOG"]}, Reason.UNKNOWN_LABEL, "tags[1]"),
        ({"text": " ", "entities": []}, Reason.EMPTY_TEXT, "text"),
        ({"text": TEXT, "entities": "none"}, Reason.WRONG_TYPE, "entities"),
        ({"text": TEXT, "entities": [["Ann"]]}, Reason.WRONG_TYPE, "entities[0]"),
        ({"text": TEXT, "entities": [{"start": 0, "end": 3}]}, Reason.MISSING_FIELD, "entities[0].label"),
        ({"text": TEXT, "entities": [{**PERSON, "start": "0"}]}, Reason.WRONG_TYPE, "entities[0].start"),
        ({"text": TEXT, "entities": [{**PERSON, "end": 3.5}]}, Reason.WRONG_TYPE, "entities[0].end"),
        ({"text": TEXT, "entities": [{**PERSON, "end": float("nan")}]}, Reason.WRONG_TYPE, "entities[0].end"),
        ({"text": TEXT, "entities": [{**PERSON, "end": 1e300}]}, Reason.BAD_SPAN, "entities[0]"),
        ({"text": TEXT, "entities": [{**PERSON, "start": 7}]}, Reason.BAD_SPAN, "entities[0]"),
        ({"text": TEXT, "entities": [{**PERSON, "start": 3, "end": 4}]}, Reason.BAD_SPAN, "entities[0]"),
        ({"text": TEXT, "entities": [PERSON, {**PERSON, "label": "LOC"}]}, Reason.BAD_SPAN, "entities"),
        ({"text": TEXT, "entities": [{**PERSON, "end": 5}]}, Reason.BAD_SPAN, "entities[0]"),
    ],
)
def test_a_row_that_can_not_be_used_says_why_and_where(row: dict[str, Any], reason: Reason, field: str) -> None:
    error = refused(row)
    assert (error.reason, error.field) == (reason, field)


def test_what_is_wrong_comes_with_what_to_do() -> None:
    assert "word 'Lee' (characters 4 to 7)" in refused({"text": TEXT, "entities": [{**PERSON, "end": 5}]}).message
    assert "overlap at 'Ann'" in refused({"text": TEXT, "entities": [PERSON, {**PERSON, "label": "LOC"}]}).message
    assert "nearest: 'PER'" in refused({"tokens": ["a"], "tags": ["B-PERS"]}).message


def test_one_entity_label_is_enough() -> None:
    assert tagging(labels=["Disease"]).labels == ["Disease"]
    with pytest.raises(ValueError, match="one label"):
        tagging(labels=[])


@pytest.mark.parametrize("correction", [json.dumps([PERSON, PLACE]), json.dumps(TAGS)])
def test_a_correction_is_json_of_entities_or_tags(correction: str) -> None:
    asked = TEXT if "start" in correction else " ".join(TOKENS)
    assert SCHEMA.parse(SCHEMA.corrected({"text": asked}, correction), tagging()).fields["tags"] == TAGS


@pytest.mark.parametrize("correction", ["Ann is a person", "{}", "[" * 9000, "[1]"])
def test_a_correction_that_is_none_is_refused_as_one(correction: str) -> None:
    error = refused(SCHEMA.corrected({"text": TEXT}, correction))
    assert error.field.partition("[")[0] in SCHEMA.outputs

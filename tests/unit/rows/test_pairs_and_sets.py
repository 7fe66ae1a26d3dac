"""Rows of label sets, pairs, candidates and retrieval."""

from typing import Any

import pytest

from services.ingestion.intake.draft import part_schema
from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS, ParsedRow, Reason, RowError
from tests.unit.rows.specs import sentiment

ASKED = {"question": "What is the price?", "candidates": ["ten coins", "turn the key"], "answer": 0}
FOUND = {"query": "price", "positive": "ten coins", "negatives": ["turn the key"]}


def spec_of(kind: str, **changes: Any) -> PipelineSpec:
    return PipelineSpec.model_validate({"name": "some", "kind": kind, "base": "none", **changes})


def parse(kind: str, row: dict[str, Any], **changes: Any) -> ParsedRow:
    return SCHEMAS[kind].parse(row, spec_of(kind, **changes))


def topics(row: dict[str, Any], **changes: Any) -> ParsedRow:
    return parse("classification", row, options={"multi_label": True}, **changes)


def reason_of(kind: str, row: dict[str, Any], **changes: Any) -> tuple[Reason, str]:
    with pytest.raises(RowError) as refused:
        parse(kind, row, **changes)
    return refused.value.reason, refused.value.field


@pytest.mark.parametrize(
    ("given", "stored"), [(["b", "a", "b"], ["a", "b"]), ([], []), ([3, "3"], ["3"]), (("a",), ["a"])]
)
def test_a_set_of_labels_is_sorted_and_holds_none_twice(given: object, stored: list[str]) -> None:
    row = topics({"text": "fine", "labels": given})
    assert (row.fields["labels"], row.fields["label"]) == (stored, None)
    assert list(SCHEMAS["classification"].labels(row.fields)) == stored


def test_label_sets_that_differ_are_different_rows_on_one_side() -> None:
    rows = [topics({"text": "fine", "labels": labels}) for labels in ([], ["a"], ["a", "b"], ['a", "b'])]
    rows.append(parse("classification", {"text": "fine", "label": "a"}))
    rows.append(parse("classification", {"text": "fine", "label": "a", "text_pair": "too"}))
    assert len({row.row_id for row in rows}) == 6
    assert len({row.split_key for row in rows[:5]}) == 1


def test_a_lone_label_is_a_set_of_one_where_sets_are_learnt() -> None:
    assert topics({"text": "fine", "label": "a"}) == topics({"text": "fine", "labels": ["a"]})


def test_a_pair_keeps_its_side_whichever_text_comes_first() -> None:
    one = parse("classification", {"text": "a b", "text_pair": "c", "label": "same"})
    turned = parse("classification", {"text": "C", "text_pair": "A  b", "label": "other"})
    assert one.split_key == turned.split_key
    assert one.row_id != turned.row_id
    assert one.fields == {"text": "a b", "label": "same", "text_pair": "c", "labels": None}
    assert SCHEMAS["classification"].lengths(one.fields) == {"characters": 4}


def test_rows_of_one_text_are_the_rows_that_they_were_before_there_were_pairs() -> None:
    row = SCHEMAS["classification"].parse({"text": "fine", "label": "positive"}, sentiment())
    assert row.row_id == "1f70443fe9998d9096c85f663b2258e7d56a9123059cc4a932ed93f1357b0434"
    assert row.split_key == "fine"


@pytest.mark.parametrize(
    ("row", "reason", "field"),
    [
        ({"text": "a"}, Reason.MISSING_FIELD, "labels"),
        ({"text": "a", "labels": "x"}, Reason.WRONG_TYPE, "labels"),
        ({"text": "a", "labels": ["x", ""]}, Reason.EMPTY_TEXT, "labels[1]"),
        ({"text": "a", "labels": ["x", None]}, Reason.WRONG_TYPE, "labels[1]"),
        ({"text": "a", "labels": ["x", ["y"]]}, Reason.WRONG_TYPE, "labels[1]"),
        ({"text": "a", "labels": ["x", "z"]}, Reason.UNKNOWN_LABEL, "labels[1]"),
        ({"text": "a", "labels": ["x"] * 1001}, Reason.WRONG_COUNT, "labels"),
        ({"text": "a", "labels": [], "text_pair": " "}, Reason.EMPTY_TEXT, "text_pair"),
    ],
)
def test_a_label_set_that_can_not_be_used_says_why(row: dict[str, Any], reason: Reason, field: str) -> None:
    options = {"multi_label": True}
    assert reason_of("classification", row, options=options, labels=["x", "y"]) == (reason, field)


def test_one_label_is_asked_for_where_sets_are_not_learnt() -> None:
    assert reason_of("classification", {"text": "a", "labels": ["x"]}) == (Reason.MISSING_FIELD, "label")


def test_an_answer_is_a_place_or_a_candidates_text() -> None:
    rows = [parse("answer_selection", {**ASKED, "answer": answer}) for answer in (0, 0.0, "ten coins")]
    assert {row.row_id for row in rows} == {rows[0].row_id}
    assert rows[0].fields == ASKED
    other = parse("answer_selection", {**ASKED, "answer": 1})
    assert other.row_id != rows[0].row_id
    assert other.split_key == rows[0].split_key == "what is the price?"


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"answer": 2}, Reason.OUT_OF_RANGE, "answer"),
        ({"answer": -1}, Reason.OUT_OF_RANGE, "answer"),
        ({"answer": 10**400}, Reason.OUT_OF_RANGE, "answer"),
        ({"answer": 0.5}, Reason.WRONG_TYPE, "answer"),
        ({"answer": float("nan")}, Reason.WRONG_TYPE, "answer"),
        ({"answer": True}, Reason.WRONG_TYPE, "answer"),
        ({"answer": None}, Reason.MISSING_FIELD, "answer"),
        ({"answer": "twenty coins"}, Reason.UNKNOWN_ANSWER, "answer"),
        ({"candidates": []}, Reason.WRONG_COUNT, "candidates"),
        ({"candidates": ["ten coins"]}, Reason.WRONG_COUNT, "candidates"),
        ({"candidates": [str(n) for n in range(257)]}, Reason.WRONG_COUNT, "candidates"),
        ({"candidates": ["a", "b", "a"]}, Reason.DUPLICATE_VALUE, "candidates[2]"),
        ({"candidates": ["a", ""]}, Reason.EMPTY_TEXT, "candidates[1]"),
        ({"candidates": "ab"}, Reason.WRONG_TYPE, "candidates"),
        ({"question": ""}, Reason.EMPTY_TEXT, "question"),
    ],
)
def test_candidates_that_can_not_be_used_say_why(changes: dict[str, Any], reason: Reason, field: str) -> None:
    assert reason_of("answer_selection", {**ASKED, **changes}) == (reason, field)


@pytest.mark.parametrize("kind", ["ranking", "embedding"])
def test_one_positive_and_a_list_of_one_are_the_same_row(kind: str) -> None:
    row = parse(kind, FOUND)
    assert row.fields == {"query": "price", "positives": ["ten coins"], "negatives": ["turn the key"]}
    listed = {"query": "price", "positives": ["ten coins", "ten coins"], "negatives": ["turn the key"] * 2}
    assert parse(kind, listed) == row
    assert parse(kind, {"query": "price", "positive": "ten coins"}).fields["negatives"] == []


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"positive": None}, Reason.MISSING_FIELD, "positive"),
        ({"positives": []}, Reason.WRONG_COUNT, "positives"),
        ({"positives": ["a", 1]}, Reason.WRONG_TYPE, "positives[1]"),
        ({"negatives": ["a", "ten coins"]}, Reason.CONTRADICTION, "negatives[1]"),
        ({"negatives": "a"}, Reason.WRONG_TYPE, "negatives"),
        ({"negatives": [" "]}, Reason.EMPTY_TEXT, "negatives[0]"),
        ({"negatives": [str(n) for n in range(257)]}, Reason.WRONG_COUNT, "negatives"),
        ({"query": " "}, Reason.EMPTY_TEXT, "query"),
    ],
)
def test_what_can_not_be_retrieved_says_why(changes: dict[str, Any], reason: Reason, field: str) -> None:
    assert reason_of("ranking", {**FOUND, **changes}) == (reason, field)


def test_positives_and_negatives_do_not_run_into_each_other() -> None:
    rows = [
        parse("ranking", {"query": "q", "positives": ["a", "b"], "negatives": ["c"]}),
        parse("ranking", {"query": "q", "positives": ["a"], "negatives": ["b", "c"]}),
    ]
    assert rows[0].row_id != rows[1].row_id


@pytest.mark.parametrize("kind", ["classification", "answer_selection", "ranking", "embedding"])
def test_fields_are_found_where_the_pipeline_says_and_columns_have_types(kind: str) -> None:
    plain: dict[str, dict[str, Any]] = {
        "classification": {"text": "a", "text_pair": "b", "label": "x"},
        "answer_selection": ASKED,
        "ranking": FOUND,
        "embedding": FOUND,
    }
    mapped = {f"my_{name}": value for name, value in plain[kind].items()}
    data = {"fields": {name: f"deep.my_{name}" for name in plain[kind]}}
    row = parse(kind, {"deep": mapped}, data=data)
    assert row == parse(kind, plain[kind])
    assert set(row.fields) == set(SCHEMAS[kind].columns)
    shape = part_schema(SCHEMAS[kind])
    for name, value in row.fields.items():
        assert value is None or str(shape.field(name).type).startswith(
            {str: "string", int: "int64", list: "list"}[type(value)]
        )


@pytest.mark.parametrize(
    ("kind", "given", "correction", "wanted"),
    [
        ("classification", {"text": "a", "text_pair": None}, "x", {"text": "a", "label": "x"}),
        ("classification", {"text": "a", "text_pair": "b"}, "x", {"text": "a", "text_pair": "b", "label": "x"}),
        ("classification", {"text": "a"}, '["x", "y"]', {"text": "a", "labels": ["x", "y"]}),
        ("classification", {"text": "a"}, "[x", {"text": "a", "label": "[x"}),
        (
            "answer_selection",
            {"question": "q", "context": "", "candidates": ["a", "b"]},
            "b",
            {"question": "q", "candidates": ["a", "b"], "answer": "b"},
        ),
        (
            "ranking",
            {"query": "q", "candidates": ["a", "b"]},
            "b",
            {"query": "q", "positive": "b", "negatives": ["a"]},
        ),
    ],
)
def test_a_correction_becomes_a_row(kind: str, given: dict[str, Any], correction: str, wanted: dict[str, Any]) -> None:
    assert SCHEMAS[kind].corrected(given, correction) == wanted

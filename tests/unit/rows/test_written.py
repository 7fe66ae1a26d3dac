"""Rows of the kinds that write: translation, summarisation, instructions, generation, pretraining."""

from typing import Any

import pytest

from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS, ParsedRow, Reason, RowError


def parse(kind: str, row: dict[str, Any], **fields: str) -> ParsedRow:
    spec = PipelineSpec.model_validate({"name": "x", "kind": kind, "base": "none", "data": {"fields": fields}})
    return SCHEMAS[kind].parse(row, spec)


def refusal(kind: str, row: dict[str, Any]) -> tuple[Reason, str]:
    with pytest.raises(RowError) as caught:
        parse(kind, row)
    return caught.value.reason, caught.value.field


GOOD: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "translation",
        {"source": "hello", "target": "你好", "source_lang": "en", "target_lang": "zh"},
        {"source": "hello", "target": "你好", "source_lang": "en", "target_lang": "zh"},
    ),
    (
        "translation",
        {"source": "a", "target": "b", "source_lang": ""},
        {"source": "a", "target": "b", "source_lang": None, "target_lang": None},
    ),
    ("summarisation", {"document": "long", "summary": "short"}, {"document": "long", "summary": "short"}),
    (
        "instruction",
        {"instruction": "add", "input": "1 2", "output": "3"},
        {"instruction": "add", "input": "1 2", "output": "3", "system": None},
    ),
    (
        "instruction",
        {"instruction": "add", "input": "", "output": "3"},
        {"instruction": "add", "input": None, "output": "3", "system": None},
    ),
    (
        "instruction",
        {
            "messages": [
                {"role": "system", "content": "be short"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "ho"},
            ]
        },
        {"instruction": "hi", "input": None, "output": "ho", "system": "be short"},
    ),
    ("generation", {"text": "once"}, {"prompt": None, "text": "once"}),
    ("generation", {"prompt": "once", "text": " upon"}, {"prompt": "once", "text": " upon"}),
    ("generation", {"prompt": "once", "completion": " upon"}, {"prompt": "once", "text": " upon"}),
    ("pretraining", {"text": "今天天气很好"}, {"text": "今天天气很好"}),
]


@pytest.mark.parametrize(("kind", "row", "stored"), GOOD)
def test_a_good_row_is_stored_with_every_column(kind: str, row: dict[str, Any], stored: dict[str, Any]) -> None:
    parsed = parse(kind, row)
    assert parsed.fields == stored
    assert tuple(parsed.fields) == SCHEMAS[kind].columns
    assert all(size > 0 for size in SCHEMAS[kind].lengths(parsed.fields).values() if size)


@pytest.mark.parametrize(
    ("kind", "row", "reason", "field"),
    [
        ("translation", {"source": "a"}, Reason.MISSING_FIELD, "target"),
        ("translation", {"source": " ", "target": "b"}, Reason.EMPTY_TEXT, "source"),
        ("translation", {"source": "a", "target": "b", "target_lang": 3}, Reason.WRONG_TYPE, "target_lang"),
        ("summarisation", {"document": ["a"], "summary": "b"}, Reason.WRONG_TYPE, "document"),
        ("summarisation", {"document": "a", "summary": ""}, Reason.EMPTY_TEXT, "summary"),
        ("instruction", {"instruction": "a"}, Reason.MISSING_FIELD, "output"),
        ("instruction", {"instruction": "a", "output": "b", "input": 1}, Reason.WRONG_TYPE, "input"),
        ("instruction", {"messages": []}, Reason.EMPTY_TEXT, "messages"),
        ("instruction", {"messages": [{"role": "user", "content": "a"}]}, Reason.BAD_TURN_ORDER, "messages"),
        ("generation", {}, Reason.MISSING_FIELD, "text"),
        ("generation", {"text": "\0"}, Reason.BAD_CHARACTER, "text"),
        ("pretraining", {"text": "  \n"}, Reason.EMPTY_TEXT, "text"),
        ("pretraining", {"document": "a"}, Reason.MISSING_FIELD, "text"),
    ],
)
def test_a_bad_row_names_reason_and_field(kind: str, row: dict[str, Any], reason: Reason, field: str) -> None:
    assert refusal(kind, row) == (reason, field)


def test_an_instruction_of_several_turns_is_sent_to_chat() -> None:
    turns = [{"role": role, "content": "x"} for role in ("user", "assistant", "user", "assistant")]
    with pytest.raises(RowError, match="use kind chat"):
        parse("instruction", {"messages": turns})


def test_products_names_are_read() -> None:
    parsed = parse("translation", {"en": {"text": "a"}, "de": "b"}, source="en.text", target="de")
    assert (parsed.fields["source"], parsed.fields["target"]) == ("a", "b")
    assert parse("generation", {"q": "a", "a": "b"}, prompt="q", completion="a").fields == {"prompt": "a", "text": "b"}


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("translation", {"source": "A  cat", "target": "x"}, {"source": "a cat", "target": "y"}),
        ("summarisation", {"document": "A cat", "summary": "x"}, {"document": "a cat", "summary": "y"}),
        ("instruction", {"instruction": "A", "output": "x"}, {"instruction": "a", "output": "y"}),
        ("generation", {"prompt": "A", "text": "x"}, {"prompt": "a", "text": "y"}),
        ("pretraining", {"text": "A cat"}, {"text": "a  cat"}),
    ],
)
def test_rows_of_one_input_stay_on_one_side(kind: str, first: dict[str, str], second: dict[str, str]) -> None:
    one, other = parse(kind, first), parse(kind, second)
    assert one.split_key == other.split_key
    assert one.row_id != other.row_id


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("translation", {"text": "a", "target_language": "de"}, {"source": "a", "target": "b", "target_lang": "de"}),
        ("summarisation", {"text": "a"}, {"document": "a", "summary": "b"}),
        (
            "instruction",
            {"messages": [{"role": "user", "content": "a"}]},
            {"instruction": "a", "output": "b", "input": None, "system": None},
        ),
        ("instruction", {"instruction": "a", "input": "x"}, {"instruction": "a", "output": "b", "input": "x"}),
        ("generation", {"messages": [{"role": "user", "content": "a"}]}, {"prompt": "a", "text": "b"}),
        ("generation", {"prompt": "a"}, {"prompt": "a", "text": "b"}),
        ("pretraining", {}, {"text": "b"}),
    ],
)
def test_a_correction_becomes_a_row(kind: str, given: dict[str, Any], expected: dict[str, Any]) -> None:
    corrected = SCHEMAS[kind].corrected(given, "b")
    stored = parse(kind, corrected).fields
    assert {name: stored[name] for name in expected} == expected

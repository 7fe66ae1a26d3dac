"""What keeps rows on one side is read back from a part as it was when the row came in, whatever its kind."""

from typing import Any

import pytest

from services.ingestion.near.keys import key_reader
from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS

TURNS = [{"role": "user", "content": "你好， is it  open?"}, {"role": "assistant", "content": "Yes"}]
ROWS: dict[str, list[dict[str, Any]]] = {
    "classification": [
        {"text": "A  Fine\u3000day", "label": "good"},
        {"text": "b", "text_pair": "a", "label": "good"},
    ],
    "token_classification": [{"tokens": ["Anna", "lives", "here"], "tags": ["B-PER", "O", "O"]}],
    "relation_extraction": [
        {"text": "the <e1>rain</e1> caused the <e2>flood</e2>", "label": "Cause-Effect(e1,e2)"},
        {"text": "rain then flood", "head": "rain", "tail": [10, 15], "label": "Other"},
    ],
    "question_answering": [
        {"question": "Who?", "context": "Anna did it.", "answers": [{"text": "Anna", "start": 0}]},
        {"question": "Why?", "context": "Anna did it.", "answers": []},
    ],
    "answer_selection": [{"question": "Open?", "candidates": ["yes", "no"], "answer": "no"}],
    "ranking": [{"query": "Shoes", "positive": "red shoes", "negatives": ["a hat"]}],
    "embedding": [{"query": "Shoes", "positives": ["red shoes", "blue shoes"]}],
    "translation": [{"source": "Good day", "target": "Guten Tag", "source_lang": "en", "target_lang": "de"}],
    "summarisation": [{"document": "A long story about rain.", "summary": "Rain"}],
    "chat": [{"messages": TURNS}],
    "instruction": [{"instruction": "Say it", "input": "hello", "output": "Hello"}],
    "generation": [{"text": "Once upon a time", "prompt": "Once"}, {"text": "Once upon a time"}],
    "pretraining": [{"text": "Once upon a time"}],
}


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_a_stored_row_has_the_split_key_that_it_came_with(kind: str) -> None:
    schema = SCHEMAS[kind]
    spec = PipelineSpec(name="some", kind=kind, base="new" if kind == "pretraining" else "none")
    for row in ROWS[kind]:
        parsed = schema.parse(row, spec)
        stored = {name: parsed.fields.get(name) for name in schema.columns}
        assert key_reader(kind)(stored) == parsed.split_key
        assert schema.check(schema.given(stored), spec).row_id == parsed.row_id


def test_so_has_one_with_a_set_of_labels() -> None:
    spec = PipelineSpec.model_validate(
        {"name": "topics", "kind": "classification", "base": "none", "options": {"multi_label": True}}
    )
    parsed = SCHEMAS["classification"].parse({"text": "rain in Spain", "labels": []}, spec)
    assert key_reader("classification")(parsed.fields) == parsed.split_key

"""Whatever JSON can say under the names that a kind knows: a row that can be stored, or a reason."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingestion.storing.part_file import TYPES
from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS, RowError

NAMES = (
    *("text", "text_pair", "label", "labels", "messages", "prompt", "response", "instruction", "input", "output"),
    *("tokens", "tags", "entities", "question", "context", "answers", "answer", "answer_start", "candidates", "query"),
    *("positive", "positives", "negatives", "source", "target", "document", "summary", "head", "tail", "head_start"),
    *("head_end", "tail_start", "tail_end", "system", "source_lang", "target_lang", "score"),
)
INSIDE = ("role", "content", "text", "start", "end", "label", "answer_start")
odd = st.sampled_from(
    [
        10**400,
        -(10**30),
        2**63,
        2**64,
        1e308,
        -0.0,
        float("nan"),
        float("inf"),
        "",
        " ",
        "\0",
        "\ud83d",
        "a\0b",
        "é",
        "[1]",
    ]
)
plain = st.sampled_from(["a", "the text", "B-PER", "O", "user", "assistant", "一二", 0, 1, 2, 1.0, 3.5, True, None])
value = st.recursive(
    odd | plain,
    lambda one: st.lists(one, max_size=4) | st.dictionaries(st.sampled_from(INSIDE), one, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(row=st.dictionaries(st.sampled_from(NAMES), value, max_size=7))
def test_any_values_are_a_row_that_can_be_stored_or_a_reason(kind: str, row: dict[str, Any]) -> None:
    spec = PipelineSpec.model_validate({"name": "any", "kind": kind, "base": "some-base"})
    schema = SCHEMAS[kind]
    try:
        row_id, key, fields = schema.reader(spec)(schema.mapped(row, {}))
    except RowError:
        return
    assert len(row_id) == 64
    key.encode()
    for name in schema.columns:
        pa.array([fields[name]], TYPES.get(name, pa.string()))
    schema.labels(fields)
    schema.lengths(fields)

"""What a pipeline file may say about dividing rows."""

from typing import Any

import pytest
from pydantic import ValidationError

from shared.pipelines.schema import PipelineSpec


def spec(kind: str = "classification", **data: Any) -> PipelineSpec:
    return PipelineSpec.model_validate({"name": "a", "kind": kind, "base": "some-base", "data": data})


def test_near_copies_are_looked_for_unless_a_pipeline_says_otherwise() -> None:
    near = spec().data.near_duplicates
    assert (near.enabled, near.threshold, near.keep) == (True, 0.8, "all")
    assert spec().data.conflicts == "keep"


@pytest.mark.parametrize(
    ("kind", "data", "word"),
    [
        ("pretraining", {"splits": {"stratify": True}}, "data.splits.stratify"),
        ("summarisation", {"conflicts": "reject"}, "data.conflicts"),
        ("classification", {"conflicts": "newest"}, "delete the row and send it again"),
        ("classification", {"conflicts": "latest"}, "conflicts"),
        ("classification", {"splits": {"stratify": True, "by_time": "at"}}, "say one of them"),
        ("classification", {"splits": {"stratify": True, "validation": 0}}, "give a share"),
        ("classification", {"splits": {"group": ""}}, "group"),
        ("classification", {"near_duplicates": {"threshold": 0.3}}, "threshold"),
        ("classification", {"near_duplicates": {"keep": "last"}}, "keep"),
    ],
)
def test_what_can_not_work_is_refused_with_the_reason(kind: str, data: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        spec(kind, **data)

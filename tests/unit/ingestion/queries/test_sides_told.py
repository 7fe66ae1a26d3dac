from typing import Any

import pytest

from services.ingestion.queries.sides_told import why_this_side
from shared.pipelines.schema import PipelineSpec

ROW = {"split": "validation", "cluster": "00c0ffee00c0ffee"}


@pytest.mark.parametrize(
    ("splits", "row", "why"),
    [
        ({}, {"split": "test", "cluster": None}, "by the hash of what it asks"),
        ({}, ROW, "by the hash of its cluster 00c0ffee00c0ffee; near copies stand on one side"),
        ({"group": "user.id"}, ROW, "by the hash of its cluster 00c0ffee00c0ffee; rows of one user.id and near copies"),
        ({"by_time": "at"}, ROW, "by the newest at of its cluster"),
        ({"by_time": "at"}, {**ROW, "split": "test"}, "by the hash of its cluster"),
        ({"stratify": True}, ROW, "by hash and label of its cluster"),
        ({"official": "split"}, ROW, "by the field split, or else the hash, of its cluster"),
    ],
)
def test_the_reason_for_a_side_is_told(splits: dict[str, Any], row: dict[str, Any], why: str) -> None:
    fields = {"name": "p", "kind": "classification", "base": "none", "data": {"splits": splits}}
    assert why_this_side(PipelineSpec.model_validate(fields), row).startswith(why)

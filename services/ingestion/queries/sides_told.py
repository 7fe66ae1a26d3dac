"""Why a row is on its side of the split, in words for people."""

from collections.abc import Mapping
from typing import Any

from shared.pipelines.schema import PipelineSpec


def why_this_side(spec: PipelineSpec, row: Mapping[str, Any]) -> str:
    """`row` is as it stands in a part; parts of old say nothing about clusters."""
    splits, cluster = spec.data.splits, row.get("cluster")
    if not cluster:
        return "by the hash of what it asks"
    together = f"rows of one {splits.group} and near copies" if splits.group else "near copies"
    return f"{_chosen(spec, str(row['split']))} of its cluster {cluster}; {together} stand on one side"


def _chosen(spec: PipelineSpec, side: str) -> str:
    splits = spec.data.splits
    if splits.official:
        return f"by the field {splits.official}, or else the hash,"
    if side != "test" and splits.by_time:
        return f"by the newest {splits.by_time}"
    return "by hash and label" if side != "test" and splits.stratify else "by the hash"

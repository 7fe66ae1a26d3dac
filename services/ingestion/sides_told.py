"""Why a row is on its side of the split, in words for people."""

from collections.abc import Mapping
from typing import Any

from shared.pipelines.schema import PipelineSpec


def why_this_side(spec: PipelineSpec, row: Mapping[str, Any]) -> str:
    """`row` is as it stands in a part."""
    splits = spec.data.splits
    official, group = getattr(splits, "official", None), getattr(splits, "group", None)
    if official:
        return f"as the field {official} said, or its cluster where it is near other rows"
    together = f"rows of the same {group} and near copies" if group else "near copies"
    cluster = row.get("cluster")
    if cluster:
        return f"by its cluster {cluster}; {together} stand on one side"
    return "by the hash of what it asks"

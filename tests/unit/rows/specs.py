"""Pipelines that the tests of rows are about."""

from typing import Any

from shared.pipelines.schema import PipelineSpec


def sentiment(**changes: Any) -> PipelineSpec:
    fields = {"name": "sentiment", "kind": "classification", "labels": ["negative", "positive"], "base": "none"}
    return PipelineSpec.model_validate({**fields, **changes})


def support(**changes: Any) -> PipelineSpec:
    return PipelineSpec.model_validate({"name": "support", "kind": "chat", "base": "none", **changes})

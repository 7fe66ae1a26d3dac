"""Pipelines that the tests of rows are about."""

from typing import Any

from shared.pipelines.schema import PipelineSpec


def sentiment(**changes: Any) -> PipelineSpec:
    fields = {"name": "sentiment", "kind": "classification", "labels": ["negative", "positive"], "base": "none"}
    return PipelineSpec.model_validate({**fields, **changes})


def support(**changes: Any) -> PipelineSpec:
    return PipelineSpec.model_validate({"name": "support", "kind": "chat", "base": "none", **changes})


def tagging(**changes: Any) -> PipelineSpec:
    fields = {"name": "people", "kind": "token_classification", "labels": ["PER", "LOC"], "base": "none"}
    return PipelineSpec.model_validate({**fields, **changes})


def relations(**changes: Any) -> PipelineSpec:
    labels = ["Cause-Effect(e1,e2)", "Cause-Effect(e2,e1)", "Other"]
    fields = {"name": "causes", "kind": "relation_extraction", "labels": labels, "base": "none"}
    return PipelineSpec.model_validate({**fields, **changes})


def reading(**changes: Any) -> PipelineSpec:
    return PipelineSpec.model_validate({"name": "manual", "kind": "question_answering", "base": "none", **changes})

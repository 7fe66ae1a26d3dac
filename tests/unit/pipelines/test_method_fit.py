"""Keys of a method that need something of the rest of the file."""

from typing import Any

import pytest

from shared.pipelines.methods import FIRST_KEYS, MethodConfig, resolve_method
from shared.pipelines.resources import Resources, check_resources
from shared.pipelines.schema import PipelineSpec


def _pipeline(**keys: Any) -> PipelineSpec:
    return PipelineSpec.model_validate({"name": "p", "kind": "classification", "base": "b", **keys})


@pytest.mark.parametrize("key", [{"patience": 2}, {"keep_best": True}, {"validate_every_steps": 5}])
def test_what_goes_by_validation_rows_wants_some(key: dict[str, Any]) -> None:
    assert _pipeline(method=key).method.model_dump()[next(iter(key))] == next(iter(key.values()))
    with pytest.raises(ValueError, match=f"{next(iter(key))}.*splits"):
        _pipeline(method=key, data={"splits": {"validation": 0}})


def test_only_labels_that_there_are_can_be_weighed() -> None:
    weights = {"class_weights": {"good": 2.0}}
    assert _pipeline(method=weights, labels=["bad", "good"]).method.class_weights == {"good": 2.0}
    assert _pipeline(method=weights).method.class_weights == {"good": 2.0}
    with pytest.raises(ValueError, match=r"'good'.*bad, worse"):
        _pipeline(method=weights, labels=["bad", "worse"])


def test_entities_are_weighed_by_name_or_tag() -> None:
    weights = {"class_weights": {"X": 2.0, "B-Y": 3.0, "O": 0.5}}
    assert _pipeline(kind="token_classification", method=weights, labels=["X", "Y"])
    with pytest.raises(ValueError, match="'B-Y'"):
        _pipeline(kind="token_classification", method=weights, labels=["X"])


@pytest.mark.parametrize("optimizer", ["adamw_8bit", "adafactor"])
def test_optimizers_that_look_at_whole_matrices_are_not_split(optimizer: str) -> None:
    method = resolve_method("chat", {"optimizer": optimizer, "gradient_accumulation": 2})
    with pytest.raises(ValueError, match=optimizer):
        check_resources(Resources(processes=2, sharding="full"), method)
    check_resources(Resources(processes=2), method)


def test_a_key_that_is_not_used_decides_nothing() -> None:
    """So that a run that was begun before the key existed goes on."""
    assert set(MethodConfig().decides()) == set(FIRST_KEYS)
    assert MethodConfig(dropout=0.0).decides()["dropout"] == 0.0
    assert MethodConfig(optimizer="sgd").decides() != MethodConfig().decides()


@pytest.mark.parametrize("method", ["head", "prefix_tuning", "prompt_tuning", "p_tuning"])
def test_layers_that_learn_nothing_are_not_computed_twice(method: str) -> None:
    with pytest.raises(ValueError, match="gradient_checkpointing"):
        resolve_method("classification", {"name": method, "gradient_checkpointing": True})

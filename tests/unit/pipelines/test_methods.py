from typing import Any

import pytest

from shared.errors import InvalidArgument
from shared.pipelines.explaining import explain_methods
from shared.pipelines.kinds import KINDS
from shared.pipelines.method_defaults import WITHOUT_HEAD
from shared.pipelines.methods import EFFECTIVE_WITH, METHODS, MethodConfig, resolve_method


def test_every_kind_takes_full_training_and_lora() -> None:
    assert all({(kind, "full"), (kind, "lora")} <= set(METHODS) for kind in KINDS)
    assert all(config.name == method for (_, method), config in METHODS.items())


def test_every_default_is_one_that_a_user_may_write() -> None:
    for (kind, method), config in METHODS.items():
        assert resolve_method(kind, config.model_dump(mode="json")) == config, (kind, method)


def test_a_method_that_a_kind_can_not_take_is_refused_with_the_reason_and_the_others() -> None:
    with pytest.raises(ValueError, match=r"method\.name: kind chat can't be trained with head: it has no head.*lora"):
        resolve_method("chat", {"name": "head"})
    with pytest.raises(ValueError, match="pretraining can't be trained with prompt_tuning"):
        resolve_method("pretraining", {"name": "prompt_tuning"})


@pytest.mark.parametrize("kind", ["classification", "chat"])
def test_a_key_without_effect_is_refused_unless_it_says_what_holds_anyway(kind: str) -> None:
    odd: dict[str, Any] = {
        "lora_rank": 3,
        "lora_alpha": 3.0,
        "lora_dropout": 0.3,
        "initial_rank": 99,
        "targets": ["query"],
    }
    odd |= {"layers": 7, "virtual_tokens": 7, "base_precision": "int8", "gradient_checkpointing": True}
    if kind not in WITHOUT_HEAD:
        odd |= {"head_learning_rate": 0.5}
    assert set(odd) | {"head_learning_rate"} == set(EFFECTIVE_WITH)
    for (_, method), config in METHODS.items():
        for key, value in odd.items():
            given = {"name": method, key: value}
            if method in EFFECTIVE_WITH[key]:
                if (kind, method) in METHODS:
                    assert getattr(resolve_method(kind, given), key) in (value, tuple(odd["targets"]))
            elif (kind, method) in METHODS:
                with pytest.raises(ValueError, match=f"method.{key}: has an effect only with method .*, not {method}"):
                    resolve_method(kind, given)
                assert resolve_method(kind, {"name": method, key: getattr(config, key)}) == METHODS[kind, method]


def test_adalora_needs_ranks_to_take_away() -> None:
    with pytest.raises(ValueError, match=r"method\.initial_rank: 16 leaves adalora no ranks"):
        resolve_method("chat", {"name": "adalora", "initial_rank": 16})


def test_given_keys_go_over_the_defaults() -> None:
    config = resolve_method("chat", {"name": "lora", "lora_rank": 4})
    assert config.lora_rank == 4
    assert config.learning_rate == METHODS["chat", "lora"].learning_rate


def test_rate_written_as_text_is_read() -> None:
    assert resolve_method("classification", {"name": "full", "learning_rate": "3e-4"}).learning_rate == 3e-4


@pytest.mark.parametrize(
    ("kind", "given", "word"),
    [
        ("chat", {"name": "magic"}, "magic"),
        ("juggling", {"name": "full"}, "juggling"),
        ("chat", {"name": "full", "lora_rank": 3}, "lora_rank"),
        ("chat", {"name": "lora", "rank": 3}, "rank"),
        ("chat", {"name": "lora", "epochs": 0}, "epochs"),
        ("chat", {"name": "lora", "targets": []}, "targets"),
        ("chat", {"name": "lora", "targets": ["q_proj", "*"]}, "targets"),
        ("chat", {"name": "lora", "targets": "q_proj"}, "targets"),
        ("chat", {"name": "prompt_tuning", "virtual_tokens": 0}, "virtual_tokens"),
        ("chat", {"name": "lora", "base_precision": "int2"}, "base_precision"),
        ("chat", {"name": ["lora"]}, "no method"),
        ("chat", {"name": "adalora", "initial_rank": "many"}, "initial_rank"),
        ("chat", {"name": "lora", "learning_rate": -1}, "learning_rate"),
    ],
)
def test_what_can_not_work_is_refused_by_name(kind: str, given: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        resolve_method(kind, given)


def test_every_key_has_a_line_of_help() -> None:
    assert all(field.description for field in MethodConfig.model_fields.values())


def test_what_every_kind_takes_is_explained() -> None:
    lines = explain_methods()
    assert {(line.kind, line.method) for line in lines if not line.refused} == set(METHODS)
    (head,) = [line for line in explain_methods("chat") if line.method == "head"]
    assert "no head" in head.refused
    (adalora,) = [line for line in explain_methods("chat") if line.method == "adalora"]
    assert adalora.defaults["initial_rank"] == 24
    with pytest.raises(InvalidArgument, match="juggling"):
        explain_methods("juggling")

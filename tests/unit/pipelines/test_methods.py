import pytest

from shared.pipelines.methods import METHODS, MethodConfig, resolve_method


def test_every_kind_and_method_has_defaults() -> None:
    assert set(METHODS) == {(kind, method) for kind in ("classification", "chat") for method in ("full", "lora")}
    assert all(config.name == method for (_, method), config in METHODS.items())


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
        ("chat", {"name": "lora", "learning_rate": -1}, "learning_rate"),
    ],
)
def test_what_can_not_work_is_refused_by_name(kind: str, given: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        resolve_method(kind, given)


def test_every_key_has_a_line_of_help() -> None:
    assert all(field.description for field in MethodConfig.model_fields.values())

"""`method.augmentation.back_translation`: what it may say, and which rows it means."""

from typing import Any

import pytest

from shared.errors import InvalidArgument
from shared.pipelines.back_translation import READ, BackTranslation, ServedModel
from shared.pipelines.changing import changed_spec
from shared.pipelines.kinds import KINDS
from shared.pipelines.methods import resolve_method
from shared.pipelines.reading import load_pipeline
from shared.pipelines.train_rows import NOT_AUGMENTED, Augmentation

YAML = """\
name: mood
kind: classification
base: somewhere
method:
  augmentation:
    back_translation: {there: en-de, back: de-en@3}
"""


def test_a_model_is_named_by_its_champion_or_a_version() -> None:
    method = load_pipeline(YAML).method
    assert method.augmentation is not None
    assert method.augmentation.back_translation is not None
    assert method.augmentation.back_translation.translators == {
        "there": ServedModel("en-de", "champion"),
        "back": ServedModel("de-en", version=3),
    }
    assert ServedModel.of("en-de@candidate") == ServedModel("en-de", "candidate")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("there:", "their:", ["line 6", "their", "there"]),
        ("de-en@3", "de-en@0", ["back", "MODEL@VERSION"]),
        ("de-en@3", "'model:de-en@champion'", ["back", "MODEL@VERSION"]),
        ("de-en@3", "en-de@3", ["back", "the other direction"]),
        (", back: de-en@3", "", ["back"]),
        ("back:", "share: 0, back:", ["share"]),
        ("classification", "summarisation", ["augmentation", "must go on meaning"]),
    ],
)
def test_what_can_not_be_is_refused_with_its_reason(old: str, new: str, words: list[str]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        load_pipeline(YAML.replace(old, new))
    for word in words:
        assert word in refused.value.message


def test_every_kind_that_is_augmented_has_texts_to_paraphrase() -> None:
    assert set(READ) == set(KINDS) - set(NOT_AUGMENTED)


def test_which_rows_are_drawn_is_a_matter_of_seed_and_row() -> None:
    keys = BackTranslation(there="a", back="b", share=0.3)
    drawn = [[keys.draws(seed, f"row-{index}") for index in range(2000)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert 0.26 < sum(drawn[0]) / 2000 < 0.34
    assert all(BackTranslation(there="a", back="b", share=1.0).draws(0, f"row-{index}") for index in range(100))


def test_an_augmentation_without_it_decides_what_it_always_did() -> None:
    decides = resolve_method("classification", {"augmentation": {"word_swap": 0.1}}).decides()
    assert decides["augmentation"] == {"token_dropout": 0.0, "word_swap": 0.1, "word_delete": 0.0}
    keys = {"there": "a", "back": "b", "share": 0.5}
    dumped = Augmentation.model_validate({"back_translation": keys}).model_dump()
    assert dumped["back_translation"] == keys
    assert Augmentation.model_validate(dumped).model_dump() == dumped


def test_a_job_may_change_a_key_inside_a_group_that_was_not_given() -> None:
    spec: dict[str, Any] = load_pipeline(YAML.partition("method")[0]).model_dump(mode="json")
    changed = changed_spec(spec, {"method.augmentation.word_swap": 0.2})
    assert changed.method.augmentation == Augmentation(word_swap=0.2)
    given = load_pipeline(YAML).model_dump(mode="json")
    changed_spec(given, {"method.augmentation.back_translation.share": 0.9})
    assert given["method"]["augmentation"]["back_translation"]["share"] == 0.3, "what was given stays as it is"

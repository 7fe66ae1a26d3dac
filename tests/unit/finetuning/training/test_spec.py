import json
from pathlib import Path
from typing import Any

import pytest

from services.finetuning.spec import TrainingSpec
from tests.support.training_runs import make_spec, some_rows


@pytest.fixture
def spec(tmp_path: Path) -> TrainingSpec:
    return make_spec(tmp_path, "classification", some_rows("classification", 4))


def test_spec_survives_json(spec: TrainingSpec) -> None:
    assert TrainingSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("seed", -1, "spec.seed"),
        ("threads", "many", "spec.threads"),
        ("labels", ["a", "a"], "spec.labels"),
        ("dataset", {"digest": "x"}, "spec.dataset.parts"),
        ("method", {"name": "lora", "rank": 3}, "spec.method.rank"),
        ("nonsense", 1, "spec.nonsense"),
        ("budget_seconds", 0, "spec.budget_seconds"),
    ],
)
def test_wrong_field_is_named(spec: TrainingSpec, field: str, value: Any, named: str) -> None:
    document = json.loads(spec.to_json()) | {field: value}
    with pytest.raises(ValueError, match=named.replace(".", r"\.")):
        TrainingSpec.from_json(json.dumps(document))


def test_missing_field_is_named(spec: TrainingSpec) -> None:
    document = json.loads(spec.to_json())
    del document["output_dir"]
    with pytest.raises(ValueError, match="output_dir"):
        TrainingSpec.from_json(json.dumps(document))


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="spec"):
        TrainingSpec.from_json("{")


def test_identity_is_of_what_decides_the_weights(spec: TrainingSpec) -> None:
    document = json.loads(spec.to_json())

    def identity(**changes: Any) -> str:
        return TrainingSpec.from_json(json.dumps(document | changes)).identity("base")

    assert identity() == identity(run="another", work_dir="/elsewhere", threads=8, keep_checkpoints=9)
    assert identity() != identity(seed=5)
    assert identity() != identity(method=document["method"] | {"epochs": 3})
    assert identity() != spec.identity("another base")

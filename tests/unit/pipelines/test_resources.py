"""How many processes train together: what a pipeline file may ask for."""

from typing import Any

import pytest

from shared.errors import InvalidArgument
from shared.pipelines.reading import load_pipeline
from shared.pipelines.resources import Resources

REFUSED: list[tuple[str, str, str]] = [
    ("{processes: 2}", "{name: full}", "too few for 2 processes"),
    ("{processes: 4}", "{name: full, gradient_accumulation: 3}", "a step has 3 batches"),
    ("{processes: 0}", "{name: full}", "greater than or equal to 1"),
    ("{processes: 65}", "{name: full, gradient_accumulation: 65}", "less than or equal to 64"),
    ("{sharding: full}", "{name: full}", "has no effect with one process"),
    ("{sharding: half}", "{name: full}", "'none' or 'full'"),
    ("{processes: 2, sharding: full}", "{name: adalora, gradient_accumulation: 2}", "adalora looks at whole matrices"),
    ("{processes: 2, sharding: full}", "{name: p_tuning, gradient_accumulation: 2}", "virtual tokens outside"),
    (
        "{processes: 2, sharding: full}",
        "{name: lora, gradient_accumulation: 2, base_precision: int4}",
        "a base held as int4",
    ),
    (
        "{processes: 2, sharding: full}",
        "{name: full, gradient_accumulation: 2, optimizer: adafactor}",
        "adafactor looks at whole matrices",
    ),
]


def pipeline(resources: str, method: str) -> str:
    return f"name: tiny\nkind: classification\nbase: some-base\nmethod: {method}\nresources: {resources}\n"


@pytest.mark.parametrize(("resources", "method", "reason"), REFUSED)
def test_what_can_not_work_is_refused_with_the_reason(resources: str, method: str, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason) as refused:
        load_pipeline(pipeline(resources, method))
    assert refused.value.metadata["field"].startswith("resources")
    assert str(refused.value.metadata["line"]) == "5"


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("{}", {"processes": 1, "sharding": "none"}),
        ("{processes: 2}", {"processes": 2, "sharding": "none"}),
        ("{processes: 3, sharding: full}", {"processes": 3, "sharding": "full"}),
    ],
)
def test_what_can_work_is_kept(given: str, made: dict[str, Any]) -> None:
    spec = load_pipeline(pipeline(given, "{name: lora, gradient_accumulation: 4}"))
    assert spec.resources == Resources(**made)

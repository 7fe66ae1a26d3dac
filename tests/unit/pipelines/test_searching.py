"""What a search may try, and how it says no."""

from typing import Any

import pytest

from shared.errors import InvalidArgument
from shared.pipelines.reading import load_pipeline
from shared.pipelines.schema import PipelineSpec
from shared.pipelines.searching import Choice, Range, SearchPlan
from shared.pipelines.spaces import check_plan, read_plan

SPEC = PipelineSpec.model_validate(
    {"name": "mood", "kind": "classification", "labels": ["bad", "good"], "base": "nowhere"}
).model_dump(mode="json")


def test_ranges_and_lists_are_read() -> None:
    space = {
        "method.learning_rate": "log:1e-5..1e-3",
        "method.epochs": "1..4",
        "method.weight_decay": "0..0.1",
        "method.schedule": ["linear", "cosine"],
        "method.warmup_ratio": " 0.0 .. 0.5 ",
    }
    assert SearchPlan.model_validate({"space": space}).dimensions() == {
        "method.epochs": Range(1, 4, False),
        "method.learning_rate": Range(1e-5, 1e-3, True),
        "method.schedule": Choice(("linear", "cosine")),
        "method.warmup_ratio": Range(0.0, 0.5, False),
        "method.weight_decay": Range(0, 0.1, False),
    }
    assert Range(1, 4, False).whole
    assert not Range(0, 0.1, False).whole


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"space": {"seed": "3"}}, "space.seed: '3' should read low..high"),
        ({"space": {"seed": "a..b"}}, "space.seed: 'a..b' should read low..high"),
        ({"space": {"seed": "4..2"}}, "goes from 4 to 2"),
        ({"space": {"method.learning_rate": "log:0..1"}}, "begins above 0"),
        ({"space": {"seed": [1]}}, "at least two values"),
        ({"space": {"seed": [1, 1]}}, "none twice"),
        ({"space": {"seed": "1..9"}, "trials": 0}, "trials"),
        ({"space": {"seed": "1..9"}, "trails": 3}, "trails: unknown key; did you mean 'trials'?"),
        ({"space": {}}, "says nothing to search"),
        ({"space": {"method.learning_rat": "1..2"}}, "method.learning_rat: unknown key; did you mean 'learning_rate'?"),
        ({"space": {"method.learning_rate": "1e-4..7"}}, "method.learning_rate: 7"),
        ({"space": {"kind": ["chat", "classification"]}}, "kind: belongs to the pipeline"),
        (
            {"space": {"method.name": ["full", "lora"], "method.lora_rank": [4, 8]}},
            "has an effect only with method lora",
        ),
        ({"space": {"seed": "1..9"}, "metric": "bleu"}, "kind classification has no metric 'bleu'"),
    ],
)
def test_a_plan_that_could_not_work_names_its_key(plan: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_plan(SPEC, read_plan(plan))
    assert words in caught.value.message


def test_a_pipeline_file_may_hold_the_plan() -> None:
    text = "name: a\nkind: classification\nbase: b\nsearch: {trials: 5, space: {seed: 1..9}}\n"
    spec = load_pipeline(text)
    assert spec.search is not None
    assert (spec.search.trials, spec.search.metric) == (5, "loss")
    assert PipelineSpec.model_validate(spec.model_dump(mode="json")) == spec
    with pytest.raises(InvalidArgument, match=r"line 4: search\.trails: unknown key; did you mean 'trials'"):
        load_pipeline(text.replace("trials", "trails"))
    with pytest.raises(InvalidArgument, match=r"line 4: search: .*should read low..high"):
        load_pipeline(text.replace("1..9", "nine"))

"""The training report, as the training process tells it."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from services.finetuning.spec import EXIT_FINISHED
from services.finetuning.training.events import Events
from services.finetuning.training.reporting import report
from services.finetuning.training.reporting.answers import RowLoss
from services.finetuning.training.reporting.curve import SHORT_STEPS, Curve
from tests.support.training_runs import StopAfter, make_spec, named, run, some_rows, weights_of


def rows_of(kind: str, validation: int = 6) -> list[dict[str, Any]]:
    return some_rows(kind, 24) + some_rows(kind, validation, "validation", 100)


def reported(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The run's only report, which nothing went wrong with."""
    assert named(events, "log") == []
    (told,) = named(events, "report")
    return told


def test_a_run_reports_settings_data_curves_and_the_rows_it_is_worst_at(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "classification", rows_of("classification"))
    told = reported(run(spec)[1])
    assert (told["steps"], told["kind"], told["settings"]["batch_size"]) == (12, "classification", 4)
    assert {"validation_rows": 6, "rows": 24, "truncated": 0}.items() <= told["data"].items()
    assert told["memory_bytes"] > 10_000_000
    assert [step for step, _ in told["curve"]["train/loss"]] == list(range(1, 13))
    assert told["curve"]["validation/accuracy"][-1] == [12, told["metrics"]["accuracy"]]
    losses = [row["loss"] for row in told["lost"]]
    assert (len(losses), told["looked_at"]) == (6, 6)
    assert losses == sorted(losses, reverse=True)
    assert sum(losses) / 6 == pytest.approx(told["metrics"]["loss"], rel=1e-5)
    assert told["lost"][0]["columns"].keys() == {"text", "label"}


def test_rows_are_shown_before_and_after_also_when_another_run_went_to_the_end(tmp_path: Path) -> None:
    calm = make_spec(tmp_path, "classification", rows_of("classification"), work_dir=tmp_path / "calm")
    spec = make_spec(tmp_path, "classification", rows_of("classification"))
    run(spec, StopAfter(5))
    told, expected = reported(run(spec)[1]), reported(run(calm)[1])
    assert told["shown"] == expected["shown"]
    assert len(told["shown"]) == 4
    for row in told["shown"]:
        assert row["before"]["loss"] != row["after"]["loss"]
        assert row["before"]["answer"].startswith("label-")
    assert [step for step, _ in told["curve"]["train/loss"]] == list(range(1, 13))


@pytest.mark.parametrize("method", [{"name": "lora"}, {"name": "prefix_tuning", "virtual_tokens": 4}])
def test_what_an_adapter_is_compared_with_is_its_base(tmp_path: Path, method: dict[str, Any]) -> None:
    base = make_spec(tmp_path, "chat", rows_of("chat"), {"name": "full"}, output_dir=tmp_path / "full")
    spec = make_spec(tmp_path, "chat", rows_of("chat"), {**method, "learning_rate": 0.5}, work_dir=tmp_path / "adapter")
    before = [row["before"] for row in reported(run(base)[1])["shown"]]
    shown = reported(run(spec)[1])["shown"]
    assert [row["before"]["answer"] for row in shown] == [look["answer"] for look in before]
    assert [row["before"]["loss"] for row in shown] == pytest.approx([look["loss"] for look in before], rel=1e-4)
    assert [row["after"]["answer"] for row in shown] != [look["answer"] for look in before]
    assert "user: " in shown[0]["columns"]["messages"]


@pytest.mark.parametrize("method", [{"name": "lora"}, {"name": "prompt_tuning", "virtual_tokens": 4}])
def test_an_adapter_and_its_new_head_are_compared_with_what_they_began_with(
    tmp_path: Path, method: dict[str, Any]
) -> None:
    base = make_spec(tmp_path, "classification", rows_of("classification"), output_dir=tmp_path / "full")
    given = {**method, "learning_rate": 0.1}
    spec = make_spec(tmp_path, "classification", rows_of("classification"), given, work_dir=tmp_path / "adapter")
    before = [row["before"]["loss"] for row in reported(run(base)[1])["shown"]]
    told = reported(run(spec)[1])
    assert [row["before"]["loss"] for row in told["shown"]] == pytest.approx(before, rel=1e-4)
    assert sum(row["loss"] for row in told["lost"]) / 6 == pytest.approx(told["metrics"]["loss"], rel=1e-4)


def test_a_report_that_fails_costs_examples_and_no_bit_of_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(tmp_path, "classification", rows_of("classification"))
    run(spec)
    other = make_spec(
        tmp_path, "classification", rows_of("classification"), work_dir=tmp_path / "w", output_dir=tmp_path / "m"
    )

    def fail(*given: object) -> None:
        raise MemoryError("not enough memory")

    monkeypatch.setattr(report, "row_losses", fail)
    code, events = run(other)
    assert code == EXIT_FINISHED
    assert "MemoryError" in named(events, "log")[0]["message"]
    assert "shown" not in named(events, "report")[0]
    assert weights_of(other.output_dir) == weights_of(spec.output_dir)


def test_a_report_of_many_long_rows_is_short(tmp_path: Path) -> None:
    rows = rows_of("classification", validation=60)
    for row in rows:
        row["text"] = "\N{GRINNING FACE} " * 2500 + row["text"]
    told = reported(run(make_spec(tmp_path, "classification", rows, {"epochs": 1}))[1])
    assert len(json.dumps(told)) < 64_000
    assert told["data"]["truncated"] == 24
    assert all(len(row["columns"]["text"]) == 240 for row in told["lost"])


def test_a_run_without_validation_rows_reports_what_it_has(tmp_path: Path) -> None:
    told = reported(run(make_spec(tmp_path, "classification", some_rows("classification", 8)))[1])
    assert (told["shown"], told["lost"], told["looked_at"]) == ([], [], 0)


def test_the_curve_of_a_long_run_is_bounded_and_ends_at_its_end(tmp_path: Path) -> None:
    with (tmp_path / "events").open("wb") as file:
        curve = Curve(Events(file.fileno()), 10_001, {})
        for step in range(1, 6_001):
            curve.step(step, float(step))
        again = Curve(Events(file.fileno()), 10_001, json.loads(json.dumps(curve.state())))
        for step in range(6_001, 10_002):
            again.step(step, float(step))
    kept = again.state()["points"]
    assert len(kept) == 1667
    assert kept[0][2] == {"train/loss": 3.5}, "the mean of steps 1 to 6"
    assert kept[-1][0] == 10_001
    short = again.short()["train/loss"]
    assert (len(short), short[0], short[-1][0]) == (SHORT_STEPS, (6, 3.5), 10_001)


def test_validations_without_end_are_thinned_and_the_newest_stays(tmp_path: Path) -> None:
    with (tmp_path / "events").open("wb") as file:
        curve = Curve(Events(file.fileno()), 2000, {})
        for step in range(1, 2001):
            curve.validated(step, {"loss": 1 / step})
    kept = [step for step, _, _ in curve.state()["points"]]
    assert len(kept) <= 500
    assert (kept[0], kept[-1]) == (1, 2000)


def test_what_a_database_would_refuse_is_not_in_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of("classification")
    rows[-1]["text"] = "a good\0 film"
    monkeypatch.setattr(
        report, "row_losses", lambda material, examples, *_: [RowLoss(one.row_ids[0], math.inf) for one in examples]
    )
    told = reported(run(make_spec(tmp_path, "classification", rows, {"epochs": 1}))[1])
    assert told["shown"][0]["before"]["loss"] is None
    assert told["lost"][0]["loss"] is None
    assert "\\u0000" not in json.dumps(told["lost"])

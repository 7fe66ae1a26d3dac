"""A run that its budget ended goes on with a larger one; one of another code revision only when that is declared."""

from pathlib import Path
from typing import Any

import pytest

from services.finetuning.revision import code_revision
from services.finetuning.spec import EXIT_FAILED, EXIT_FINISHED, TrainingSpec
from tests.support.training_runs import StopAfter, make_spec, named, run, some_rows, weights_of


def spec_of(folder: Path, **changes: Any) -> TrainingSpec:
    rows = some_rows("classification", 16) + some_rows("classification", 4, "validation", 100)
    return make_spec(folder, "classification", rows, **changes)


def test_a_budget_of_steps_ends_the_run_at_a_checkpoint_and_a_larger_one_continues_exactly(tmp_path: Path) -> None:
    calm = spec_of(tmp_path, output_dir=tmp_path / "calm", work_dir=tmp_path / "calm-work")
    assert run(calm)[0] == EXIT_FINISHED
    code, events = run(spec_of(tmp_path, budget_steps=3))
    assert code == EXIT_FAILED
    (failed,) = named(events, "failed")
    assert (failed["reason"], failed["message"]) == ("BUDGET", "budget of 3 steps used up at step 3 of 8")
    assert [event["step"] for event in named(events, "checkpoint")] == [3]
    assert named(events, "progress")[-1]["seconds"] > 0

    whole = spec_of(tmp_path, budget_steps=8)
    code, events = run(whole)
    assert code == EXIT_FINISHED
    assert named(events, "started")[0]["start_step"] == 3
    assert weights_of(whole.output_dir) == weights_of(calm.output_dir)


def test_a_checkpoint_of_another_code_revision_is_refused_and_stays_good(tmp_path: Path) -> None:
    run(spec_of(tmp_path, revision="1.0+aaa"), StopAfter(2))
    code, events = run(spec_of(tmp_path, revision="1.0+bbb"))
    assert code == EXIT_FAILED
    (failed,) = named(events, "failed")
    assert failed["reason"] == "REVISION"
    assert "1.0+aaa" in failed["message"]
    assert "1.0+bbb" in failed["message"]
    code, events = run(spec_of(tmp_path, revision="1.0+aaa"))
    assert code == EXIT_FINISHED
    (started,) = named(events, "started")
    assert (started["start_step"], started["checkpoint_revision"]) == (2, "")


def test_a_declared_change_of_revision_goes_on_and_is_told(tmp_path: Path) -> None:
    run(spec_of(tmp_path, revision="1.0+aaa"), StopAfter(2))
    code, events = run(spec_of(tmp_path, revision="1.0+bbb", any_revision=True))
    assert code == EXIT_FINISHED
    (started,) = named(events, "started")
    assert (started["start_step"], started["checkpoint_revision"]) == (2, "1.0+aaa")


@pytest.mark.parametrize(("before", "after"), [("", "1.0+bbb"), ("1.0+aaa", "")])
def test_a_checkpoint_from_before_revisions_is_continued(tmp_path: Path, before: str, after: str) -> None:
    run(spec_of(tmp_path, revision=before), StopAfter(2))
    assert run(spec_of(tmp_path, revision=after))[0] == EXIT_FINISHED


def test_the_revision_is_the_version_and_a_digest_of_what_decides() -> None:
    version, _, digest = code_revision().partition("+")
    assert version
    assert len(digest) == 12
    assert code_revision() == code_revision()

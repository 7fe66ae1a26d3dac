"""Checkpoints damaged on this machine: the run falls back to the newest good one, says so, and ends as it would have."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from services.finetuning.checkpoint_files import newest_first, verifies
from services.finetuning.spec import EXIT_DRAINED, EXIT_FINISHED, TrainingSpec
from tests.finetuning.running import run_over_a_pipe
from tests.support.training_runs import Row, StopAfter, make_spec, named, some_rows, weights_of

FILES = ("weights.safetensors", "optimizer.safetensors", "rows.log", "state.json", "manifest.json")
DAMAGES: dict[str, Callable[[Path], None]] = {
    "flipped": lambda path: rewrite(path, lambda data: flip(data, len(data) // 3)),
    "cut": lambda path: rewrite(path, lambda data: data[: len(data) // 2]),
    "emptied": lambda path: rewrite(path, lambda data: b""),
    "gone": lambda path: path.unlink(),
    "garbage": lambda path: rewrite(path, lambda data: b"[]"),
}


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def flip(data: bytes, at: int) -> bytes:
    """One bit."""
    return data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingSpec, bytes]:
    """A run of 12 steps stopped after 7, with checkpoints of 4 and 7; the weights that it should end with."""
    folder = tmp_path_factory.mktemp("stopped")
    rows = some_rows("classification", 24) + some_rows("classification", 4, "validation", 100)
    calm = make_spec(folder, "classification", rows, work_dir=folder / "calm-work", output_dir=folder / "calm")
    assert run_over_a_pipe(calm)[0] == EXIT_FINISHED
    spec = replace(calm, checkpoint_every_steps=4, work_dir=folder / "work", output_dir=folder / "model")
    assert run_over_a_pipe(spec, StopAfter(7))[0] == EXIT_DRAINED
    assert steps_kept(spec) == [7, 4]
    return spec, weights_of(calm.output_dir)


def steps_kept(spec: TrainingSpec) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in newest_first(spec.work_dir / "checkpoints")]


def copied(spec: TrainingSpec, folder: Path) -> TrainingSpec:
    """The stopped run in a folder of its own."""
    shutil.copytree(spec.work_dir, folder / "work")
    return replace(spec, work_dir=folder / "work", output_dir=folder / "model")


def warnings(events: list[Row]) -> list[str]:
    return [event["message"] for event in named(events, "log")]


@pytest.mark.parametrize(
    ("file", "damage"),
    [(file, damage) for file in FILES for damage in DAMAGES if damage in ("flipped", "cut") or file.endswith(".json")],
)
def test_the_newest_good_checkpoint_is_continued_and_the_damaged_one_named(
    stopped: tuple[TrainingSpec, bytes], tmp_path: Path, file: str, damage: str
) -> None:
    spec, expected = copied(stopped[0], tmp_path), stopped[1]
    DAMAGES[damage](spec.work_dir / "checkpoints" / "step-00000007" / file)
    code, events = run_over_a_pipe(spec)
    assert code == EXIT_FINISHED
    assert warnings(events) == ["checkpoint step-00000007 is damaged and passed over"]
    assert named(events, "started")[0]["start_step"] == 4
    assert weights_of(spec.output_dir) == expected
    assert all(verifies(path) for path in newest_first(spec.work_dir / "checkpoints"))


def test_with_every_checkpoint_damaged_the_run_starts_anew_and_keeps_its_new_ones(
    stopped: tuple[TrainingSpec, bytes], tmp_path: Path
) -> None:
    spec, expected = replace(copied(stopped[0], tmp_path), checkpoint_every_steps=2), stopped[1]
    for path in newest_first(spec.work_dir / "checkpoints"):
        (path / "weights.safetensors").write_bytes(b"damaged")
    code, events = run_over_a_pipe(spec, StopAfter(3))
    assert code == EXIT_DRAINED
    assert len(warnings(events)) == 2
    assert named(events, "started")[0]["start_step"] == 0
    assert steps_kept(spec) == [3, 2], "new checkpoints give way to damaged ones of later steps"
    code, events = run_over_a_pipe(spec)
    assert code == EXIT_FINISHED
    assert warnings(events) == []
    assert weights_of(spec.output_dir) == expected


def test_a_damaged_checkpoint_that_could_only_not_be_read_stays_until_there_is_a_new_one(
    stopped: tuple[TrainingSpec, bytes], tmp_path: Path
) -> None:
    spec = copied(stopped[0], tmp_path)
    (spec.work_dir / "checkpoints" / "step-00000007" / "state.json").write_bytes(b"")
    assert run_over_a_pipe(spec, StopAfter(0))[0] == EXIT_DRAINED
    assert steps_kept(spec) == [7, 4]
    assert run_over_a_pipe(spec, StopAfter(1))[0] == EXIT_DRAINED
    assert steps_kept(spec) == [5, 4]


def test_a_log_of_rows_that_was_lost_or_altered_comes_back_from_the_checkpoint(
    stopped: tuple[TrainingSpec, bytes], tmp_path: Path
) -> None:
    spec = copied(stopped[0], tmp_path)
    (spec.work_dir / "rows.log").write_bytes(b"something else\n")
    assert run_over_a_pipe(spec)[0] == EXIT_FINISHED
    calm = stopped[0].work_dir.with_name("calm-work") / "rows.log"
    assert (spec.work_dir / "rows.log").read_bytes() == calm.read_bytes()

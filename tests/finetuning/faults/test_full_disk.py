"""A disk that gets full, wherever: the reason is told, what was there is good, and with room the run goes on."""

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from services.finetuning.checkpoint_files import newest_first, verifies
from services.finetuning.spec import EXIT_DRAINED, EXIT_FAILED, EXIT_FINISHED, TrainingSpec
from services.finetuning.training.checkpointing.rowlog import FILE_NAME, RowLog
from tests.finetuning.faults.disks import largest_file, small_disk
from tests.finetuning.running import run_over_a_pipe
from tests.support.training_runs import StopAfter, make_spec, named, some_rows, weights_of

CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "full": ("classification", {"name": "full"}, 24 << 10),
    "head": ("classification", {"name": "head"}, 12 << 10),
    "lora": ("chat", {"name": "lora", "lora_rank": 4, "gradient_accumulation": 1}, 12 << 10),
}
"""Kind, method, and by how many bytes there is more room at each attempt."""


@pytest.mark.parametrize("case", CASES)
def test_every_attempt_on_a_full_disk_says_so_and_the_first_with_room_ends_with_the_same_bytes(
    tmp_path: Path, case: str
) -> None:
    kind, method, more = CASES[case]
    rows = some_rows(kind, 16) + some_rows(kind, 4, "validation", 100)
    calm = make_spec(tmp_path, kind, rows, method)
    assert run_over_a_pipe(calm)[0] == EXIT_FINISHED
    with small_disk(tmp_path / "disk") as disk:
        work, model = disk.folder / "work", disk.folder / "model"
        spec = replace(calm, checkpoint_every_steps=3, work_dir=work, output_dir=model)
        assert run_over_a_pipe(spec, StopAfter(3))[0] == EXIT_DRAINED
        starts: list[int] = []
        for attempt in count():
            disk.leave(attempt * more)
            if not failed_for_want_of_room(spec, starts):
                break
        assert weights_of(spec.output_dir) == weights_of(calm.output_dir)
        assert (spec.work_dir / FILE_NAME).read_bytes() == (calm.work_dir / FILE_NAME).read_bytes()
        assert starts[0] == 3
        assert starts == sorted(starts)
        assert len(set(starts)) > 1, "no attempt failed after a checkpoint, when the model was written"


def failed_for_want_of_room(spec: TrainingSpec, starts: list[int]) -> bool:
    """One attempt, its first step noted: true when it failed as it should, false when there was room enough."""
    code, events = run_over_a_pipe(spec)
    starts.append(named(events, "started")[0]["start_step"])
    if code == EXIT_FINISHED:
        return False
    (failed,) = named(events, "failed")
    assert (code, failed["reason"]) == (EXIT_FAILED, "DISK_FULL"), failed
    assert "no space left" in failed["message"]
    kept = list(newest_first(spec.work_dir / "checkpoints"))
    assert kept
    assert all(verifies(path) for path in kept)
    assert not spec.output_dir.exists()
    assert not list(spec.output_dir.parent.rglob(".*.partial")), "it left something on the full disk"
    return True


def test_a_file_that_may_not_grow_is_a_full_disk_and_the_old_checkpoints_stay(tmp_path: Path) -> None:
    rows = some_rows("classification", 24)
    spec = make_spec(tmp_path, "classification", rows, checkpoint_every_steps=3)
    assert run_over_a_pipe(spec, StopAfter(3))[0] == EXIT_DRAINED
    for size in (100, 20_000, 100_000):
        with largest_file(size):
            code, events = run_over_a_pipe(spec)
        assert code == EXIT_FAILED
        assert named(events, "failed")[0]["reason"] == "DISK_FULL"
        assert [path.name for path in (spec.work_dir / "checkpoints").iterdir()] == ["step-00000003"]
    code, events = run_over_a_pipe(spec)
    assert code == EXIT_FINISHED
    assert named(events, "started")[0]["start_step"] == 3


def test_a_log_line_that_the_disk_takes_in_part_only_is_told_at_once(tmp_path: Path) -> None:
    log = RowLog(tmp_path, 0)
    log.append(1, ["row-1"])
    size = log.settle()
    with largest_file(size + 5), pytest.raises(OSError, match="File too large"):
        log.append(2, ["row-2"])
    log.close()
    again = RowLog(tmp_path, size)
    again.append(2, ["row-2"])
    again.close()
    assert (tmp_path / FILE_NAME).read_text().splitlines() == [
        '{"step": 1, "rows": ["row-1"]}',
        '{"step": 2, "rows": ["row-2"]}',
    ]

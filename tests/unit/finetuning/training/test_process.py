"""The process as the supervisor sees it: exit codes, signals, a pipe."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.finetuning.spec import EXIT_DRAINED, EXIT_FAILED, EXIT_FINISHED, TrainingSpec
from tests.support.training_children import start_training
from tests.support.training_runs import make_spec, named, read_events, run, some_rows, weights_of
from tests.support.wait import eventually

METHOD = {"epochs": 40}


def _write(spec: TrainingSpec) -> Path:
    spec.work_dir.mkdir(exist_ok=True)
    path = spec.work_dir / "spec.json"
    path.write_text(spec.to_json())
    return path


def test_sigterm_stops_after_a_checkpoint_and_resumes_exactly(tmp_path: Path) -> None:
    rows = some_rows("classification", 40)
    calm = make_spec(tmp_path, "classification", rows, METHOD, work_dir=tmp_path / "c", output_dir=tmp_path / "calm")
    run(calm)
    spec = make_spec(tmp_path, "classification", rows, METHOD)
    events = spec.work_dir / "events.jsonl"

    process = start_training(_write(spec), events)
    eventually(lambda: events.exists() and named(read_events(events), "progress"), 60)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == EXIT_DRAINED
    assert named(read_events(events), "checkpoint")

    assert run(spec)[0] == EXIT_FINISHED
    assert weights_of(spec.output_dir) == weights_of(calm.output_dir)


def test_process_stops_after_a_checkpoint_when_nobody_reads_its_events(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "classification", some_rows("classification", 40), METHOD)
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "services.finetuning.training", str(_write(spec)), "--events-fd", str(writer)],
        pass_fds=[writer],
    )
    os.close(writer)
    with os.fdopen(reader) as events:
        assert json.loads(events.readline())["event"] == "started"
        assert json.loads(events.readline())["event"] == "progress"
    assert process.wait(60) == EXIT_DRAINED
    assert list((spec.work_dir / "checkpoints").glob("step-*"))


@pytest.mark.parametrize("text", ["", "{}", "nonsense"])
def test_spec_that_can_not_be_read_fails_at_once(tmp_path: Path, text: str) -> None:
    (tmp_path / "spec.json").write_text(text)
    command = [sys.executable, "-m", "services.finetuning.training", str(tmp_path / "spec.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == EXIT_FAILED
    assert json.loads(done.stdout)["reason"] == "BAD_SPEC"

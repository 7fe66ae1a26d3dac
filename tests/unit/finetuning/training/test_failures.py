"""What a user can get wrong ends in a clear `failed` event."""

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from services.finetuning.spec import FailureReason, TrainingSpec
from services.finetuning.training.failures import explain
from tests.support.training_runs import Row, make_spec, named, run, some_rows


def _failure(spec: TrainingSpec) -> tuple[str, str]:
    code, events = run(spec)
    assert code == 1
    (failed,) = named(events, "failed")
    return failed["reason"], failed["message"]


def _classification(folder: Path, rows: list[Row], **changes: Any) -> TrainingSpec:
    return make_spec(folder, "classification", rows, **changes)


def test_empty_train_split(tmp_path: Path) -> None:
    rows = some_rows("classification", 4, "validation") + some_rows("classification", 4, "test", 10)
    assert _failure(_classification(tmp_path, rows)) == ("BAD_DATA", "dataset: the train split is empty")


def test_train_split_of_one_class(tmp_path: Path) -> None:
    rows = [row | {"label": "same"} for row in some_rows("classification", 4)]
    reason, message = _failure(_classification(tmp_path, rows))
    assert reason == "BAD_DATA"
    assert "'same'" in message


@pytest.mark.parametrize("split", ["train", "validation"])
def test_label_that_is_not_declared_names_its_row(tmp_path: Path, split: str) -> None:
    rows = [*some_rows("classification", 4), {"row_id": "odd", "split": split, "text": "x", "label": "unheard"}]
    reason, message = _failure(_classification(tmp_path, rows, labels=("label-0", "label-1")))
    assert reason == "BAD_DATA"
    assert "odd" in message
    assert "unheard" in message


@pytest.mark.parametrize(
    ("messages", "word"),
    [
        ([], "empty"),
        ([{"role": "user", "content": "hi"}], "assistant"),
        ([{"role": "user", "content": "hi"}, {"role": "assistant", "content": " "}], r"messages[1].content"),
        ([{"role": "robot", "content": "hi"}], "robot"),
    ],
)
def test_conversation_that_can_not_be_used_names_its_row(tmp_path: Path, messages: Any, word: str) -> None:
    rows = [*some_rows("chat", 4), {"row_id": "odd", "split": "train", "messages": messages}]
    reason, message = _failure(make_spec(tmp_path, "chat", rows))
    assert reason == "BAD_DATA"
    assert "odd" in message
    assert word in message


def test_rows_without_the_columns_of_the_kind(tmp_path: Path) -> None:
    rows = [{"row_id": "1", "split": "train", "body": "hello"}]
    reason, message = _failure(_classification(tmp_path, rows))
    assert reason == "BAD_DATA"
    assert "text" in message


def test_part_that_was_altered(tmp_path: Path) -> None:
    spec = _classification(tmp_path, some_rows("classification", 4))
    part = spec.dataset.parts[0].path
    part.write_bytes(part.read_bytes() + b"x")
    reason, message = _failure(spec)
    assert reason == "BAD_DATA"
    assert part.name in message


def test_missing_part(tmp_path: Path) -> None:
    spec = _classification(tmp_path, some_rows("classification", 4))
    spec.dataset.parts[0].path.unlink()
    assert _failure(spec)[0] == "BAD_DATA"


def test_missing_base(tmp_path: Path) -> None:
    reason, message = _failure(_classification(tmp_path, some_rows("classification", 4), base="no-such-base"))
    assert reason == "BASE_MISSING"
    assert "no-such-base" in message


def test_unknown_kind(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "classification", some_rows("classification", 4))
    wrong = TrainingSpec(**{**spec.__dict__, "kind": "juggling"})
    reason, message = _failure(wrong)
    assert reason == "BAD_SPEC"
    assert "juggling" in message


def test_loss_that_is_not_a_number_names_the_rows(tmp_path: Path) -> None:
    spec = _classification(tmp_path, some_rows("classification", 4))
    weights = Path(spec.base) / "model.safetensors"
    tensors = load_file(weights)
    tensors["encoder.layer.0.output.dense.weight"] *= float("nan")
    save_file(tensors, weights, metadata={"format": "pt"})
    reason, message = _failure(spec)
    assert reason == "NOT_FINITE"
    assert "row-0000" in message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x"), FailureReason.DISK_FULL),
        (MemoryError(), FailureReason.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory"), FailureReason.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 bytes"), FailureReason.OUT_OF_MEMORY),
        (RuntimeError("something else"), FailureReason.INTERNAL),
    ],
)
def test_what_the_machine_says_gets_a_stable_reason(error: Exception, reason: FailureReason) -> None:
    assert explain(error).reason == reason

"""Small training runs: rows into Parquet, a spec, the run inside this process, its events."""

import json
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.finetuning.spec import DatasetInput, DatasetPart, TrainingSpec
from services.finetuning.training.app import run_training
from services.finetuning.training.events import Events
from services.finetuning.training.stopping import StopRequest
from shared.pipelines.methods import resolve_method
from tests.support.tiny_models import CORPUS, tiny_base

WORDS = sorted({word for line in CORPUS for word in line.split()})
Row = dict[str, Any]


class StopAfter(StopRequest):
    """Asks to stop after being asked a number of times, that is, after as many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    @property
    def wanted(self) -> bool:
        self.left -= 1
        return self.left < 0


def some_rows(kind: str, count: int, split: str = "train", start: int = 0) -> list[Row]:
    """Rows that a model can learn: the label, or the answer, follows from the text."""
    rows: list[Row] = []
    for index in range(start, start + count):
        digits = sha256(str(index).encode()).digest()
        words = [WORDS[digit % len(WORDS)] for digit in digits[: 2 + digits[0] % 9]]
        row: Row = {"row_id": f"row-{index:04d}", "split": split}
        if kind == "classification":
            row |= {"text": " ".join([*words, "good" if index % 2 else "bad"]), "label": f"label-{index % 2}"}
        else:
            ask, answer = " ".join(words), " ".join(words[:2])
            row["messages"] = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
        rows.append(row)
    return rows


def make_spec(
    folder: Path, kind: str, rows: Sequence[Row], method: Mapping[str, Any] | None = None, **changes: Any
) -> TrainingSpec:
    """A float32 run on a tiny base, all in `folder`; `method` and `changes` go over the defaults."""
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / "base"
    if not base.exists():
        tiny_base(base, kind)
    part = folder / "part.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows)), part)
    digest = sha256(part.read_bytes()).hexdigest()
    given = {"name": "full", "epochs": 2, "batch_size": 4, "precision": "float32", "max_length": 64}
    values: dict[str, Any] = {
        "run": "run-1",
        "job": "job-1",
        "pipeline": "tiny",
        "kind": kind,
        "base": str(base),
        "base_cache": folder / "cache",
        "method": resolve_method(kind, {**given, **(method or {})}),
        "labels": None,
        "dataset": DatasetInput(digest, (DatasetPart(part, digest),)),
        "work_dir": folder / "work",
        "output_dir": folder / "model",
        "threads": 1,
        "checkpoint_every_seconds": None,
    }
    return TrainingSpec(**{**values, **changes})


def run(spec: TrainingSpec, stop: StopRequest | None = None) -> tuple[int, list[Row]]:
    """Run the spec in this process: exit code and events."""
    spec.work_dir.mkdir(parents=True, exist_ok=True)
    path = spec.work_dir / "events.jsonl"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        code = run_training(spec, Events(descriptor), stop or StopRequest())
    finally:
        os.close(descriptor)
    return code, read_events(path)


def read_events(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def named(events: Sequence[Row], name: str) -> list[Row]:
    return [event for event in events if event["event"] == name]


def weights_of(folder: Path) -> bytes:
    """The trained weights of a model folder, adapter or full."""
    adapter = folder / "adapter_model.safetensors"
    return (adapter if adapter.exists() else folder / "model.safetensors").read_bytes()

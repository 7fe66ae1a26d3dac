"""Training processes that die at a chosen point of their own work, so that no kill depends on the clock.

A point is a number of calls, of Python's or C's functions, made in the code of training, or made by anybody while a
checkpoint or the model is written; there the process gets SIGKILL. Inside one write no call is made: there the kernel
ends it at a byte, by SIGXFSZ, which leaves a file as short as SIGKILL would.
"""

import json
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Literal

from services.finetuning import training
from services.finetuning.spec import TrainingSpec
from tests.support.training_children import forking

PATIENCE = 250
"""Seconds for what takes one on a machine of one's own."""
TRAINING = str(Path(next(iter(training.__path__))).resolve())
Where = Literal["anywhere", "step", "checkpoint", "model", "byte"]
STEP = ("rowlog.py", "append")
"""Called once a step, when it is done."""
BLOCKS: dict[tuple[str, str], Where] = {("checkpoints.py", "save"): "checkpoint", ("output.py", "write_model"): "model"}
"""Functions of training, by file and name: all calls until they return."""


@dataclass(frozen=True)
class Point:
    """Where a process dies, or stands still: at the call, the step, or the byte of any file, with that number."""

    where: Where
    number: int
    stands_still: bool = False
    """Until SIGCONT."""

    @property
    def exit_code(self) -> int:
        return -(signal.SIGXFSZ if self.where == "byte" else signal.SIGKILL)


class Calls:
    """Counts the calls of this thread, and ends the process at one."""

    def __init__(self, point: Point | None) -> None:
        self.made: dict[Where, int] = {"anywhere": 0, "step": 0, "checkpoint": 0, "model": 0}
        self._point = point
        self._known: dict[CodeType, bool] = {}
        self._block: tuple[FrameType, Where] | None = None

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            if self._in_training(frame.f_code):
                self._count("anywhere")
                if event == "call":
                    self._enter(frame)
            if self._block is not None:
                self._count(self._block[1])
        elif event == "return" and self._block is not None and self._block[0] is frame:
            self._block = None

    def _in_training(self, code: CodeType) -> bool:
        known = self._known.get(code)
        if known is None:
            known = self._known[code] = code.co_filename.startswith(TRAINING)
        return known

    def _enter(self, frame: FrameType) -> None:
        name = Path(frame.f_code.co_filename).name, frame.f_code.co_name
        if name == STEP:
            self._count("step")
        if name in BLOCKS and self._block is None:
            self._block = frame, BLOCKS[name]

    def _count(self, where: Where) -> None:
        self.made[where] += 1
        point = self._point
        if point is not None and (point.where, point.number) == (where, self.made[where]):
            os.kill(os.getpid(), signal.SIGSTOP if point.stands_still else signal.SIGKILL)


def stop_at(point: Point | None) -> Calls:
    """From now on this process counts its calls, up to the point."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if point is not None and point.where == "byte":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (point.number, point.number))
    calls = Calls(point)
    sys.setprofile(calls)
    return calls


def train(spec: TrainingSpec, point: Point | None = None) -> tuple[int | None, dict[Where, int]]:
    """Exit code of a process that runs the spec to `point`, and the calls it made if it got beyond."""
    spec.work_dir.mkdir(parents=True, exist_ok=True)
    path = spec.work_dir / "spec.json"
    path.write_text(spec.to_json())
    process = forking().Process(target=_train, args=(str(path), point), daemon=True)
    process.start()
    process.join(PATIENCE)
    counts = spec.work_dir / "calls.json"
    made = json.loads(counts.read_text()) if process.exitcode == 0 else {}
    return process.exitcode, made


def _train(spec: str, point: Point | None) -> None:
    from services.finetuning.training.__main__ import main

    work = Path(spec).parent
    events = os.open(work / "events.jsonl", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    calls = stop_at(point)
    code = main([spec, "--events-fd", str(events)])
    sys.setprofile(None)
    (work / "calls.json").write_text(json.dumps(calls.made))
    sys.exit(code)

"""Training processes for supervisors that start fast: forked from a server that has the libraries imported.

Each is a real process in a session of its own, with the real protocol; only its imports were done before.
"""

import os
import subprocess
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, cast

from services.finetuning.process import TrainingProcess
from services.finetuning.spare import Spares
from tests.support.training_children import forking

TIMEOUT_SECONDS = 250


class WarmSpares(Spares):
    """None ahead of time: they start at once. Each does what `prepare` (importable) says before it takes its spec."""

    def __init__(self, prepare: Callable[[], object] | None = None) -> None:
        super().__init__()
        self._prepare = prepare

    def refill(self) -> None:
        pass

    def begin(self, spec: Path, lock: int) -> TrainingProcess:
        process = WarmProcess(self._prepare)
        process.assign(spec, lock)
        return process


class WarmProcess(TrainingProcess):
    """The training process as its supervisor sees it."""

    def __init__(self, prepare: Callable[[], object] | None) -> None:
        self._prepare = prepare
        super().__init__()

    def _start(self, command: Sequence[str], channel: int) -> "subprocess.Popen[bytes]":
        return cast("subprocess.Popen[bytes]", Forked(_Standby(channel, self._errors.fileno(), self._prepare)))


class Forked:
    """What `subprocess.Popen` is for a process that the fork server started."""

    def __init__(self, target: "_Standby") -> None:
        self._process: BaseProcess = forking().Process(target=target, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(TIMEOUT_SECONDS if timeout is None else timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("training process", timeout or TIMEOUT_SECONDS)
        return code


class _Standby:
    """`python -m services.finetuning.training.standby --socket CHANNEL`, its output going to a file."""

    def __init__(self, channel: int, output: int, prepare: Callable[[], object] | None) -> None:
        self._descriptors, self._prepare = (channel, output), prepare

    def __getstate__(self) -> Any:
        return [DupFd(descriptor) for descriptor in self._descriptors], self._prepare

    def __setstate__(self, state: Any) -> None:
        descriptors, self._prepare = state
        self._descriptors = tuple(one.detach() for one in descriptors)

    def __call__(self) -> None:
        from services.finetuning.training.standby import main

        os.setsid()
        channel, output = self._descriptors
        os.dup2(output, 1)
        os.dup2(output, 2)
        if self._prepare is not None:
            self._prepare()
        os._exit(main(["--socket", str(channel)]))

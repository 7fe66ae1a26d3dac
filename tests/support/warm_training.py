"""Training processes for supervisors that start fast: forked from a server that has the libraries imported.

Each is a real process in a session of its own, with the real protocol; only its imports were done before.
"""

import os
import subprocess
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, cast

from services.finetuning.process import TrainingProcess
from services.finetuning.spare import Spares
from tests.support.training_children import forking

TIMEOUT_SECONDS = 120


class WarmSpares(Spares):
    """None ahead of time: they start at once."""

    def refill(self) -> None:
        pass

    def begin(self, spec: Path, lock: int) -> TrainingProcess:
        process = WarmProcess()
        process.assign(spec, lock)
        return process


class WarmProcess(TrainingProcess):
    """The training process as its supervisor sees it."""

    def _start(self, command: Sequence[str], channel: int) -> "subprocess.Popen[bytes]":
        return cast("subprocess.Popen[bytes]", Forked(channel, self._errors.fileno()))


class Forked:
    """What `subprocess.Popen` is for a process that the fork server started."""

    def __init__(self, channel: int, output: int) -> None:
        self._process: BaseProcess = forking().Process(target=_Standby(channel, output), daemon=True)
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

    def __init__(self, channel: int, output: int) -> None:
        self._descriptors = channel, output

    def __getstate__(self) -> Any:
        return [DupFd(descriptor) for descriptor in self._descriptors]

    def __setstate__(self, state: Any) -> None:
        self._descriptors = tuple(fd.detach() for fd in state)

    def __call__(self) -> None:
        from services.finetuning.training.standby import main

        os.setsid()
        channel, output = self._descriptors
        os.dup2(output, 1)
        os.dup2(output, 2)
        os._exit(main(["--socket", str(channel)]))

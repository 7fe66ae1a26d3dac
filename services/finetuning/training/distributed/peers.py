"""The leader's hold on the other processes of its run: starts them, knows how they ended, leaves none behind.

They are children in the leader's own process group and not torchrun's workers, which live in sessions of their own:
the supervisor's kill reaches all at once, and the end of the leader, however sudden, is the end of the others.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

from services.finetuning.spec import EXIT_DRAINED, EXIT_FINISHED, FailureReason, TrainingSpec
from services.finetuning.training.failures import TrainingFailed
from shared.config import child_environment

COMMAND = (sys.executable, "-m", "services.finetuning.training.distributed.peer")
END_SECONDS = 30.0
"""For the others to end once the leader is done."""
EXPLAIN_SECONDS = 3.0
"""For one that failed to say why, once the leader was told that it is gone."""


class Peers:
    """As a context manager, all of them have ended afterwards.

    An exception that comes of the end of one of them is replaced by TrainingFailed with its reason.
    """

    def __init__(self, spec: TrainingSpec, environments: Sequence[Mapping[str, str]]) -> None:
        self._outputs: list[IO[bytes]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            for environment in environments:
                self._start(spec, environment)
        except BaseException:
            self._kill()
            raise

    def _start(self, spec: TrainingSpec, environment: Mapping[str, str]) -> None:
        output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as the process
        self._outputs.append(output)
        process = subprocess.Popen(
            COMMAND, env={**child_environment(), **environment}, stdin=subprocess.PIPE, stdout=output
        )
        self._processes.append(process)
        assert process.stdin is not None
        line = json.dumps(json.loads(spec.to_json())).encode() + b"\n"
        with suppress(BrokenPipeError):  # it is dead, which the first meeting will show
            process.stdin.write(line)
            process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._wait(END_SECONDS)
            elif isinstance(error, Exception) and not isinstance(error, TrainingFailed):
                self._explain(error)
        finally:
            self._kill()

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))

    def _explain(self, error: Exception) -> None:
        deadline = time.monotonic() + EXPLAIN_SECONDS
        while True:
            for rank, process in enumerate(self._processes, start=1):
                code = process.poll()
                if code not in (None, EXIT_FINISHED, EXIT_DRAINED):
                    raise self._failure(rank, code) from error
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)

    def _failure(self, rank: int, code: int) -> TrainingFailed:
        who = f"process {rank} of {len(self._processes) + 1}"
        said = _last_event(self._outputs[rank - 1])
        if said is not None:
            return TrainingFailed(FailureReason(said["reason"]), f"{who}: {said['message']}")
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return TrainingFailed(FailureReason.INTERNAL, f"{who} was {how}")

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
        for output in self._outputs:
            output.close()


def _last_event(output: IO[bytes]) -> dict[str, Any] | None:
    output.seek(0)
    for line in reversed(output.read().splitlines()):
        with suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and event.get("event") == "failed":
                return event
    return None

"""Processes of a benchmark: started in groups of their own, put to sleep while another is measured, always stopped."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.figures import BenchmarkFailed

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 20.0
TAIL = 600


class ProcessGroup:
    """One command and all that it starts; what it prints on standard error goes to a file."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        stdout_to_log: bool = False,
    ) -> None:
        self._log = log
        self._command = " ".join(command[1:4])
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                list(command),
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=errors if stdout_to_log else subprocess.PIPE,
                stderr=errors,
                text=True,
                bufsize=1,
                start_new_session=True,
            )

    def read_line(self) -> str:
        """The next line of its standard output. Raises BenchmarkFailed when it ended instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self.failed("it ended")
        return line

    def write_line(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except OSError:
            raise self.failed("it ended") from None

    def failed(self, what: str) -> BenchmarkFailed:
        said = self._log.read_text(errors="replace")[-TAIL:].strip()
        return BenchmarkFailed(f"{what} ({self._command}): {said}")

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Asks the command to end, then ends what is left of its group."""
        if self.process.returncode is not None:
            return
        self.resume()
        self.process.terminate()
        give_up = time.monotonic() + STOP_SECONDS
        while not self.has_ended() and time.monotonic() < give_up:
            time.sleep(0.05)
        self._signal(signal.SIGKILL)
        self.process.wait()

    def has_ended(self) -> bool:
        """Without reaping it: its id must stay ours while its group is ended."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def wait_until_up(group: ProcessGroup, is_up: Callable[[], bool], seconds: float) -> None:
    """Raises BenchmarkFailed when the command ends or is not up in time."""
    give_up = time.monotonic() + seconds
    while not is_up():
        if group.has_ended():
            raise group.failed("it ended before it was up")
        if time.monotonic() > give_up:
            raise group.failed(f"it was not up after {seconds:.0f} s")
        time.sleep(0.2)

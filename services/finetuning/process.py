"""The training process as its supervisor sees it: hand it a spec, read its events, stop it, kill it."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from shared.config import child_environment

STANDBY = (sys.executable, "-m", "services.finetuning.training.standby")
READ_BYTES = 1 << 16
TAIL_BYTES = 2000


class TrainingProcess:
    """A child in its own process group that imports first and then waits for a spec on a socket.

    Its events come through a pipe that it alone holds open, so the pipe's end is the process's end. When the
    supervisor dies, the socket and the pipe tell the child.
    """

    def __init__(self, command: Sequence[str] = STANDBY, *, quiet: bool = False) -> None:
        """Starts the child; `quiet` does its imports at low priority."""
        self._channel, theirs = socket.socketpair()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as the process
        with theirs:
            self._process = self._start([*command, *(["--quiet"] if quiet else [])], theirs.fileno())
        self._events = -1
        self._poll = select.poll()
        self._rest = b""
        self.ended = False
        """No event can come any more."""

    def _start(self, command: Sequence[str], channel: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*command, "--socket", str(channel)],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
            pass_fds=[channel],
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def assign(self, spec: Path, lock: int) -> None:
        """Hands over a spec file and the descriptor of a held lock. Raises OSError when the child is dead."""
        self._events, theirs = os.pipe()
        try:
            socket.send_fds(self._channel, [str(spec).encode()], [theirs, lock])
        except OSError:
            os.close(self._events)
            self._events = -1
            raise
        finally:
            os.close(theirs)
        self._poll.register(self._events, select.POLLIN)

    def read_events(self, timeout: float) -> list[dict[str, Any]]:
        """The events that came, after waiting at most `timeout` seconds for one."""
        if not self._poll.poll(timeout * 1000):
            return []
        data = os.read(self._events, READ_BYTES)
        if not data:
            self.ended = True
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [event for line in lines if (event := _parse(line)) is not None]

    def terminate(self) -> None:
        """Asks for a checkpoint and an end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it, and whatever it started, at once."""
        self._signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal; a process that outlives its events by `timeout` is killed."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def complaint(self) -> str:
        """The last line that it wrote to its output or error stream."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - TAIL_BYTES))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        """Kills it if need be and frees what it took."""
        if self.alive:
            self.kill()
        self._process.wait()
        self._channel.close()
        self._errors.close()
        if self._events >= 0:
            os.close(self._events)
            self._events = -1

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)


def _parse(line: bytes) -> dict[str, Any] | None:
    """An event; None for a line that is none, which a library may print."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None

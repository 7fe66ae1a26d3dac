"""Starting and ending server programs, each by its own pid."""

import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.support.wait import eventually


def free_ports(count: int = 1) -> list[int]:
    """Ports of the loopback address that nobody listens on now; all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def listens(port: int) -> bool:
    """Whether someone accepts connections on a loopback port."""
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Program:
    """One server program: its log in a file, its readiness polled, its end by its own pid."""

    def __init__(self, command: list[str], log: Path, ready: Callable[[], bool], timeout: float = 30) -> None:
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            eventually(lambda: self._died() or ready(), timeout)
        except BaseException:
            self.kill()
            raise
        if self._died():
            raise RuntimeError(f"{command[0]} ended at once:\n{log.read_text(errors='replace')[-2000:]}")

    def _died(self) -> bool:
        return self.process.poll() is not None

    def stop(self, timeout: float = 10) -> None:
        """Asks it to end, and ends it when it does not."""
        self.process.terminate()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL: no last words."""
        self.process.kill()
        self.process.wait()

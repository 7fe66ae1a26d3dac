from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.cli import output
from shared.cli.main import execute
from tests.integration.client.servers import Fleet

SERVICES = ("INFERENCE", "INGESTION", "CONTROL")


@dataclass(frozen=True)
class Outcome:
    """What a command line left: its exit code and what it printed."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fleet]:
    """Servers that the commands find by their addresses."""
    fleet = Fleet()
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path / "home"))
    for service in SERVICES:
        monkeypatch.setenv(f"FLYWHEEL_{service}_ADDRESS", fleet.address)
    yield fleet
    fleet.stop()


@pytest.fixture
def flywheel(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line in this process."""

    def run(*arguments: str) -> Outcome:
        output.console.cache_clear()
        code = execute(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run

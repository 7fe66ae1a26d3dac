"""A whole platform in a folder of its own, started and stopped as a person would."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from shared.client.client import FlywheelClient
from shared.client.operations import Job, ModelVersion
from tests.support.wait import eventually

COMMAND = [str(Path(sys.executable).with_name("flywheel"))]
FAST = {
    "FLYWHEEL_LEASE_SECONDS": "3",
    "FLYWHEEL_CHECKPOINT_SECONDS": "1",
    "FLYWHEEL_REDELIVERY_SECONDS": "5",
    "FLYWHEEL_THREADS": "1",  # two tests at once, each with threads that wait for one another, take four times as long
}


class Platform:
    """`flywheel up --detach` on `home`; `settings` are extra environment variables."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        known = {name: value for name, value in os.environ.items() if not name.startswith("FLYWHEEL_")}
        self.environment = {**known, **FAST, **settings, "FLYWHEEL_HOME": str(home)}

    def start(self) -> "Platform":
        done = self.cli("up", "--detach", timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()
        return self

    def stop(self) -> None:
        done = self.cli("down", timeout=90)
        assert done.returncode == 0, done.stdout + done.stderr

    def cli(self, *arguments: str, timeout: float = 60, input: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments], env=self.environment, capture_output=True, text=True, timeout=timeout, input=input
        )

    def json(self, *arguments: str) -> Any:
        """What a reading command says with --json."""
        done = self.cli(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def client(self) -> FlywheelClient:
        return FlywheelClient.from_environment(home=self.home, timeout=60, patience=60)

    def pid(self, service: str) -> int:
        """Of a running service, as the manager knows it."""
        found: int = self.json("status")["services"][service]["pid"]
        return found

    def kill(self, service: str) -> None:
        """SIGKILL to a service, and waits until the manager has brought it back."""
        before = self.pid(service)
        os.kill(before, signal.SIGKILL)
        eventually(lambda: self.pid(service) not in (0, before) and self.json("status")["ready"], timeout=60)

    def training_process(self) -> psutil.Process | None:
        """The process that trains now: a child of finetuning's worker that has a spec."""
        for child in psutil.Process(self.pid("finetuning")).children(recursive=True):
            try:
                if any(name.endswith("/rows.log") for name in (file.path for file in child.open_files())):
                    return child
            except psutil.Error:
                continue
        return None

    def logs(self) -> str:
        """The last lines of every log, for a failed test."""
        tails = ((path.name, path.read_text(errors="replace")[-3000:]) for path in (self.home / "logs").glob("*.log"))
        return "\n".join(f"== {name}\n{tail}" for name, tail in tails)


def wait_for_champion(client: FlywheelClient, model: str, version: int, timeout: float = 180) -> ModelVersion:
    """Waits until a version is champion; fails at once when it is refused or its job failed."""

    def champion() -> ModelVersion | None:
        failed = [job for job in client.jobs(model) if job.state == "failed"]
        refused = [known for known in client.model_versions(model) if known.state == "refused"]
        if failed or any(known.version == version for known in refused):
            raise RuntimeError(f"{model} {version}: {failed} {refused}")
        found = [known for known in client.model_versions(model) if known.version == version]
        return found[0] if found and found[0].state == "champion" else None

    found = eventually(champion, timeout, interval=0.2)
    assert found is not None
    return found


def wait_for_job(client: FlywheelClient, pipeline: str, *states: str, timeout: float = 90) -> Job:
    """Waits until the pipeline's newest job is in one of the states."""

    def reached() -> Job | None:
        jobs = client.jobs(pipeline)
        return jobs[0] if jobs and jobs[0].state in states else None

    found = eventually(reached, timeout, interval=0.1)
    assert found is not None
    return found


def wait_until_served(client: FlywheelClient, model: str, version: int, timeout: float = 60) -> None:
    """Waits until inference answers for the champion with a version."""

    def served() -> bool:
        return any(
            (held.model, held.version, held.state) == (model, version, "ready") and "champion" in held.aliases
            for held in client.deployments()
        )

    eventually(served, timeout, interval=0.1)

"""Waiting for the loop to turn, with a bar for every wait and a reason when it does not."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from shared.cli.demo import knobs
from shared.cli.output import console
from shared.cli.watching import facts_of, training_progress
from shared.client import FlywheelClient
from shared.client.answers import Deployment
from shared.client.operations import Job, JobEvent, Report
from shared.errors import FlywheelError, NotFound, Unavailable

T = TypeVar("T")
POLL_SECONDS = 0.2


class DemoFailed(FlywheelError):
    """The story did not go as told; the message says where and why."""


@dataclass(frozen=True)
class Turn:
    """One turn of the wheel: a job, what it made, and how that was judged."""

    job: Job
    events: list[JobEvent]
    report: Report

    @property
    def train_seconds(self) -> float:
        return _between(self.job)

    @property
    def compute_seconds(self) -> float:
        """Training and evaluation."""
        return self.train_seconds + self.report.took


def wait_for(what: str, seconds: float, check: Callable[[], T | None]) -> T:
    """Polls until `check` gives something, under a spinner; raises DemoFailed naming what did not come."""
    began = time.monotonic()
    with console().status(what) as waiting:
        while (passed := time.monotonic() - began) < seconds:
            waiting.update(f"{what} · {passed:.0f} s")
            try:
                found = check()
            except (NotFound, Unavailable):
                found = None
            if found is not None:
                return found
            time.sleep(POLL_SECONDS)
    raise DemoFailed(f"{what}: not within {seconds:.0f} s")


def follow_turn(client: FlywheelClient, pipeline: str, earlier_jobs: set[str]) -> Turn:
    """Waits for the job that the trigger starts, follows its training, waits for the verdict."""
    job = wait_for(
        "rows are sealed into a dataset version; the trigger decides",
        knobs.SEAL_SECONDS,
        lambda: next((job for job in client.jobs(pipeline) if job.id not in earlier_jobs), None),
    )
    events = _follow_training(client, job)
    job = client.job(job.id)
    if job.state != "succeeded":
        raise DemoFailed(f"job {job.id} of {pipeline} ended {job.state}: {job.reason}")
    report = wait_for(
        f"version {job.model_version} is judged on rows it never saw",
        knobs.JUDGE_SECONDS,
        lambda: client.report(pipeline, job.model_version),
    )
    return Turn(job, events, report)


def wait_until_served(client: FlywheelClient, pipeline: str, turn: Turn) -> Deployment:
    """Waits until the judged version is champion and answers; raises DemoFailed when the gate refused it."""
    if turn.report.verdict != "pass":
        why = "; ".join(reason.message for reason in turn.report.reasons if not reason.passed)
        raise DemoFailed(f"{pipeline} v{turn.job.model_version} was expected to pass the gate, and did not: {why}")

    def served() -> Deployment | None:
        for deployment in client.deployments():
            mine = deployment.model == pipeline and deployment.version == turn.job.model_version
            if mine and deployment.state == "ready" and "champion" in deployment.aliases:
                return deployment
        return None

    return wait_for(f"version {turn.job.model_version} is promoted and loaded", knobs.SERVE_SECONDS, served)


def _follow_training(client: FlywheelClient, job: Job) -> list[JobEvent]:
    deadline = time.monotonic() + knobs.TRAIN_SECONDS
    events = []
    with training_progress(transient=True) as progress:
        bar = progress.add_task("  waiting", total=None, facts="")
        for event in client.watch(job.id):
            events.append(event)
            now = event.job
            progress.update(
                bar, description="  training", total=now.total_steps or None, completed=now.step, facts=facts_of(now)
            )
            if time.monotonic() > deadline:
                raise DemoFailed(f"job {job.id}: training took more than {knobs.TRAIN_SECONDS:.0f} s")
    return events


def _between(job: Job) -> float:
    if job.started_at is None or job.finished_at is None:
        return 0.0
    return (job.finished_at - job.started_at).total_seconds()

"""Priority, budgets, estimates and heartbeats on the command line."""

import json
from datetime import datetime

import pytest

from tests.integration.cli.conftest import Command
from tests.integration.client.servers import Fleet


def test_train_sends_its_priority_only_when_it_has_one(fleet: Fleet, flywheel: Command) -> None:
    assert flywheel("train", "sentiment", "--priority", "-5").code == 0
    assert flywheel("train", "sentiment").code == 0
    given, absent = fleet.control.orders
    assert (given.priority, absent.HasField("priority")) == (-5, False)
    assert flywheel("train", "sentiment", "--priority", "101").code == 2


def test_resume_sends_a_larger_budget_and_the_declaration(fleet: Fleet, flywheel: Command) -> None:
    budget = ("--budget", "seconds=2h", "--budget", "steps=500", "--budget", "cost=7.5")
    assert flywheel("resume", "job-1", *budget, "--allow-revision").code == 0
    assert flywheel("resume", "job-1").out == "job job-1 is queued\n"
    first, second = fleet.control.resumed
    assert (first.budget.seconds, first.budget.steps, first.budget.cost, first.allow_revision) == (7200, 500, 7.5, True)
    assert (second.budget.ListFields(), second.allow_revision) == ([], False)


@pytest.mark.parametrize("budget", ["seconds", "seconds=soon", "steps=1.5", "epochs=3", "=4"])
def test_a_budget_that_says_nothing_is_wrong_usage(fleet: Fleet, flywheel: Command, budget: str) -> None:
    assert flywheel("resume", "job-1", "--budget", budget).code == 2
    assert fleet.control.resumed == []


def test_jobs_shows_when_a_job_will_be_done_when_it_was_heard_and_what_it_waits_for(
    fleet: Fleet, flywheel: Command
) -> None:
    shown = flywheel("jobs").out
    for seconds in (1_700_003_600, 1_700_000_009):
        assert f"{datetime.fromtimestamp(seconds).astimezone():%H:%M:%S}" in shown
    assert "waiting for a cuda worker; none has been heard" in shown
    running, waiting = json.loads(flywheel("jobs", "--json").out)
    assert (running["spent"]["cost"], running["estimated_finish"]) == (7.5, "2023-11-14T23:13:20+00:00")
    assert (waiting["spent"], waiting["estimated_finish"]) == (None, None)


def test_status_shows_the_training_workers(fleet: Fleet, flywheel: Command) -> None:
    shown = flywheel("status").out
    assert "machine:7" in shown
    assert "1.0+abc" in shown
    (worker,) = json.loads(flywheel("status", "--json").out)["training_workers"]
    assert (worker["name"], worker["device"], worker["job"]) == ("machine:7", "cpu", "job-1")

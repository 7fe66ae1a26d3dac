"""Clones, changed settings and verification on the command line."""

import json

import pytest

from tests.integration.cli.conftest import Command
from tests.integration.client.servers import Fleet


def test_train_sends_a_clone_and_its_changes(fleet: Fleet, flywheel: Command) -> None:
    changes = ("--set", "method.learning_rate=1e-4", "--set", "seed=3", "--set", "method.schedule=cosine")
    assert flywheel("train", "sentiment", "--clone", "job-1", *changes).code == 0
    (order,) = fleet.control.orders
    assert order.clone_of == "job-1"
    assert dict(order.changes) == {"method.learning_rate": "1e-4", "seed": 3, "method.schedule": "cosine"}


@pytest.mark.parametrize("pairs", [("--set", "seed"), ("--set", "=3"), ("--set", "seed=1", "--set", "seed=2")])
def test_a_setting_that_says_nothing_is_wrong_usage(fleet: Fleet, flywheel: Command, pairs: tuple[str, ...]) -> None:
    assert flywheel("train", "sentiment", *pairs).code == 2
    assert fleet.control.orders == []


def test_verify_follows_the_job_and_its_exit_code_is_the_verdict(fleet: Fleet, flywheel: Command) -> None:
    same = flywheel("verify", "sentiment")
    assert (same.code, "trains sentiment v7 again" in same.out, "progress" in same.out) == (0, True, True)
    fleet.control.verdict = "differs"
    assert flywheel("verify", "sentiment", "3").code == 1
    started = flywheel("verify", "sentiment", "3", "--detach", "--json")
    assert (started.code, json.loads(started.out)["verifies"]) == (0, 3)

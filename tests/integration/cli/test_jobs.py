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


def test_search_tells_of_every_trial_and_how_it_ended(fleet: Fleet, flywheel: Command) -> None:
    space = ("--space", "method.learning_rate=log:1e-5..1e-3", "--space", "method.batch_size=[16, 32]")
    done = flywheel("search", "sentiment", "--trials", "2", "--no-pruning", "--seed", "7", *space)
    assert done.code == 0
    (plan,) = fleet.control.plans
    assert plan == {
        "trials": 2,
        "pruning": False,
        "seed": 7,
        "space": {"method.learning_rate": "log:1e-5..1e-3", "method.batch_size": [16, 32]},
    }
    lines = done.out.splitlines()
    assert lines[1] == "trial 0 complete loss 0.5: method.learning_rate=1 (best: trial 0, 0.5)"
    assert lines[2] == "trial 1 complete loss 0.25: method.learning_rate=0.1 (best: trial 1, 0.25)"
    assert lines[-1].startswith("search search-1 succeeded: trial 1 of search-1 was best")


def test_searches_are_listed_shown_and_cancelled(fleet: Fleet, flywheel: Command) -> None:
    assert "search-1" in flywheel("searches").out
    shown = flywheel("searches", "search-1")
    assert (shown.code, "method.learning_rate" in shown.out) == (0, True)
    assert json.loads(flywheel("searches", "search-1", "--cancel", "--json").out)["state"] == "cancelled"
    assert flywheel("searches", "--cancel").code == 2
    assert flywheel("search", "sentiment", "--space", "nothing").code == 2

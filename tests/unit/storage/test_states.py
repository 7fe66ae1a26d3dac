"""The tables of legal transitions."""

import pytest

from shared.errors import IllegalTransition
from shared.storage import states
from shared.storage.states import Transitions, check_transition

TABLES = {name: table for name, table in vars(states).items() if name.endswith("_STATES")}


@pytest.mark.parametrize("name", TABLES)
def test_every_state_that_can_follow_is_in_its_table(name: str) -> None:
    table: Transitions = TABLES[name]
    assert {after for following in table.values() for after in following} <= set(table)


@pytest.mark.parametrize("name", TABLES)
def test_no_state_follows_itself(name: str) -> None:
    table: Transitions = TABLES[name]
    assert [state for state, following in table.items() if state in following] == []


def test_a_job_that_succeeded_or_was_cancelled_stays_so_and_a_failed_one_is_only_queued_again() -> None:
    assert {state: states.JOB_STATES[state] for state in states.JOB_ENDED} == {
        "succeeded": frozenset(),
        "cancelled": frozenset(),
        "failed": frozenset({"queued"}),
    }


@pytest.mark.parametrize(
    ("before", "after"), [("queued", "running"), ("running", "queued"), ("running", "pausing"), ("paused", "queued")]
)
def test_a_legal_transition_passes(before: str, after: str) -> None:
    check_transition(states.JOB_STATES, "job-1", before, after)


def test_an_illegal_transition_names_what_can_follow() -> None:
    with pytest.raises(IllegalTransition, match=r"job-1 is paused and can't become running; .*: cancelled, queued"):
        check_transition(states.JOB_STATES, "job-1", "paused", "running")
    with pytest.raises(IllegalTransition, match="nothing"):
        check_transition(states.JOB_STATES, "job-1", "succeeded", "queued")


def test_a_version_is_never_champion_without_a_blessing() -> None:
    table = states.MODEL_VERSION_STATES
    assert {state for state, following in table.items() if "champion" in following} == {
        "candidate",
        "superseded",
        "rolled_back",
    }
    assert {state for state, following in table.items() if "blessed" in following} == {"evaluated", "candidate"}
    assert table["refused"] == frozenset()

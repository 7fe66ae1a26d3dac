"""Who answers, who stays warm and who may go."""

import threading

import pytest

from services.inference.deployments.deployment import DeploymentView, State
from services.inference.deployments.registry import Registry
from services.inference.models.lineage import Key, VersionRecord
from shared.errors import FailedPrecondition, Unavailable
from tests.support.wait import eventually
from tests.unit.inference.deployments.fakes import held


def state(registry: Registry, key: Key) -> State | None:
    found = registry.state(key)
    return found.state if found else None


def test_the_champion_before_stays_warm_and_the_one_before_that_may_go() -> None:
    registry = Registry()
    keys = [held(registry, version)[0] for version in (1, 2, 3)]
    for key in keys:
        registry.switch(key, "champion", None)
    assert registry.serving("mood", "champion") == keys[2]
    assert [state(registry, key) for key in keys] == [State.WARM, State.WARM, State.READY]
    assert registry.superfluous(set()) == [keys[0]]


def test_a_version_that_an_alias_is_about_to_point_at_stays() -> None:
    registry = Registry()
    key, _ = held(registry, 1)
    assert registry.superfluous({key}) == []
    assert registry.superfluous(set()) == [key]


def test_a_held_version_is_closed_only_when_its_requests_are_done() -> None:
    registry = Registry()
    key, served = held(registry, 1)
    with registry.hold(lambda: key):
        assert not registry.free(key)
        assert state(registry, key) is State.DRAINING
        assert not served.closed
        with pytest.raises(Unavailable), registry.hold(lambda: key):
            pass
    assert registry.free(key)
    assert served.closed
    assert registry.state(key) is None


def test_versions_on_demand_stay_until_their_memory_is_needed() -> None:
    registry = Registry()
    keys = [held(registry, version, on_demand=True)[0] for version in (1, 2, 3)]
    with registry.hold(lambda: keys[0]):
        pass
    assert registry.superfluous(set()) == []
    assert registry.make_room(Key("mood", 4), need=100, limit=300, targets=set(), seconds=0) == [keys[1]]
    assert [one.key for one in registry.views()] == [keys[0], keys[2]]


def test_a_failed_load_is_tried_again_only_after_a_while() -> None:
    registry = Registry()
    record = VersionRecord(Key("mood", 1), "classification", "base")
    assert registry.start_loading(record)
    registry.failed(record.key, "no such file")
    assert not registry.start_loading(record)
    found = registry.state(record.key)
    assert found is not None
    assert (found.state, found.error) == (State.FAILED, "no such file")


def test_an_operator_can_not_unload_what_an_alias_needs() -> None:
    registry = Registry()
    key, _ = held(registry, 1)
    registry.switch(key, "champion", None)
    with pytest.raises(FailedPrecondition, match="answers for champion"):
        registry.unload(key)


def test_waiting_for_idle_ends_when_the_last_request_does() -> None:
    registry = Registry()
    key, _ = held(registry, 1)
    release = threading.Event()

    def use() -> None:
        with registry.hold(lambda: key):
            release.wait(10)

    user = threading.Thread(target=use)
    user.start()
    eventually(lambda: registry.wait_idle(0) == 1)
    release.set()
    assert registry.wait_idle(10) == 0
    user.join()


def test_every_change_is_told() -> None:
    seen: list[DeploymentView] = []
    registry = Registry(seen.append)
    key, _ = held(registry, 1)
    registry.switch(key, "champion", 0.5)
    assert [(one.state, one.aliases, one.swap_seconds) for one in seen] == [
        (State.LOADING, (), None),
        (State.READY, (), None),
        (State.READY, ("champion",), 0.5),
    ]

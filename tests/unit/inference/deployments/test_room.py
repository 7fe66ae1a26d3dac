"""Who gives way for whom when memory is short. Each version takes 100 bytes."""

import threading

import pytest

from services.inference.deployments.deployment import State
from services.inference.deployments.registry import Registry
from services.inference.models.lineage import Key
from services.inference.models.traffic import Share, Traffic
from shared.errors import FailedPrecondition, ResourceExhausted
from tests.support.wait import eventually
from tests.unit.inference.deployments.fakes import held

NEW = Key("mood", 9)


def loaded(registry: Registry) -> list[int]:
    return [one.key.version for one in registry.views()]


def test_nothing_goes_while_there_is_room() -> None:
    registry = Registry()
    held(registry, 1, on_demand=True)
    assert registry.make_room(NEW, need=100, limit=200, targets=set(), seconds=0) == []
    assert loaded(registry) == [1]


def test_the_least_used_go_first_and_only_as_many_as_needed() -> None:
    registry = Registry()
    keys = [held(registry, version, on_demand=True)[0] for version in (1, 2, 3)]
    for key in (keys[1], keys[0]):
        with registry.hold(lambda key=key: key):  # type: ignore[misc]
            pass
    assert registry.make_room(NEW, need=200, limit=300, targets=set(), seconds=0) == [keys[2], keys[1]]
    assert loaded(registry) == [1]


def test_aliases_traffic_and_pinned_versions_stay() -> None:
    registry = Registry()
    champion, sharing, pinned, loose = (held(registry, version, on_demand=True)[0] for version in (1, 2, 3, 4))
    registry.switch(champion, "champion", None)
    registry.pin(pinned, True)
    assert registry.make_room(NEW, need=100, limit=400, targets={sharing}, seconds=0) == [loose]
    with pytest.raises(ResourceExhausted) as refused:
        registry.make_room(NEW, need=100, limit=300, targets={sharing}, seconds=0)
    assert refused.value.metadata == {"need": "100", "free": "0", "limit": "300"}
    assert "mood version 9 needs 100 bytes" in refused.value.message
    assert loaded(registry) == [1, 2, 3]


def test_the_version_before_is_kept_for_rollback_until_nothing_else_can_go() -> None:
    registry = Registry()
    before, champion, loose = (held(registry, version, on_demand=True)[0] for version in (1, 2, 3))
    registry.switch(before, "champion", None)
    registry.switch(champion, "champion", None)
    assert registry.make_room(NEW, need=100, limit=300, targets=set(), seconds=0) == [loose]
    assert registry.make_room(NEW, need=100, limit=200, targets=set(), seconds=0) == [before]


def test_nothing_goes_for_a_version_that_will_not_fit_anyway() -> None:
    registry = Registry()
    held(registry, 1, on_demand=True)
    with pytest.raises(ResourceExhausted):
        registry.make_room(NEW, need=301, limit=300, targets=set(), seconds=0)
    assert loaded(registry) == [1]


def test_a_version_that_gives_way_finishes_its_requests_first() -> None:
    registry = Registry()
    key, served = held(registry, 1, on_demand=True)
    holding = registry.hold(lambda: key)
    holding.__enter__()
    gone: list[list[Key]] = []
    room = threading.Thread(target=lambda: gone.append(registry.make_room(NEW, 100, 100, set(), seconds=10)))
    room.start()
    eventually(lambda: [one.state for one in registry.views()] == [State.DRAINING])
    assert not served.closed
    holding.__exit__(None, None, None)
    room.join(10)
    assert gone == [[key]]
    assert served.closed


def test_a_request_that_never_ends_refuses_the_load_and_not_the_server() -> None:
    registry = Registry()
    key, _ = held(registry, 1, on_demand=True)
    with registry.hold(lambda: key), pytest.raises(ResourceExhausted, match="still answers requests"):
        registry.make_room(NEW, need=100, limit=100, targets=set(), seconds=0.05)


def test_a_version_on_its_way_out_is_taken_back_when_it_is_wanted_again() -> None:
    registry = Registry()
    key, served = held(registry, 1)
    with registry.hold(lambda: key):
        registry.free(key)
        record = registry._deployments[key].record
        assert not registry.start_loading(record)
        assert registry.answers(key)
    assert not served.closed


def test_an_operator_can_not_unload_what_traffic_names() -> None:
    registry = Registry()
    key, _ = held(registry, 1)
    registry.share({"mood": Traffic("mood", shares=(Share(1, 0.5),))})
    with pytest.raises(FailedPrecondition, match="SetTraffic"):
        registry.unload(key)


def test_a_dead_engine_is_told_and_so_is_its_return() -> None:
    seen: list[bool] = []
    registry = Registry(lambda deployment: seen.append(deployment.healthy))
    key, served = held(registry, 1)
    registry.switch(key, "champion", None)
    for healthy in (False, False, True):
        served.healthy = healthy
        registry.check_health()
        assert registry.healthy("mood") is healthy
    assert seen[-2:] == [False, True]
    assert not registry.healthy("nobody")

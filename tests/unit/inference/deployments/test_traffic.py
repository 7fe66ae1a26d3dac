"""Which version a request goes to, and what may be asked for."""

import math

import pytest

from services.inference.deployments.registry import Registry
from services.inference.models.lineage import Key
from services.inference.models.traffic import Share, Traffic, check_traffic
from shared.errors import InvalidArgument
from tests.unit.inference.deployments.fakes import held

IDS = [f"request-{number}" for number in range(4000)]


def test_the_same_request_id_always_goes_to_the_same_version() -> None:
    traffic = Traffic("mood", shares=(Share(2, 0.3), Share(3, 0.2)))
    assert [traffic.chosen(one) for one in IDS] == [traffic.chosen(one) for one in IDS]


def test_versions_get_their_shares_and_the_champion_the_rest() -> None:
    traffic = Traffic("mood", shares=(Share(2, 0.3), Share(3, 0.2)))
    chosen = [traffic.chosen(one) for one in IDS]
    for version, share in ((2, 0.3), (3, 0.2), (None, 0.5)):
        assert chosen.count(version) / len(IDS) == pytest.approx(share, abs=0.03)


def test_shares_that_sum_to_one_leave_the_champion_nothing() -> None:
    traffic = Traffic("mood", shares=tuple(Share(version, 0.1) for version in range(2, 12)))
    check_traffic(traffic, set(range(1, 12)), champion=1)
    assert None not in {traffic.chosen(one) for one in IDS}


def test_shadows_are_drawn_apart_from_shares() -> None:
    traffic = Traffic("mood", shares=(Share(2, 0.5),), shadows=(Share(3, 0.5), Share(4, 1.0)))
    both = sum(traffic.chosen(one) == 2 and 3 in traffic.copied(one) for one in IDS)
    assert both / len(IDS) == pytest.approx(0.25, abs=0.03)
    assert all(4 in traffic.copied(one) for one in IDS)


@pytest.mark.parametrize(
    ("traffic", "words"),
    [
        (Traffic("mood", shares=(Share(7, 0.1),)), "shares[0].version is 7; the model has no such version"),
        (Traffic("mood", shares=(Share(2, 1.1),)), "shares[0].share is 1.1"),
        (Traffic("mood", shares=(Share(2, 0.0),)), "shares[0].share is 0"),
        (Traffic("mood", shares=(Share(2, -0.1),)), "shares[0].share is -0.1"),
        (Traffic("mood", shares=(Share(2, math.nan),)), "shares[0].share is nan"),
        (Traffic("mood", shares=(Share(2, 0.6), Share(3, 0.6))), "shares sum to 1.2"),
        (Traffic("mood", shares=(Share(2, 0.1), Share(2, 0.1))), "shares[1].version is 2 for the second time"),
        (Traffic("mood", shadows=(Share(2, 0.1), Share(2, 0.1))), "shadows[1].version is 2 for the second time"),
        (Traffic("mood", shadows=(Share(3, math.inf),)), "shadows[0].share is inf"),
        (Traffic("mood", shares=(Share(1, 0.1),)), "shares[0].version is 1, the champion"),
        (Traffic("mood", shares=(Share(2, 0.01),) * 17), "shares has 17 entries"),
    ],
)
def test_what_can_not_be_is_refused_by_name(traffic: Traffic, words: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_traffic(traffic, {1, 2, 3}, champion=1)
    assert words in refused.value.message
    assert refused.value.metadata["field"] in words


def test_a_share_falls_to_the_champion_while_its_version_does_not_answer() -> None:
    registry = Registry()
    champion, _ = held(registry, 1)
    registry.switch(champion, "champion", None)
    registry.share({"mood": Traffic("mood", shares=(Share(2, 1.0),))})
    assert registry.route("mood", "champion", "r") == champion
    other, served = held(registry, 2)
    assert registry.route("mood", "champion", "r") == other
    assert registry.route("mood", "candidate", "r") is None
    served.healthy = False
    registry.check_health()
    assert registry.route("mood", "champion", "r") == champion


def test_shares_show_on_the_versions_that_answer() -> None:
    registry = Registry()
    for version in (1, 2):
        held(registry, version)
    registry.switch(Key("mood", 1), "champion", None)
    registry.share({"mood": Traffic("mood", shares=(Share(2, 0.25),), shadows=(Share(2, 0.5),))})
    assert [(one.share, one.shadow_share) for one in registry.views()] == [(0.0, 0.0), (0.25, 0.5)]

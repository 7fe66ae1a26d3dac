"""Token buckets, on a clock of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ResourceExhausted
from shared.rpc.quotas import Allowance, Quota


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def refused(quota: Quota) -> ResourceExhausted:
    with pytest.raises(ResourceExhausted) as caught:
        quota.enter()
    return caught.value


def test_a_burst_passes_and_then_the_rate_counts() -> None:
    clock = Clock()
    quota = Quota("acme", Allowance(requests_per_second=2, burst=3), clock)
    for _ in range(3):
        quota.enter()
    error = refused(quota)
    assert error.retry_seconds == pytest.approx(0.5)
    assert error.metadata == {"tenant": "acme", "quota": "requests_per_second"}
    clock.now += error.retry_seconds
    quota.enter()
    refused(quota)


def test_a_pause_gives_no_more_than_the_burst() -> None:
    clock = Clock()
    quota = Quota("acme", Allowance(requests_per_second=10, burst=2), clock)
    clock.now += 3600
    quota.enter()
    quota.enter()
    refused(quota)


def test_a_rate_below_one_a_second_lets_one_in() -> None:
    clock = Clock()
    quota = Quota("acme", Allowance(requests_per_second=0.1), clock)
    quota.enter()
    assert refused(quota).retry_seconds == pytest.approx(10)


def test_tokens_are_counted_after_the_answer_and_debts_are_waited_for() -> None:
    clock = Clock()
    quota = Quota("acme", Allowance(tokens_per_minute=600), clock)
    quota.enter()
    quota.charge(700)
    error = refused(quota)
    assert error.metadata["quota"] == "tokens_per_minute"
    assert error.retry_seconds == pytest.approx(10.1)
    clock.now += error.retry_seconds
    quota.enter()


def test_calls_at_once_are_limited_and_a_refused_one_takes_nothing() -> None:
    quota = Quota("acme", Allowance(concurrent=1, requests_per_second=1, burst=2), Clock())
    quota.enter()
    assert refused(quota).metadata["quota"] == "concurrent"
    quota.leave()
    quota.enter()


def test_more_requests_of_a_call_count_for_the_rate_but_take_no_place() -> None:
    quota = Quota("acme", Allowance(concurrent=1, requests_per_second=1, burst=3), Clock())
    quota.enter()
    quota.again()
    quota.again()
    with pytest.raises(ResourceExhausted, match="1 requests a second"):
        quota.again()


def test_new_limits_keep_the_count_of_calls_that_run() -> None:
    quota = Quota("acme", Allowance(concurrent=2), Clock())
    quota.enter()
    quota.adopt(Allowance(concurrent=1))
    refused(quota)
    quota.leave()
    quota.enter()


@given(st.lists(st.floats(0, 5), max_size=50), st.floats(0.1, 20), st.integers(1, 10))
def test_never_more_than_burst_and_rate_together_allow(pauses: list[float], rate: float, burst: int) -> None:
    clock = Clock()
    quota = Quota("acme", Allowance(requests_per_second=rate, burst=burst), clock)
    passed, waits = 0, list[float]()
    for pause in pauses:
        clock.now += pause
        try:
            quota.enter()
            passed += 1
        except ResourceExhausted as error:
            waits.append(error.retry_seconds)
    assert all(0 < wait <= 1 / rate + 1e-6 for wait in waits)
    assert passed <= burst + rate * sum(pauses) + 1e-6

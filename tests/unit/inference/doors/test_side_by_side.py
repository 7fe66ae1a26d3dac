"""The order of things in a stream of requests, without gRPC."""

import threading
from collections.abc import Generator, Iterator

import pytest

from services.inference.answering.asking import OnGone
from services.inference.doors.side_by_side import AT_ONCE, UNREAD, SideBySide
from shared.errors import PermissionDenied
from tests.support.wait import eventually


def never() -> None:
    raise AssertionError("nobody is to be given up here")


def test_at_most_so_many_requests_are_answered_at_once_and_all_are_in_the_end() -> None:
    running, most, lock = 0, 0, threading.Lock()
    full = threading.Event()

    def answer(number: int, request: int, on_gone: OnGone) -> Generator[int, None, None]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if running == AT_ONCE:
            full.set()
        assert full.wait(10)
        with lock:
            running -= 1
        yield number * request

    found = list(SideBySide(answer, never).parts(iter(range(3 * AT_ONCE))))
    assert sorted(found) == [n * n for n in range(3 * AT_ONCE)]
    assert most == AT_ONCE


def test_what_the_requests_raise_ends_the_stream_and_stops_what_runs() -> None:
    stopped = threading.Event()

    def answer(number: int, request: str, on_gone: OnGone) -> Generator[str, None, None]:
        assert on_gone(stopped.set)
        yield request
        assert stopped.wait(10)

    def requests() -> Iterator[str]:
        yield "first"
        raise PermissionDenied("not this one")

    with pytest.raises(PermissionDenied):
        list(SideBySide(answer, never).parts(requests()))
    assert stopped.is_set()


def test_a_reader_that_stops_is_given_up_after_the_patience() -> None:
    given_up, stopped = threading.Event(), threading.Event()

    def answer(number: int, request: int, on_gone: OnGone) -> Generator[int, None, None]:
        on_gone(stopped.set)
        yield from range(10 * UNREAD)

    parts = SideBySide(answer, given_up.set, patience=0.1).parts(iter([1]))
    assert next(parts) == 0
    assert given_up.wait(10)
    assert stopped.wait(10)
    assert list(parts) == []


def test_after_the_end_nothing_may_be_registered() -> None:
    seen: list[bool] = []
    begun, closed = threading.Event(), threading.Event()

    def answer(number: int, request: int, on_gone: OnGone) -> Generator[int, None, None]:
        begun.set()
        assert closed.wait(10)
        seen.append(on_gone(never))
        yield 1

    stream = SideBySide(answer, never)
    reading = threading.Thread(target=lambda: list(stream.parts(iter([1]))))
    reading.start()
    assert begun.wait(10)
    stream.close()
    closed.set()
    reading.join(10)
    eventually(lambda: seen == [False])
    assert not reading.is_alive()

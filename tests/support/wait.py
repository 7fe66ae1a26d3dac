"""Waiting for something that another thread or process does."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T], timeout: float = 60, interval: float = 0.02) -> T:
    """Calls `check` until what it returns is true, and returns that.

    An AssertionError inside `check` counts as "not yet". Fails with the last one, or the last value, at
    the end of `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            seen = check()
            if seen:
                return seen
            failure: AssertionError = AssertionError(f"still {seen!r} after {timeout} s")
        except AssertionError as error:
            failure = error
        if time.monotonic() > deadline:
            raise failure
        time.sleep(interval)

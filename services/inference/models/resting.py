"""Long work in Python that leaves the interpreter to others most of the time.

Libraries load a model in one stretch of 20 to 100 ms of Python. Whoever else needs the interpreter then gets it once
in 5 ms, and the compute thread needs it after every product: answers stand still until the stretch is over. A profile
function sees every call in the thread, often enough to end a stretch after half a millisecond, and costs as much again.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter, sleep, thread_time
from types import FrameType
from typing import Any

WORK_SECONDS = 0.0005
REST = 3.0
"""Seconds of rest for one second of work."""
LONGEST_REST_SECONDS = 0.02  # after a call into C that computed for long


@contextmanager
def resting(busy: Callable[[], bool]) -> Iterator[None]:
    """While `busy`, the calling thread rests three quarters of the time that it computes in Python in the block.

    For calls of libraries only: it rests anywhere, and whoever waits for a lock that the block holds rests with it.
    `busy` is asked in the middle of the block, so it takes no lock either.
    """
    before = sys.getprofile()
    sys.setprofile(_pauses(busy))
    try:
        yield
    finally:
        sys.setprofile(before)


def _pauses(busy: Callable[[], bool]) -> Callable[[FrameType, str, Any], None]:
    until, used = perf_counter() + WORK_SECONDS, thread_time()

    def look(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal until, used
        if perf_counter() < until:
            return
        if busy():
            sleep(min(REST * (thread_time() - used), LONGEST_REST_SECONDS))
        until, used = perf_counter() + WORK_SECONDS, thread_time()

    return look

"""Who loads leaves the interpreter to others; who reads files gives way."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

import pytest

from services.inference.models.reading import NICENESS, Reading
from services.inference.models.resting import LONGEST_REST_SECONDS, REST, WORK_SECONDS, resting
from shared.storage.digests import SETTLED_NANOSECONDS, each_file_once, file_digest
from tests.support.wait import eventually

WORK = 0.05


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each rest would have been."""
    taken = list[float]()
    monkeypatch.setattr("services.inference.models.resting.sleep", taken.append)
    return taken


def work() -> None:
    """Computes in Python for a while, with calls."""
    until = time.thread_time() + WORK
    while time.thread_time() < until:
        pass


def test_three_quarters_of_the_time_are_left_to_others(rests: list[float]) -> None:
    with resting(lambda: True):
        work()
    assert len(rests) > 3
    assert max(rests) <= LONGEST_REST_SECONDS
    assert sum(rests) <= 1.5 * REST * WORK


def test_nobody_rests_while_nothing_else_runs(rests: list[float]) -> None:
    with resting(lambda: False):
        work()
    assert rests == []


def test_it_ends_with_the_block_even_when_that_fails(rests: list[float]) -> None:
    before = sys.getprofile()
    with pytest.raises(ValueError, match="broken"), resting(lambda: True):
        raise ValueError("broken")
    assert sys.getprofile() is before
    rests.clear()
    work()
    assert rests == []


def test_other_threads_do_not_rest(rests: list[float]) -> None:
    thread = threading.Thread(target=work)
    with resting(lambda: True):
        rests.clear()
        thread.start()
        thread.join()
    assert sum(rests) < REST * WORK / 2
    assert WORK_SECONDS < WORK


def test_files_are_read_in_a_thread_that_gives_way_and_shares_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"x")
    eventually(lambda: time.time_ns() - file.stat().st_ctime_ns > 2 * SETTLED_NANOSECONDS)
    reading = Reading()
    with each_file_once():
        there = reading.run(file_digest, file)
        monkeypatch.setattr("hashlib.file_digest", _never)
        assert file_digest(file) == there
    mine = _niceness()
    assert reading.run(_niceness) == (max(mine, NICENESS) if sys.platform == "linux" else mine)
    assert _niceness() == mine


def test_what_goes_wrong_in_that_thread_is_raised_here() -> None:
    with pytest.raises(FileNotFoundError):
        Reading().run(open, "no/such/file")


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def _never(*arguments: object) -> NoReturn:
    raise AssertionError("read again")

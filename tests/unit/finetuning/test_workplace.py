"""One training process at a time in a job's folder, whoever is left in it."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.finetuning.workplace import Workplace
from shared.errors import LeaseLost, Unavailable
from tests.support.wait import eventually

HOLDER = """
import fcntl, os, signal, sys, time
deaf = sys.argv[2] == "deaf"
signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else signal.SIG_DFL)
descriptor = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    made = Workplace(tmp_path, "job-1")
    with made.locked(1, lambda: None):
        pass
    return made


def hold(place: Workplace, how: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", HOLDER, str(place.folder / "lock"), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    process.stdout.close()
    return process


@pytest.mark.parametrize(("how", "code"), [("polite", -15), ("deaf", -9)])
def test_a_process_left_from_a_lost_attempt_is_asked_to_stop_and_then_killed(
    place: Workplace, how: str, code: int
) -> None:
    left = hold(place, how)
    place.note_holder(left.pid)
    with place.locked(1, lambda: None):
        assert left.wait(10) == code


def test_a_folder_held_by_nobody_known_is_given_up_after_a_while(place: Workplace) -> None:
    stranger = hold(place, "polite")
    try:
        with pytest.raises(Unavailable, match="job-1"), place.locked(0.2, lambda: None):
            pass
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_waiting_ends_when_the_lease_is_lost(place: Workplace) -> None:
    def lost() -> None:
        raise LeaseLost("gone")

    stranger = hold(place, "polite")
    try:
        with pytest.raises(LeaseLost), place.locked(60, lost):
            pass
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_that_got_the_descriptor_holds_the_folder_after_its_supervisor_let_go(place: Workplace) -> None:
    with place.locked(1, lambda: None) as lock:
        child = subprocess.Popen(["sleep", "600"], pass_fds=[lock], start_new_session=True)
        place.note_holder(child.pid)
    with pytest.raises(LeaseLost), place.locked(60, _stop_waiting):
        pass
    child.kill()
    child.wait()
    eventually(lambda: _free(place))


def _stop_waiting() -> None:
    raise LeaseLost("enough")


def _free(place: Workplace) -> bool:
    with place.locked(1, lambda: None):
        return True

"""The manager of an embedded platform, with a real Valkey and small stand-ins for the services."""

import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from shared.config import Settings, load_settings
from shared.embedded import detached, orphans
from shared.embedded.lock import HomeLock
from shared.embedded.manager import Manager
from shared.embedded.plan import PlatformPlan
from shared.embedded.state import PlatformState
from shared.errors import FailedPrecondition, FlywheelError
from tests.integration.embedded.platforms import (
    finish,
    nothing_left,
    process_named,
    ready_state,
    run_manager,
    service,
    small_plan,
)
from tests.support.wait import eventually


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    yield home
    orphans.end(orphans.marked(home), grace_seconds=1)


@contextmanager
def running(settings: Settings, plan: PlatformPlan | None = None) -> Iterator[Manager]:
    """A manager in a thread, ready; stopped at the end."""
    manager = Manager(settings, plan=(lambda _: plan) if plan else small_plan)
    failures: list[BaseException] = []

    def run() -> None:
        with suppress(FlywheelError):
            try:
                manager.run()
            except BaseException as error:
                failures.append(error)
                raise

    thread = threading.Thread(target=run)
    thread.start()
    try:
        eventually(lambda: failures or _mine_is_ready(settings.home))
        yield manager
    finally:
        manager.stop()
        thread.join(30)
        assert not thread.is_alive()


def _mine_is_ready(home: Path) -> bool:
    state = ready_state(home)
    return bool(state and state.pid == os.getpid())


def test_everything_comes_up_and_nothing_is_left_behind(home: Path) -> None:
    settings = load_settings(home=home)
    with running(settings):
        state = PlatformState.read(home)
        assert state is not None
        assert {name: one.ready for name, one in state.services.items()} == {"one": True, "two": True}
        assert all(psutil.pid_exists(one.pid) for one in state.services.values())
        assert "hello" in (home / "logs" / "one.log").read_text()
    assert PlatformState.read(home) is None
    assert nothing_left(home)


def test_the_password_is_in_a_private_file_and_on_no_command_line(home: Path) -> None:
    with running(load_settings(home=home)):
        url = (home / "run" / "broker.url").read_text()
        password = url.split(":")[2].split("@")[0]
        assert len(password) > 20
        for name in ("broker.url", "valkey.conf"):
            assert stat.S_IMODE((home / "run" / name).stat().st_mode) == 0o600
        assert password not in (home / "run" / "platform.json").read_text()
        lines = [" ".join(process.cmdline()) for process in orphans.marked(home)]
        assert lines
        assert not any(password in line for line in lines)


def test_a_killed_service_and_a_killed_queue_come_back_at_their_addresses(home: Path) -> None:
    with running(load_settings(home=home)):
        before = PlatformState.read(home)
        assert before is not None
        os.kill(before.services["one"].pid, signal.SIGKILL)
        process_named(home, "valkey.conf").kill()

        def back() -> bool:
            now = ready_state(home)
            return bool(
                now and now.services["one"].restarts == 1 and now.services["one"].pid != before.services["one"].pid
            )

        eventually(back)
        after = PlatformState.read(home)
        assert after is not None
        assert after.broker == before.broker
        assert "one ended with SIGKILL" in (home / "logs" / "platform.log").read_text()


def test_a_second_platform_on_the_folder_is_refused_by_name(home: Path) -> None:
    settings = load_settings(home=home)
    with running(settings):
        with pytest.raises(FailedPrecondition, match=rf"pid {os.getpid()}"):
            Manager(settings, plan=small_plan).run()
        with pytest.raises(FailedPrecondition, match="already runs"):
            detached.start(settings)
        assert ready_state(home), "the first one goes on"


def test_a_service_that_does_not_start_fails_the_start_with_its_last_words(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.embedded.child.BACKOFF_SECONDS", (0.05,))
    settings = load_settings(home=home)
    broken = service(home, "broken", script="import sys; sys.exit('the cupboard is bare')")
    manager = Manager(settings, plan=lambda _: small_plan(settings, broken))
    with pytest.raises(FailedPrecondition, match="broken does not start: the cupboard is bare"):
        manager.run()
    assert nothing_left(home)
    assert HomeLock(home).holder() is None


def test_a_service_that_ignores_the_signal_is_killed_after_the_grace(home: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + service(home, "stubborn").command[
        2
    ].replace("signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))", "")
    settings = load_settings(home=home)
    plan = small_plan(settings, service(home, "stubborn", script=stubborn))
    with running(settings, plan) as manager:
        manager.stop()
        manager.stop()
    assert nothing_left(home)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(home: Path, number: signal.Signals) -> None:
    manager = run_manager(home)
    eventually(lambda: ready_state(home))
    manager.send_signal(number)
    assert finish(manager) == 0
    assert nothing_left(home)


@pytest.mark.parametrize("delay", [0.5, 0.9, 1.3])
def test_a_signal_while_it_starts_leaves_nothing_behind(home: Path, delay: float) -> None:
    manager = run_manager(home)
    time.sleep(delay)
    manager.send_signal(signal.SIGTERM)
    finish(manager)
    assert nothing_left(home)
    assert PlatformState.read(home) is None


def test_what_a_killed_manager_left_behind_is_ended_by_the_next_one(home: Path) -> None:
    first = run_manager(home)
    eventually(lambda: ready_state(home))
    left = {process.pid for process in orphans.marked(home)}
    assert len(left) == 4, "two services, a grandchild, the queue"
    first.kill()
    finish(first)
    assert {process.pid for process in orphans.marked(home)} == left
    with running(load_settings(home=home)):
        assert not left & {process.pid for process in orphans.marked(home)}
    assert nothing_left(home)


def test_down_stops_a_platform_and_says_when_there_is_none(home: Path) -> None:
    settings = load_settings(home=home)
    assert detached.stop(settings) is False
    manager = run_manager(home)
    reaper = threading.Thread(target=finish, args=(manager,))
    reaper.start()
    eventually(lambda: ready_state(home))
    assert detached.stop(settings) is True
    reaper.join(10)
    assert nothing_left(home)
    assert manager.returncode == 0


def test_down_ends_what_a_killed_manager_left(home: Path) -> None:
    manager = run_manager(home)
    eventually(lambda: ready_state(home))
    manager.kill()
    finish(manager)
    assert detached.stop(load_settings(home=home)) is True
    assert nothing_left(home)

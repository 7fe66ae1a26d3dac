"""The five real services under the command `flywheel`, on a fresh folder."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.config import child_environment
from shared.embedded import orphans
from shared.embedded.plan import SERVICES
from tests.integration.embedded.platforms import ROOT, nothing_left
from tests.support.wait import eventually

START_SECONDS = 150


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    yield home
    orphans.end(orphans.marked(home), grace_seconds=5)


def command(home: Path, *arguments: str, **settings: str) -> "subprocess.Popen[str]":
    environment = {**child_environment(home=home, threads="1", **settings), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "shared.cli.main", *arguments]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def flywheel(home: Path, *arguments: str, **settings: str) -> tuple[int, str, str]:
    process = command(home, *arguments, **settings)
    out, err = process.communicate(timeout=START_SECONDS + 30)
    return process.returncode, out, err


def status(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(flywheel(home, "status", "--json")[1])
    return found


@pytest.mark.timeout(400)
def test_up_serves_survives_a_killed_service_and_goes_down_without_a_trace(home: Path) -> None:
    code, out, err = flywheel(home, "up", "--detach")
    assert (code, err) == (0, "")
    assert "ready" in out

    before = status(home)
    assert before["ready"] is True
    assert sorted(before["services"]) == sorted(SERVICES)

    code, _, err = flywheel(home, "up")
    manager = int((home / "run" / "platform.lock").read_text())
    assert code == 1
    assert err.startswith("error: a platform already runs on")
    assert f"pid {manager}" in err

    killed = before["services"]["control"]
    os.kill(killed["pid"], signal.SIGKILL)

    def back() -> bool:
        now = status(home)
        return bool(now["ready"] and now["services"]["control"]["pid"] != killed["pid"])

    eventually(back, START_SECONDS, interval=0.5)
    assert status(home)["services"]["control"]["address"] == killed["address"]

    code, out, _ = flywheel(home, "down")
    assert (code, out.strip()) == (0, f"stopped: {home}")
    assert nothing_left(home)
    assert flywheel(home, "status")[0] == 3


def test_ctrl_c_while_the_services_start_leaves_nothing_behind(home: Path) -> None:
    process = command(home, "up")
    eventually(lambda: len(orphans.marked(home)) >= 4, 60)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "error: stopped before the platform was ready" in err
    assert "Traceback" not in err.split("error: stopped")[-1]
    assert nothing_left(home)


def test_a_configured_port_in_use_is_told_before_anything_starts(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = flywheel(home, "up", inference_address=address)
    assert code == 1
    assert err == f"error: FLYWHEEL_INFERENCE_ADDRESS={address}: the port is in use; free it, or choose another\n"
    assert nothing_left(home)

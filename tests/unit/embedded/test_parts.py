"""Ports, lock, state, plan and the search for a Valkey."""

import json
import os
import socket
from pathlib import Path

import pytest

from shared.config import load_settings
from shared.embedded import valkey
from shared.embedded.child import describe_exit, is_ready_line
from shared.embedded.lock import HomeLock
from shared.embedded.plan import SERVICES, make_plan, threads_for
from shared.embedded.ports import RANGE, Ports
from shared.embedded.state import PlatformState, ServiceState
from shared.errors import FailedPrecondition, InvalidArgument


def test_ports_are_free_and_given_once() -> None:
    ports = Ports()
    given = {ports.free() for _ in range(20)}
    assert len(given) == 20
    assert all(int(address.rpartition(":")[2]) in RANGE for address in given)


def test_a_configured_port_in_use_is_named_with_its_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(FailedPrecondition, match=f"FLYWHEEL_CONTROL_ADDRESS={address}: the port is in use"):
            Ports().given(address, "FLYWHEEL_CONTROL_ADDRESS")
    assert Ports().given(address, "FLYWHEEL_CONTROL_ADDRESS") == address


def test_a_malformed_address_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="FLYWHEEL_CONTROL_ADDRESS"):
        Ports().given("nonsense", "FLYWHEEL_CONTROL_ADDRESS")


def test_the_lock_names_its_holder_until_it_is_released(tmp_path: Path) -> None:
    lock, other = HomeLock(tmp_path), HomeLock(tmp_path)
    assert other.holder() is None
    lock.take()
    assert other.holder() == os.getpid()
    with pytest.raises(FailedPrecondition, match=f"pid {os.getpid()}"):
        other.take()
    lock.release()
    assert other.holder() is None


def test_the_state_is_read_back_as_written(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    state = PlatformState(str(tmp_path), 7, True, "127.0.0.1:1", {"control": ServiceState("127.0.0.1:2", "u", True, 8)})
    state.write()
    assert PlatformState.read(tmp_path) == state
    assert PlatformState.read(tmp_path / "elsewhere") is None


def test_the_plan_gives_every_service_its_addresses_and_no_secret_on_a_command_line(tmp_path: Path) -> None:
    plan = make_plan(load_settings(home=tmp_path))
    assert [child.name for child in plan.services] == list(SERVICES)
    secret = (tmp_path / "run" / "broker.url").read_text()
    for child in plan.services:
        environment = child.environment
        assert environment["FLYWHEEL_INGESTION_ADDRESS"] == plan.addresses["ingestion"]
        assert environment["FLYWHEEL_BROKER_URL_FILE"] == str(tmp_path / "run" / "broker.url")
        assert secret not in environment.values()
        if plan.addresses[child.name]:
            assert environment["FLYWHEEL_LISTEN"] == plan.addresses[child.name]
    assert plan.addresses["finetuning"] is None
    assert len({*plan.metrics.values()}) == len(SERVICES)


def test_a_configured_broker_replaces_the_embedded_one(tmp_path: Path) -> None:
    plan = make_plan(load_settings(home=tmp_path, broker_url="redis://:secret@queue:6379/0"))
    assert plan.queue == ()
    assert plan.broker == "queue:6379"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("cores", "training", "inference"), [(1, 1, 1), (2, 2, 1), (8, 8, 4)])
def test_training_gets_every_core_and_inference_a_share(cores: int, training: int, inference: int) -> None:
    assert (threads_for("finetuning", cores), threads_for("inference", cores)) == (training, inference)


def test_a_server_on_the_path_comes_before_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert valkey.find_server().name == "valkey-server"
    mine = tmp_path / "redis-server"
    mine.touch(mode=0o755)
    assert valkey.find_server() == mine


def test_without_any_server_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(valkey, "WHEEL", "no-such-package")
    with pytest.raises(FailedPrecondition, match="pip install"):
        valkey.find_server()


def test_only_the_services_own_ready_line_counts() -> None:
    line = json.dumps({"service": "control", "address": None, "metrics": "http://x", "pid": 1})
    assert is_ready_line(line, "control")
    assert not is_ready_line(line, "inference")
    assert not is_ready_line('{"event": "ready", "service": "control"}', "control")
    assert not is_ready_line("{", "control")


def test_an_exit_is_told_by_code_or_by_signal() -> None:
    assert (describe_exit(3), describe_exit(-9)) == ("exit code 3", "SIGKILL")

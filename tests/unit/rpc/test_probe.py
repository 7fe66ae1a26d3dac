"""The health check of containers: its exit code says whether a server serves."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import start_http_server

from shared.rpc import probe
from shared.rpc.server import Server

ROOT = Path(__file__).resolve().parents[3]


def test_a_server_that_serves_is_well_until_it_drains() -> None:
    server = Server("127.0.0.1:0", threads=1)
    server.start()
    assert probe.main(server.address) == 0
    server.set_serving(False)
    assert probe.main(server.address) == 1
    server.stop(0)
    assert not probe.is_serving(server.address, 0.5)


def test_a_page_that_answers_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    server, thread = start_http_server(0, "127.0.0.1")
    url = f"http://127.0.0.1:{server.server_port}/metrics"
    assert probe.main(url) == 0
    server.shutdown()
    server.server_close()
    thread.join()
    assert probe.main(url) == 1


def test_as_a_command_it_fails_where_nothing_listens() -> None:
    asked = subprocess.run([sys.executable, "-m", "shared.rpc.probe", "http://127.0.0.1:1/metrics"], cwd=ROOT)
    assert asked.returncode == 1

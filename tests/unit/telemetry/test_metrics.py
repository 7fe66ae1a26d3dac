"""/metrics over HTTP, and the ready line."""

import json
import os
import urllib.request

import pytest

from shared.errors import InvalidArgument, Unavailable
from shared.telemetry.metrics import DEAD_LETTERS, serve_metrics
from shared.telemetry.ready import announce


def test_metrics_are_served_on_a_free_port_and_a_taken_one_is_said_in_words() -> None:
    DEAD_LETTERS.set(3)
    address = serve_metrics("127.0.0.1:0")
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        assert "flywheel_dead_letters 3.0" in answer.read().decode().splitlines()
    with pytest.raises(Unavailable, match="FLYWHEEL_METRICS_LISTEN"):
        serve_metrics(address)
    with pytest.raises(InvalidArgument, match="FLYWHEEL_METRICS_LISTEN"):
        serve_metrics("nowhere")


def test_the_ready_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    announce("ingestion", "127.0.0.1:1", "127.0.0.1:2")
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "service": "ingestion",
        "address": "127.0.0.1:1",
        "metrics": "http://127.0.0.1:2/metrics",
        "pid": os.getpid(),
    }

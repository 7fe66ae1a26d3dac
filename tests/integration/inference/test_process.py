"""The service as a process of its own: killed, restarted, asked to end."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from shared.config import child_environment
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.storage.migrate import migrate
from shared.storage.tables import Base
from tests.integration.inference.platform import Platform
from tests.support.wait import eventually


@contextmanager
def process(platform: Platform, listen: str = "127.0.0.1:0") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`python -m services.inference`, ready; yields it and its address."""
    environment = child_environment(
        home=platform.folder,
        database_url=platform.settings.database_url,
        artifacts_url=platform.settings.artifacts_url,
        listen=listen,
        grace_seconds=5,
        threads=1,
    )
    running = subprocess.Popen(
        [sys.executable, "-m", "services.inference"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    try:
        ready = json.loads(running.stdout.readline())
        yield running, ready["address"]
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


def test_a_killed_server_gives_unavailable_and_a_restarted_one_serves_again(platform: Platform) -> None:
    Base.metadata.drop_all(platform.database.engine)  # the process makes its own tables
    migrate(platform.settings.resolved_database_url)
    platform.declare("helper", "chat")
    platform.point("helper", platform.add_version("helper", "chat", seed=1))
    with process(platform) as (running, address):
        platform.connect(address)
        eventually(lambda: platform.holds("helper", 1))
        stream = platform.generate(stopping=pb.Stopping(max_tokens=480, ignore_eos=True))
        next(stream)
        running.kill()
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    with process(platform, listen=address) as (running, _):
        eventually(lambda: _answers(platform))
        running.send_signal(signal.SIGTERM)
        assert running.wait(15) == 0


def _answers(platform: Platform) -> bool:
    try:
        *_, last = platform.generate(stopping=pb.Stopping(max_tokens=3, ignore_eos=True), timeout=30)
    except grpc.RpcError:
        return False
    return last.finished.usage.completion_tokens == 3

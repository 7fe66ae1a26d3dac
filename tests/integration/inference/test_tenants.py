"""An answer belongs to the tenant whose call it was."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub
from shared.modeling.quiet import quiet_libraries
from shared.rpc.channel import open_channel
from shared.rpc.security import Security
from shared.storage.database import Database
from tests.integration.inference.platform import Platform
from tests.support.wait import eventually

NAMES = ("acme", "rival", "boss", "elsewhere")
KEYS = """
- {key: the-key-of-the-acme, tenant: acme}
- {key: the-key-of-the-rival, tenant: rival}
- {key: the-key-of-the-boss, tenant: boss, roles: [call, operate]}
- {key: the-key-of-the-elsewhere, tenant: acme, models: [another]}
"""


@pytest.fixture
def stubs(tmp_path: Path, database: Database) -> Iterator[dict[str, InferenceStub]]:
    """A classifier behind keys; a client a key."""
    quiet_libraries()
    platform = Platform(tmp_path, database, api_keys=KEYS)
    platform.declare("mood", "classification")
    platform.point("mood", platform.add_version("mood", "classification", 1))
    platform.start()
    assert platform.application is not None
    address = platform.application.address
    with ExitStack() as stack:
        keys = {name: Security(api_key=f"the-key-of-the-{name}") for name in NAMES}
        channels = {
            name: stack.enter_context(open_channel(address, retries=False, security=key)) for name, key in keys.items()
        }
        made = {name: InferenceStub(channel) for name, channel in channels.items()}
        eventually(lambda: classify(made["boss"], "warm-up"))
        yield made
    platform.close()


def classify(stub: InferenceStub, request_id: str) -> bool:
    request = pb.ClassifyRequest(
        model=common_pb2.ModelRef(name="mood"), texts=[f"text of {request_id}"], request_id=request_id
    )
    try:
        return bool(stub.Classify(request, timeout=30).request_id)
    except grpc.RpcError:
        return False


def explained(stub: InferenceStub, request_id: str) -> pb.ExplainResponseResponse:
    answer: pb.ExplainResponseResponse = stub.ExplainResponse(
        pb.ExplainResponseRequest(request_id=request_id), timeout=30
    )
    return answer


def refusals(stub: InferenceStub, request_id: str) -> list[tuple[grpc.StatusCode, str]]:
    """Of looking an answer up, and of giving feedback on it."""
    found = []
    for call, request in (
        (stub.ExplainResponse, pb.ExplainResponseRequest(request_id=request_id)),
        (stub.RecordFeedback, pb.RecordFeedbackRequest(request_id=request_id, rating=1)),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            call(request, timeout=30)
        found.append((refused.value.code(), str(refused.value.details())))
    return found


def test_another_tenant_is_told_the_same_as_if_there_were_no_answer(stubs: dict[str, InferenceStub]) -> None:
    assert classify(stubs["acme"], "one")
    assert explained(stubs["acme"], "one").lineage.model == "mood"
    for name in ("rival", "elsewhere"):
        nothing = [(code, words.replace("none", "one")) for code, words in refusals(stubs[name], "none")]
        assert nothing == refusals(stubs[name], "one")
        assert {code for code, _ in nothing} == {grpc.StatusCode.NOT_FOUND}


def test_an_operator_may_look_every_answer_up(stubs: dict[str, InferenceStub]) -> None:
    assert classify(stubs["acme"], "one")
    assert explained(stubs["boss"], "one").method == "Classify"


def test_two_tenants_may_use_the_same_request_id(stubs: dict[str, InferenceStub]) -> None:
    assert classify(stubs["acme"], "same")
    first = explained(stubs["acme"], "same")
    assert classify(stubs["rival"], "same")
    assert explained(stubs["acme"], "same").created_at == first.created_at
    assert explained(stubs["rival"], "same").created_at != first.created_at

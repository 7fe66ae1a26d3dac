"""Feedback reaches ingestion with the input and output that the request id stands for."""

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2
from shared.contracts.generated.flywheel.ingestion.v1.ingestion_pb2_grpc import (
    IngestionServicer,
    add_IngestionServicer_to_server,
)
from shared.rpc.server import Server
from shared.storage.database import Database
from tests.integration.inference.platform import Platform, text_of
from tests.support.wait import eventually


class RecordingIngestion(IngestionServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.seen: list[ingestion_pb2.RecordFeedbackRequest] = []

    def RecordFeedback(
        self, request: ingestion_pb2.RecordFeedbackRequest, context: grpc.ServicerContext
    ) -> ingestion_pb2.Feedback:
        self.seen.append(request)
        return ingestion_pb2.Feedback(
            id="feedback-1", request_id=request.request_id, batch=ingestion_pb2.Batch(id="batch-1")
        )


@pytest.fixture
def ingestion() -> Iterator[tuple[RecordingIngestion, str]]:
    server, servicer = Server("127.0.0.1:0", threads=2), RecordingIngestion()
    server.add("flywheel.ingestion.v1.Ingestion", add_IngestionServicer_to_server, servicer)
    server.start()
    yield servicer, server.address
    server.stop(0)


@pytest.fixture
def connected(
    tmp_path_factory: pytest.TempPathFactory, database: Database, ingestion: tuple[RecordingIngestion, str]
) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("platform"), database, ingestion_address=ingestion[1])
    for name, kind in (("mood", "classification"), ("helper", "chat")):
        platform.declare(name, kind)
        platform.point(name, platform.add_version(name, kind, seed=1))
    platform.start()
    eventually(lambda: platform.holds("mood", 1) and platform.holds("helper", 1))
    yield platform
    platform.close()


def test_a_corrected_label_goes_with_its_own_text(
    connected: Platform, ingestion: tuple[RecordingIngestion, str]
) -> None:
    answer = connected.classify(texts=("first text", "second text"))
    receipt = connected.inference.RecordFeedback(
        pb.RecordFeedbackRequest(
            request_id=answer.request_id, rating=-1, correction="good", consent=True, index=1, comment="no"
        ),
        timeout=10,
    )
    assert (receipt.feedback, receipt.batch.id) == ("feedback-1", "batch-1")
    (seen,) = ingestion[0].seen
    assert (seen.pipeline, seen.model_version, seen.request_id) == ("mood", 1, answer.request_id)
    assert dict(seen.input) == {"text": "second text"}
    assert seen.output == answer.results[1].labels[0].label
    assert (seen.rating, seen.correction, seen.consent, seen.comment) == (-1, "good", True, "no")


def test_a_corrected_reply_goes_with_the_whole_conversation(
    connected: Platform, ingestion: tuple[RecordingIngestion, str]
) -> None:
    events = list(connected.generate("open the door", stopping=pb.Stopping(max_tokens=6, ignore_eos=True)))
    request_id = events[0].accepted.request_id
    connected.inference.RecordFeedback(
        pb.RecordFeedbackRequest(request_id=request_id, correction="turn the key", consent=True), timeout=10
    )
    (seen,) = ingestion[0].seen
    asked = MessageToDict(seen.input)
    assert asked == {"messages": [{"role": "user", "content": "open the door"}]}
    assert seen.output == text_of(events)
    assert not seen.HasField("rating")


def test_an_index_beyond_the_texts_is_refused(connected: Platform) -> None:
    answer = connected.classify(texts=("only one",))
    with pytest.raises(grpc.RpcError) as caught:
        connected.inference.RecordFeedback(
            pb.RecordFeedbackRequest(request_id=answer.request_id, rating=1, index=1), timeout=10
        )
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "index is 1" in str(caught.value.details())


def test_a_prompt_of_token_ids_can_not_become_a_row(connected: Platform) -> None:
    request = pb.GenerateRequest(
        model=common_pb2.ModelRef(name="helper"),
        token_ids=pb.TokenIds(ids=[1, 2, 3]),
        stopping=pb.Stopping(max_tokens=2, ignore_eos=True),
        request_id="by-ids",
    )
    list(connected.inference.Generate(request, timeout=20))
    with pytest.raises(grpc.RpcError) as caught:
        connected.inference.RecordFeedback(pb.RecordFeedbackRequest(request_id="by-ids", rating=1), timeout=10)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION

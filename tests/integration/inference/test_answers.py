"""The doors as a client sees them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from shared.modeling.quiet import quiet_libraries
from shared.storage.database import Database
from shared.storage.tables import Answer, Base
from shared.storage.tables import Deployment as DeploymentRow
from tests.integration.inference.platform import LABELS, Platform, text_of
from tests.support.wait import eventually


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A classifier `mood` at version 1 and a chat model `helper` at version 1; `new` has no version."""
    folder: Path = tmp_path_factory.mktemp("served")
    database = Database(f"sqlite:///{folder / 'flywheel.db'}")
    Base.metadata.create_all(database.engine)
    quiet_libraries()
    platform = Platform(folder, database)
    for name, kind in (("mood", "classification"), ("helper", "chat"), ("new", "classification")):
        platform.declare(name, kind)
    for name, kind in (("mood", "classification"), ("helper", "chat")):
        platform.point(name, platform.add_version(name, kind, seed=1))
    platform.start()
    eventually(lambda: len([one for one in platform.deployments().values() if one.aliases]) == 2)
    yield platform
    platform.close()
    database.close()


def failing_classify(platform: Platform, **fields: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        platform.inference.Classify(pb.ClassifyRequest(**fields), timeout=20)
    return caught.value.code(), str(caught.value.details())


def failing_generate(platform: Platform, **fields: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        list(platform.generate(**fields))
    return caught.value.code(), str(caught.value.details())


def test_classify_gives_labels_best_first_with_lineage_and_timings(served: Platform) -> None:
    answer = served.classify(texts=("good film", "bad film"))
    assert len(answer.results) == 2
    for result in answer.results:
        scores = [one.score for one in result.labels]
        assert sorted(one.label for one in result.labels) == sorted(LABELS)
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-5)
    assert (answer.lineage.model, answer.lineage.version, answer.lineage.run) == ("mood", 1, "run-1")
    assert answer.lineage.dataset_version == 2
    assert len(answer.lineage.weights_digest) == 64
    assert answer.lineage.engine == "torch"
    assert answer.timings.total.ToNanoseconds() >= answer.timings.compute.ToNanoseconds() > 0


def test_classify_keeps_top_k_and_the_given_request_id(served: Platform) -> None:
    request = pb.ClassifyRequest(
        model=common_pb2.ModelRef(name="mood", version=1), texts=["a"], top_k=1, request_id="mine-1"
    )
    answer = served.inference.Classify(request, timeout=20)
    assert len(answer.results[0].labels) == 1
    assert answer.request_id == "mine-1"


def test_generate_streams_accepted_then_chunks_then_finished(served: Platform) -> None:
    events = list(served.generate(stopping=pb.Stopping(max_tokens=12, ignore_eos=True)))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "accepted"
    assert kinds[-1] == "finished"
    assert set(kinds[1:-1]) == {"chunk"}
    assert events[0].accepted.lineage.version == 1
    finished = events[-1].finished
    assert finished.reason == pb.FINISH_REASON_LENGTH
    assert finished.usage.completion_tokens == 12
    assert sum(len(event.chunk.token_ids) for event in events) == 12
    assert finished.usage.prompt_tokens == events[0].accepted.prompt_tokens > 0
    assert finished.timings.first_token.ToNanoseconds() > 0


def test_the_alias_base_answers_from_the_untouched_base_model(served: Platform) -> None:
    base = common_pb2.ModelRef(name="helper", alias="base")
    events = list(served.generate(reference=base, stopping=pb.Stopping(max_tokens=4, ignore_eos=True)))
    assert events[0].accepted.lineage.version == 0
    assert len(events[0].accepted.lineage.weights_digest) == 64
    assert events[-1].finished.usage.completion_tokens == 4


def test_the_same_seed_gives_the_same_text(served: Platform) -> None:
    fields: dict[str, Any] = {
        "sampling": pb.Sampling(temperature=1.5, top_p=0.9, seed=7),
        "stopping": pb.Stopping(max_tokens=16, ignore_eos=True),
    }
    first, second = text_of(list(served.generate(**fields))), text_of(list(served.generate(**fields)))
    other = dict(fields, sampling=pb.Sampling(temperature=1.5, top_p=0.9, seed=8))
    assert first == second
    assert first != text_of(list(served.generate(**other)))


def test_tokenize_gives_ids_and_pieces(served: Platform) -> None:
    request = pb.TokenizeRequest(model=common_pb2.ModelRef(name="helper"), texts=["open the door"])
    (result,) = served.inference.Tokenize(request, timeout=10).results
    assert len(result.ids) == len(result.pieces) > 1


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"model": {"name": "mod"}, "texts": ["a"]}, grpc.StatusCode.NOT_FOUND, "helper, mood, new"),
        ({"model": {"name": "new"}, "texts": ["a"]}, grpc.StatusCode.FAILED_PRECONDITION, "no champion yet"),
        ({"model": {"name": "helper"}, "texts": ["a"]}, grpc.StatusCode.FAILED_PRECONDITION, "kind chat"),
        ({"model": {"name": "mood", "alias": "base"}, "texts": ["a"]}, grpc.StatusCode.FAILED_PRECONDITION, "head"),
        ({"model": {"name": "mood", "alias": "best"}, "texts": ["a"]}, grpc.StatusCode.NOT_FOUND, "champion"),
        ({"model": {"name": "mood", "version": 9}, "texts": ["a"]}, grpc.StatusCode.NOT_FOUND, "version 9"),
        ({"texts": ["a"]}, grpc.StatusCode.INVALID_ARGUMENT, "model.name"),
        ({"model": {"name": "mood"}}, grpc.StatusCode.INVALID_ARGUMENT, "texts is 0"),
        ({"model": {"name": "mood"}, "texts": ["a", " "]}, grpc.StatusCode.INVALID_ARGUMENT, "texts[1] is empty"),
        ({"model": {"name": "mood"}, "texts": ["a"] * 257}, grpc.StatusCode.INVALID_ARGUMENT, "256"),
        ({"model": {"name": "mood"}, "texts": ["a" * 65_537]}, grpc.StatusCode.INVALID_ARGUMENT, "65536"),
        ({"model": {"name": "mood"}, "texts": ["a"], "top_k": -1}, grpc.StatusCode.INVALID_ARGUMENT, "top_k"),
    ],
)
def test_classify_says_what_is_wrong(
    served: Platform, fields: dict[str, Any], code: grpc.StatusCode, words: str
) -> None:
    seen, message = failing_classify(served, **fields)
    assert seen is code
    assert words in message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sampling": pb.Sampling(temperature=-1)}, "sampling.temperature is -1"),
        ({"sampling": pb.Sampling(top_p=0)}, "sampling.top_p is 0"),
        ({"sampling": pb.Sampling(temperature=float("nan"))}, "temperature is nan"),
        ({"stopping": pb.Stopping(max_tokens=0)}, "stopping.max_tokens is 0"),
        ({"stopping": pb.Stopping(max_tokens=2, min_tokens=3)}, "stopping.min_tokens is 3"),
        ({"stopping": pb.Stopping(stop=["x"] * 17)}, "stopping.stop is 17"),
        ({"text": " "}, "messages[0].content is empty"),
        ({"text": "word " * 600}, "at most 511 fit"),
    ],
)
def test_generate_says_what_is_wrong(served: Platform, fields: dict[str, Any], words: str) -> None:
    code, message = failing_generate(served, **fields)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert words in message


def test_a_deadline_in_the_middle_of_an_answer_is_told_as_a_deadline(served: Platform) -> None:
    events = list(served.generate(timeout=0.25, stopping=pb.Stopping(max_tokens=400, ignore_eos=True)))
    if events[-1].finished.reason != pb.FINISH_REASON_LENGTH:  # a fast machine may be done before
        assert events[-1].finished.reason == pb.FINISH_REASON_DEADLINE
        assert events[-1].finished.usage.completion_tokens < 400


def test_an_answer_can_be_explained_at_once_and_is_kept_in_the_database(served: Platform) -> None:
    answer = served.classify(texts=("good film",))
    explained = served.inference.ExplainResponse(pb.ExplainResponseRequest(request_id=answer.request_id), timeout=30)
    assert explained.method == "Classify"
    assert explained.lineage == answer.lineage

    def kept() -> Answer | None:
        with served.database.read() as session:
            return session.get(Answer, (answer.request_id, ""))

    row = eventually(kept)
    assert row is not None
    assert row.input == {"texts": ["good film"]}
    assert row.output == {"labels": [answer.results[0].labels[0].label]}
    again = served.inference.ExplainResponse(pb.ExplainResponseRequest(request_id=answer.request_id), timeout=30)
    assert again.lineage == answer.lineage


def test_an_explanation_tells_when_the_version_came_and_when_it_went(platform: Platform) -> None:
    platform.declare("mood", "classification")
    for seed in (1, 2):
        platform.add_version("mood", "classification", seed)
    platform.point("mood", 1, alias="candidate", kind="candidate")
    platform.point("mood", 1)
    platform.start()
    eventually(lambda: platform.deployment("mood", 1).aliases == ["candidate", "champion"])
    request = pb.ExplainResponseRequest(request_id=platform.classify().request_id)
    explained = platform.inference.ExplainResponse(request, timeout=30)
    assert [(one.alias, one.from_version, one.to_version, one.kind) for one in explained.history] == [
        ("candidate", 0, 1, "candidate"),
        ("champion", 0, 1, "promotion"),
    ]
    assert explained.promoted_at == explained.history[1].changed_at
    assert not explained.HasField("replaced_at")
    platform.point("mood", 2)
    platform.point("mood", 1, kind="rollback")
    again = platform.inference.ExplainResponse(request, timeout=30)
    assert [one.kind for one in again.history] == ["candidate", "promotion", "promotion", "rollback"]
    assert again.promoted_at == explained.promoted_at
    assert again.replaced_at == again.history[2].changed_at


def test_an_unknown_request_can_not_be_explained(served: Platform) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        served.inference.ExplainResponse(pb.ExplainResponseRequest(request_id="nobody"), timeout=30)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_feedback_on_an_unknown_request_is_refused(served: Platform) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        served.inference.RecordFeedback(pb.RecordFeedbackRequest(request_id="nobody", rating=1), timeout=30)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_feedback_with_a_rating_out_of_range_is_refused(served: Platform) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        served.inference.RecordFeedback(pb.RecordFeedbackRequest(request_id="x", rating=2), timeout=30)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "rating is 2" in str(caught.value.details())


def test_health_is_told_by_server_service_and_model(served: Platform) -> None:
    health = health_pb2_grpc.HealthStub(served.channel)
    for name in ("", "flywheel.inference.v1.Inference", "flywheel.inference.v1.Inference/mood"):
        status = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=30).status
        assert status == health_pb2.HealthCheckResponse.SERVING


def test_an_operator_aborts_a_running_answer(served: Platform) -> None:
    stream: Any = served.generate(request_id="long-1", stopping=pb.Stopping(max_tokens=480, ignore_eos=True))
    assert next(stream).accepted.request_id == "long-1"
    found = served.serving.Abort(serving_pb2.AbortRequest(request_id="long-1"), timeout=30).found
    *_, last = stream
    assert not found or last.finished.reason in (pb.FINISH_REASON_CANCELLED, pb.FINISH_REASON_LENGTH)
    assert not served.serving.Abort(serving_pb2.AbortRequest(request_id="long-1"), timeout=30).found


def test_a_client_that_goes_away_frees_its_slot(served: Platform) -> None:
    stream: Any = served.generate(stopping=pb.Stopping(max_tokens=480, ignore_eos=True))
    next(stream)
    stream.cancel()
    eventually(lambda: served.serving.GetLoad(serving_pb2.GetLoadRequest(), timeout=30).running == 0)


def test_the_deployments_table_says_what_is_loaded(served: Platform) -> None:
    def written() -> bool:
        with served.database.read() as session:
            rows = session.query(DeploymentRow).filter_by(model="mood", version=1).all()
        return [(row.state, row.aliases) for row in rows] == [("ready", ["champion"])]

    eventually(written)


def test_watching_deployments_begins_with_all(served: Platform) -> None:
    stream = served.serving.WatchDeployments(serving_pb2.WatchDeploymentsRequest(), timeout=10)
    seen = {next(stream).model, next(stream).model}
    stream.cancel()
    assert seen <= {"mood", "helper"}


def test_a_version_that_an_alias_points_at_can_not_be_unloaded(served: Platform) -> None:
    model = common_pb2.ModelRef(name="mood", version=1)
    with pytest.raises(grpc.RpcError) as caught:
        served.serving.UnloadModel(serving_pb2.UnloadModelRequest(model=model), timeout=30)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION

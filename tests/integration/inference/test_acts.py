"""What operators do through the door: it is kept in the audit, and a request of any method can be ended."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from sqlalchemy import select, text

from services.inference.engine.precision import label_encoder
from services.inference.kinds import classification
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from shared.storage.tables import AuditEntry
from tests.integration.inference.platform import Platform
from tests.support.tiny_encoders import tiny_seq2seq, write_version
from tests.support.wait import eventually

MOOD = common_pb2.ModelRef(name="mood")


@pytest.fixture
def mood(platform: Platform) -> Platform:
    platform.declare("mood", "classification")
    for seed in (1, 2):
        platform.add_version("mood", "classification", seed)
    platform.point("mood", 1)
    platform.start()
    eventually(lambda: platform.holds("mood", 1))
    return platform


def acts(platform: Platform) -> list[tuple[str, str, dict[str, Any]]]:
    """Action, target and what is told beside the server, in order."""
    assert platform.application is not None
    with platform.database.read() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    assert all((one.actor, one.detail["server"]) == ("operator", platform.application.name) for one in entries)
    return [(one.action, one.target, {**one.detail, "server": None}) for one in entries]


class Gate:
    """An encoder whose batches stand still while it is closed."""

    def __init__(self, encoder: Any) -> None:
        self.opened, self.entered = threading.Event(), threading.Event()
        self.opened.set()
        self._encoder = encoder

    def __call__(self, texts: Any) -> Any:
        if not self.opened.is_set():
            self.entered.set()
            self.opened.wait(60)
        return self._encoder(texts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    @contextmanager
    def closed(self, platform: Platform) -> Iterator[None]:
        """The only worker has a batch that stands still while the block runs: what is asked in it waits."""
        self.opened.clear()
        with ThreadPoolExecutor(1) as client:
            first = client.submit(platform.classify)
            assert self.entered.wait(60)
            try:
                yield
            finally:
                self.opened.set()
            assert first.result(60).lineage.version == 1


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> list[Gate]:
    """Of every classifier that is loaded."""
    made = list[Gate]()

    def gated(*arguments: Any, **options: Any) -> Gate:
        made.append(Gate(label_encoder(*arguments, **options)))
        return made[-1]

    monkeypatch.setattr(classification, "label_encoder", gated)
    return made


@contextmanager
def nothing_computed(platform: Platform) -> Iterator[None]:
    """The compute thread stands still while the block runs."""
    assert platform.application is not None
    go_on, begun = threading.Event(), threading.Event()

    def stand_still() -> None:
        begun.set()
        go_on.wait(60)

    compute = platform.application._compute
    blocker = threading.Thread(target=compute.run, args=(stand_still,))
    blocker.start()
    assert begun.wait(60)
    try:
        yield
    finally:
        go_on.set()
        blocker.join()


def abort(platform: Platform, request_id: str) -> bool:
    return bool(platform.serving.Abort(serving_pb2.AbortRequest(request_id=request_id), timeout=30).found)


def failure(call: Future[Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call.result(60)
    return caught.value.code(), str(caught.value.details())


def test_what_operators_do_is_kept_in_the_audit(mood: Platform) -> None:
    second = common_pb2.ModelRef(name="mood", version=2)
    mood.serving.LoadModel(serving_pb2.LoadModelRequest(model=second, pinned=True), timeout=60)
    mood.serving.UnloadModel(serving_pb2.UnloadModelRequest(model=second), timeout=30)
    shadows = [serving_pb2.TrafficShare(version=2, share=0.5)]
    mood.serving.SetTraffic(serving_pb2.SetTrafficRequest(model="mood", shadows=shadows), timeout=30)
    mood.serving.Drain(serving_pb2.DrainRequest(), timeout=30)
    assert mood.application is not None
    assert acts(mood) == [
        ("load_model", "mood", {"server": None, "version": 2, "pinned": True}),
        ("unload_model", "mood", {"server": None, "version": 2}),
        ("set_traffic", "mood", {"server": None, "shares": {}, "shadows": {"2": 0.5}}),
        ("drain", mood.application.name, {"server": None}),
    ]


def test_an_act_that_was_refused_or_had_no_effect_is_not_kept(mood: Platform) -> None:
    for call, request in (
        (mood.serving.LoadModel, serving_pb2.LoadModelRequest(model=common_pb2.ModelRef(name="mood", version=9))),
        (mood.serving.UnloadModel, serving_pb2.UnloadModelRequest(model=MOOD)),
        (mood.serving.SetTraffic, serving_pb2.SetTrafficRequest(model="nobody")),
    ):
        with pytest.raises(grpc.RpcError):
            call(request, timeout=30)
    assert not abort(mood, "nobody's")
    assert acts(mood) == []


def test_a_server_can_be_drained_while_the_audit_can_not_be_written(mood: Platform) -> None:
    with mood.database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit RENAME TO away"))
    mood.serving.Drain(serving_pb2.DrainRequest(), timeout=60)
    with pytest.raises(grpc.RpcError) as refused:
        mood.classify()
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_request_that_waits_in_the_batcher_can_be_ended(gate: list[Gate], mood: Platform) -> None:
    request = pb.ClassifyRequest(model=MOOD, texts=["good film"] * 3, request_id="slow")
    with ThreadPoolExecutor(1) as client:
        with gate[0].closed(mood):
            call = client.submit(mood.inference.Classify, request, timeout=60)
            eventually(lambda: abort(mood, "slow"))
            code, words = failure(call)
        assert (code, words) == (grpc.StatusCode.CANCELLED, "an operator ended the request")
    assert ("abort", "slow", {"server": None}) in acts(mood)
    assert mood.classify().lineage.version == 1
    assert not abort(mood, "slow")


def test_every_request_with_the_id_is_ended_and_no_other(gate: list[Gate], mood: Platform) -> None:
    def request(request_id: str) -> pb.ClassifyRequest:
        return pb.ClassifyRequest(model=MOOD, texts=["good film"], request_id=request_id)

    with ThreadPoolExecutor(3) as clients:
        with gate[0].closed(mood):
            one, two, other = (
                clients.submit(mood.inference.Classify, request(name), timeout=60) for name in ("twin", "twin", "other")
            )
            eventually(lambda: mood.deployment("mood", 1).in_flight == 4)
            assert abort(mood, "twin")
            for call in (one, two):
                assert failure(call)[0] is grpc.StatusCode.CANCELLED
        assert other.result(60).request_id == "other"


def test_a_translation_can_be_ended(platform: Platform) -> None:
    platform.declare("shorten", "summarisation")
    folder = write_version(platform.folder / "shorten", "summarisation", tiny_seq2seq("bart"))
    platform.point("shorten", platform.add_folder("shorten", folder))
    platform.start()
    eventually(lambda: platform.holds("shorten", 1))
    request = pb.SummarizeRequest(
        model=common_pb2.ModelRef(name="shorten"), texts=["a good film"], request_id="long-winded"
    )
    with ThreadPoolExecutor(1) as client:
        with nothing_computed(platform):
            call = client.submit(platform.inference.Summarize, request, timeout=60)
            eventually(lambda: abort(platform, "long-winded"))
        assert failure(call) == (grpc.StatusCode.CANCELLED, "an operator ended the request")

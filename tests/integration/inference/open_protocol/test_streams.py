"""Streams: several requests side by side, failures that hurt only themselves, clients that leave or never read."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from services.inference.answering.tensors import Tensors
from services.inference.doors import side_by_side
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from shared.contracts.generated.inference import grpc_service_pb2 as pb
from tests.integration.inference.open_protocol.asking import (
    Asker,
    asking,
    facts,
    is_final,
    packed,
    tensors,
    text_of,
)
from tests.integration.inference.platform import Platform
from tests.support.wait import eventually

LONG: dict[str, Any] = {"max_tokens": 400, "ignore_eos": True}


class Requests:
    """An iterator of requests that stays open until it is closed."""

    def __init__(self, *first: pb.ModelInferRequest) -> None:
        self._queue: queue.SimpleQueue[pb.ModelInferRequest | None] = queue.SimpleQueue()
        for one in first:
            self.send(one)

    def send(self, request: pb.ModelInferRequest) -> None:
        self._queue.put(request)

    def close(self) -> None:
        self._queue.put(None)

    def __iter__(self) -> Iterator[pb.ModelInferRequest]:
        return iter(self._queue.get, None)


def is_idle(platform: Platform) -> bool:
    load = platform.serving.GetLoad(serving_pb2.GetLoadRequest(), timeout=30)
    held = sum(one.in_flight for one in platform.deployments().values())
    return (load.running, load.waiting, held) == (0, 0, 0)


def threads_of_streams() -> list[str]:
    names = (thread.name for thread in threading.enumerate())
    return [name for name in names if name.startswith(("stream_", "requests_"))]


def by_id(responses: list[pb.ModelStreamInferResponse]) -> dict[str, list[pb.ModelStreamInferResponse]]:
    found: dict[str, list[pb.ModelStreamInferResponse]] = {}
    for one in responses:
        found.setdefault(one.infer_response.id, []).append(one)
    return found


def test_a_text_comes_in_parts_and_the_last_says_how_it_ended(asker: Asker) -> None:
    request = asking("chat", "how are you?", id="a", max_tokens=12, ignore_eos=True)
    parts = list(asker.stream(iter([request])))
    assert [is_final(one) for one in parts] == [False] * (len(parts) - 1) + [True]
    assert len(parts) > 2
    assert not any(one.error_message for one in parts)
    assert {one.infer_response.id for one in parts} == {"a"}
    assert text_of(parts) == tensors(asker.infer(request))["text_output"][0]
    said = facts(parts[-1].infer_response)
    assert (said["finish_reason"], said["completion_tokens"]) == ("length", 12)
    assert facts(parts[0].infer_response)["request_id"] == said["request_id"]


def test_requests_of_every_kind_share_a_stream_and_are_answered_side_by_side(asker: Asker) -> None:
    requests = Requests(asking("chat", "go on and on", id="long", **LONG))
    call = asker.stream(iter(requests))
    first = next(call)
    assert first.infer_response.id == "long"
    requests.send(asking("classification", "a good film", id="label"))
    requests.send(asking("chat", "hello", id="short", max_tokens=2, ignore_eos=True))
    requests.close()
    parts = [first, *call]
    order = [one.infer_response.id for one in parts if is_final(one)]
    assert sorted(order) == ["label", "long", "short"]
    assert order[-1] == "long", "a long answer must not hold up the short ones behind it"
    found = by_id(parts)
    assert tensors(found["label"][0].infer_response)["label"][0] in ("bad", "good", "neutral")
    assert facts(found["long"][-1].infer_response)["completion_tokens"] == 400


def test_a_hundred_requests_in_one_stream_all_come_to_an_end(asker: Asker) -> None:
    alone = tensors(asker.infer(asking("chat", "count", max_tokens=5, ignore_eos=True)))["text_output"][0]
    requests = (asking("chat", "count", id=str(n), max_tokens=5, ignore_eos=True) for n in range(100))
    found = by_id(list(asker.stream(requests)))
    assert sorted(found, key=int) == [str(n) for n in range(100)]
    assert {text_of(parts) for parts in found.values()} == {alone}


def test_a_failure_names_its_request_and_the_stream_goes_on(asker: Asker) -> None:
    wrong = asking("chat", "hello", id="wrong type")
    wrong.inputs[0].datatype = "INT32"
    cut = pb.ModelInferRequest(model_name="chat", id="cut", raw_input_contents=[packed("hello")[:-1]])
    cut.inputs.add(name="text_input", datatype="BYTES", shape=[1])
    requests = [
        wrong,
        cut,
        asking("nobody", "hello", id="unknown model"),
        asking("chat", "hello", id="unknown parameter", colour="red"),
        asking("chat", "hello", id="late", timeout=1),
        asking("chat", "hello", id="version", version="x"),
        asking("chat", "hello", id="right", max_tokens=2),
        asking("classification", "", id=""),
    ]
    found = by_id(list(asker.stream(iter(requests))))
    assert not any(one.error_message for one in found.pop("right"))
    reasons = {name: facts(parts[-1].infer_response)["reason"] for name, parts in found.items()}
    assert reasons == {
        "wrong type": "INVALID_ARGUMENT",
        "cut": "INVALID_ARGUMENT",
        "unknown model": "NOT_FOUND",
        "unknown parameter": "INVALID_ARGUMENT",
        "late": "DEADLINE_EXCEEDED",
        "version": "INVALID_ARGUMENT",
        "": "INVALID_ARGUMENT",
    }
    assert all(len(parts) == 1 and is_final(parts[0]) for parts in found.values())
    assert found["cut"][0].error_message.startswith("[request id: cut] the raw contents of 'text_input'")
    assert found[""][0].error_message == "texts[0] is empty"


def test_a_defect_in_one_answer_is_told_without_its_text_and_hurts_only_itself(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Tensors, request: Any, ask: Any) -> Any:
        raise RuntimeError("a secret path")

    whole = Tensors.stream

    def stream(self: Tensors, request: Any, call: Any) -> Any:
        return broken(self, request, call) if request.id == "broken" else whole(self, request, call)

    monkeypatch.setattr(Tensors, "stream", stream)
    requests = [asking("chat", "a", id="broken"), asking("chat", "a", id="whole", max_tokens=2)]
    found = by_id(list(asker.stream(iter(requests))))
    assert facts(found["broken"][0].infer_response)["reason"] == "INTERNAL"
    assert "secret" not in found["broken"][0].error_message
    assert is_final(found["whole"][-1])


def test_an_empty_stream_ends(asker: Asker) -> None:
    assert list(asker.stream(iter([]))) == []


def test_a_cancelled_stream_frees_all_its_requests(helper: Platform) -> None:
    asker = Asker(helper.channel)
    requests = Requests(*(asking("helper", "go on", id=str(n), **LONG) for n in range(12)))
    call = asker.stream(iter(requests))
    next(call)
    assert not is_idle(helper)
    assert threads_of_streams()
    call.cancel()
    eventually(lambda: is_idle(helper))
    eventually(lambda: not threads_of_streams())
    requests.close()
    assert text_of(list(asker.stream(iter([asking("helper", "still there?", max_tokens=4, ignore_eos=True)]))))


def test_a_stream_whose_deadline_passes_frees_all_its_requests(helper: Platform) -> None:
    asker = Asker(helper.channel, timeout=0.3)
    requests = Requests(*(asking("helper", "go on", **LONG) for _ in range(20)))
    with pytest.raises(grpc.RpcError) as caught:
        list(asker.stream(iter(requests)))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(lambda: is_idle(helper))
    eventually(lambda: not threads_of_streams())
    requests.close()


def test_a_client_that_never_reads_is_given_up_and_stops_nobody(
    helper: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side.SideBySide.__init__, "__defaults__", (1.0,))
    asker = Asker(helper.channel, timeout=120)
    many = (asking("helper", "go on", id="x" * 1000, **LONG) for _ in range(10_000))
    silent = asker.stream(many)
    eventually(lambda: not is_idle(helper))
    alone = list(asker.stream(iter([asking("helper", "hello", max_tokens=4, ignore_eos=True)])))
    assert is_final(alone[-1])
    eventually(lambda: is_idle(helper))
    eventually(lambda: not threads_of_streams())
    silent.cancel()

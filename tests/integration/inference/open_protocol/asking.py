"""A client of the Open Inference Protocol on our own stubs, for what real clients will not send."""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import pytest

from shared.contracts.generated.inference import grpc_service_pb2 as pb
from shared.contracts.generated.inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub

Value = bool | int | float | str


class Asker:
    """Waits for nothing longer than `timeout` seconds."""

    def __init__(self, channel: grpc.Channel, timeout: float = 30) -> None:
        self.stub = GRPCInferenceServiceStub(channel)
        self._timeout = timeout

    def infer(self, request: pb.ModelInferRequest, **options: Any) -> pb.ModelInferResponse:
        answer: pb.ModelInferResponse = self.stub.ModelInfer(request, timeout=self._timeout, **options)
        return answer

    def stream(self, requests: Iterator[pb.ModelInferRequest], **options: Any) -> Any:
        """The call: it can be read, and cancelled."""
        return self.stub.ModelStreamInfer(requests, timeout=self._timeout, **options)

    def call(self, method: str, request: Any, **options: Any) -> Any:
        return getattr(self.stub, method)(request, timeout=self._timeout, **options)


def asking(model: str, *texts: str, version: str = "", id: str = "", **parameters: Value) -> pb.ModelInferRequest:
    """A request with one tensor `text_input`, typed."""
    request = pb.ModelInferRequest(model_name=model, model_version=version, id=id)
    add_input(request, "text_input", texts)
    for name, value in parameters.items():
        request.parameters[name].CopyFrom(parameter(value))
    return request


def add_input(request: pb.ModelInferRequest, name: str, texts: Sequence[str]) -> None:
    one = request.inputs.add(name=name, datatype="BYTES", shape=[len(texts)])
    one.contents.bytes_contents.extend(text.encode() for text in texts)


def add_numbers(request: pb.ModelInferRequest, name: str, shape: Sequence[int], *values: int) -> None:
    one = request.inputs.add(name=name, datatype="INT64", shape=shape)
    one.contents.int64_contents.extend(values)


def parameter(value: Value) -> pb.InferParameter:
    if isinstance(value, bool):
        return pb.InferParameter(bool_param=value)
    if isinstance(value, int):
        return pb.InferParameter(int64_param=value)
    if isinstance(value, float):
        return pb.InferParameter(double_param=value)
    return pb.InferParameter(string_param=value)


def packed(*texts: str) -> bytes:
    """As elements of type BYTES travel raw."""
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)


def tensors(response: pb.ModelInferResponse) -> dict[str, list[Any]]:
    """Elements by tensor, in rows."""
    found: dict[str, list[Any]] = {}
    for one, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        if one.datatype == "BYTES":
            found[one.name] = list(unpacked(raw))
        else:
            size, letter = {"FP32": (4, "f"), "INT64": (8, "q")}[one.datatype]
            found[one.name] = list(struct.unpack(f"<{len(raw) // size}{letter}", raw))
    return found


def unpacked(raw: bytes) -> Iterator[str]:
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        yield raw[4 : 4 + length].decode()
        raw = raw[4 + length :]


def facts(response: pb.ModelInferResponse) -> dict[str, Any]:
    return {name: getattr(one, one.WhichOneof("parameter_choice")) for name, one in response.parameters.items()}


def is_final(response: pb.ModelStreamInferResponse) -> bool:
    return bool(response.infer_response.parameters["triton_final_response"].bool_param)


def text_of(responses: Sequence[pb.ModelStreamInferResponse]) -> str:
    return "".join(tensors(one.infer_response)["text_output"][0] for one in responses)


def refused(act: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        act()
    return caught.value.code(), str(caught.value.details())

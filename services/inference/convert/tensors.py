"""Tensors of the Open Inference Protocol."""

import re
import struct
from collections.abc import Mapping, Sequence
from math import prod

from services.inference.answering.holding import ALIASES
from services.inference.answering.parameters import Value
from services.inference.answering.requests import ModelRef
from services.inference.answering.signatures import BYTES, FP32, INT64, SIGNATURES, TensorSpec
from services.inference.answering.tensor_messages import Tensor, TensorAnswer, TensorRequest
from services.inference.models.lineage import BASE, BASE_VERSION, CHAMPION
from shared.contracts.generated.inference import grpc_service_pb2 as pb
from shared.contracts.generated.inference import model_config_pb2
from shared.errors import FlywheelError, InvalidArgument

PLATFORM = "flywheel"
TYPES = {
    BYTES: model_config_pb2.TYPE_STRING,
    FP32: model_config_pb2.TYPE_FP32,
    INT64: model_config_pb2.TYPE_INT64,
}
VERSION = re.compile("[0-9]{1,9}")
MAX_DIMENSIONS = 2
NUMBER_BYTES = 8
LARGEST_SIGNED = 2**63 - 1
LENGTH = struct.Struct("<I")
FINAL = "triton_final_response"


def model_of(name: str, version: str) -> ModelRef:
    """An alias or a number; "0", the number of the untouched base model, is the alias "base". Raises InvalidArgument."""
    if version in ("", *ALIASES):
        return ModelRef(name, version or CHAMPION)
    if not VERSION.fullmatch(version):
        raise InvalidArgument(
            f"model_version is {version!r}; it must be a number or one of {', '.join(ALIASES)}", field="model_version"
        )
    return ModelRef(name, version=int(version)) if int(version) != BASE_VERSION else ModelRef(name, BASE)


def tensor_request(message: pb.ModelInferRequest) -> TensorRequest:
    """Raises InvalidArgument naming the tensor that is not as it says it is."""
    raw = list(message.raw_input_contents)
    if raw and len(raw) != len(message.inputs):
        raise InvalidArgument(
            f"raw_input_contents has {len(raw)} elements for {len(message.inputs)} inputs", field="raw_input_contents"
        )
    inputs: dict[str, Sequence[str]] = {}
    numbers: dict[str, Sequence[int]] = {}
    for position, one in enumerate(message.inputs):
        if one.name in inputs or one.name in numbers:
            raise InvalidArgument(f"the input tensor {one.name!r} is given twice", field=one.name)
        content = raw[position] if raw else None
        if one.datatype == INT64:
            numbers[one.name] = _numbers(one, content)
        else:
            inputs[one.name] = _texts(one, content)
    for wanted in message.outputs:
        for name in wanted.parameters.keys() - {"binary_data"}:
            raise InvalidArgument(
                f"the output tensor {wanted.name!r} has the parameter {name!r}, which is not known", field=wanted.name
            )
    return TensorRequest(
        model_of(message.model_name, message.model_version),
        message.id,
        inputs,
        values(message.parameters),
        [one.name for one in message.outputs],
        numbers,
    )


def tensor_response(answer: TensorAnswer, id: str) -> pb.ModelInferResponse:
    of = answer.lineage
    response = pb.ModelInferResponse(model_name=of.model, model_version=str(of.version), id=id)
    facts: dict[str, Value] = {
        "run": of.run,
        "dataset_version": of.dataset_version,
        "report": of.report,
        "weights_digest": of.weights_digest,
        "adapter_digest": of.adapter_digest,
        "engine": of.engine,
        **answer.facts,
        FINAL: answer.final,
    }
    for name, value in facts.items():
        response.parameters[name].CopyFrom(parameter(value))
    for one in answer.outputs:
        response.outputs.add(name=one.name, datatype=one.datatype, shape=one.shape)
        response.raw_output_contents.append(_raw(one))
    return response


def failure(request: pb.ModelInferRequest, error: FlywheelError) -> pb.ModelStreamInferResponse:
    """The request's id stands in the message too: clients show nothing else of a failure."""
    response = pb.ModelInferResponse(model_name=request.model_name, model_version=request.model_version, id=request.id)
    response.parameters[FINAL].CopyFrom(parameter(True))
    response.parameters["reason"].CopyFrom(parameter(error.reason))
    named = f"[request id: {request.id}] " if request.id else ""
    return pb.ModelStreamInferResponse(error_message=f"{named}{error.message}", infer_response=response)


def metadata(model: str, kind: str, versions: Sequence[int]) -> pb.ModelMetadataResponse:
    signature = SIGNATURES[kind]
    return pb.ModelMetadataResponse(
        name=model,
        versions=[str(version) for version in versions],
        platform=PLATFORM,
        inputs=[_described(spec) for spec in signature.inputs],
        outputs=[_described(spec) for spec in signature.outputs],
    )


def config(model: str, kind: str) -> pb.ModelConfigResponse:
    signature = SIGNATURES[kind]
    made = model_config_pb2.ModelConfig(name=model, platform=PLATFORM, backend=PLATFORM)
    for spec in signature.inputs:
        made.input.add(name=spec.name, data_type=TYPES[spec.datatype], dims=spec.shape, optional=spec.optional)
    for spec in signature.outputs:
        made.output.add(name=spec.name, data_type=TYPES[spec.datatype], dims=spec.shape)
    made.model_transaction_policy.decoupled = signature.streams
    return pb.ModelConfigResponse(config=made)


def values(parameters: Mapping[str, pb.InferParameter]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, one in parameters.items():
        choice = one.WhichOneof("parameter_choice")
        if choice is None:
            raise InvalidArgument(f"parameters.{name} has no value", field=f"parameters.{name}")
        found[name] = getattr(one, choice)
    return found


def parameter(value: Value) -> pb.InferParameter:
    if isinstance(value, bool):
        return pb.InferParameter(bool_param=value)
    if isinstance(value, int):
        return (
            pb.InferParameter(int64_param=value) if value <= LARGEST_SIGNED else pb.InferParameter(uint64_param=value)
        )
    if isinstance(value, float):
        return pb.InferParameter(double_param=value)
    return pb.InferParameter(string_param=value)


def _described(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)


def _texts(tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None) -> list[str]:
    if tensor.datatype != BYTES:
        raise InvalidArgument(
            f"the input tensor {tensor.name!r} has datatype {tensor.datatype!r}; it must be {BYTES} or {INT64}",
            field=tensor.name,
        )
    _check_once(tensor, raw)
    elements = list(tensor.contents.bytes_contents) if raw is None else _split(tensor.name, raw)
    _check_shape(tensor, len(elements))
    try:
        return [element.decode() for element in elements]
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"the input tensor {tensor.name!r} is not UTF-8: {error}", field=tensor.name) from None


def _numbers(tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None) -> list[int]:
    _check_once(tensor, raw)
    if raw is None:
        numbers = list(tensor.contents.int64_contents)
    elif len(raw) % NUMBER_BYTES:
        raise InvalidArgument(f"the raw contents of {tensor.name!r} end inside a number", field=tensor.name)
    else:
        numbers = list(struct.unpack(f"<{len(raw) // NUMBER_BYTES}q", raw))
    _check_shape(tensor, len(numbers))
    return numbers


def _check_once(tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None) -> None:
    if raw is not None and tensor.HasField("contents"):
        raise InvalidArgument(
            f"the input tensor {tensor.name!r} has contents and raw contents; send one of them", field=tensor.name
        )


def _check_shape(tensor: pb.ModelInferRequest.InferInputTensor, elements: int) -> None:
    """Two dimensions at most: [N], and [N, 1] of clients that batch."""
    dimensions = len(tensor.shape)
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise InvalidArgument(
            f"the input tensor {tensor.name!r} has {dimensions} dimensions; it must have 1 or {MAX_DIMENSIONS}",
            field=tensor.name,
        )
    if min(tensor.shape) < 0 or prod(tensor.shape) != elements:
        raise InvalidArgument(
            f"the input tensor {tensor.name!r} has shape {list(tensor.shape)} and {elements} elements",
            field=tensor.name,
        )


def _split(name: str, raw: bytes) -> list[bytes]:
    """Elements that stand behind their lengths in 4 bytes, little-endian."""
    found, at = [], 0
    while at < len(raw):
        if at + LENGTH.size > len(raw):
            raise InvalidArgument(f"the raw contents of {name!r} end inside a length", field=name)
        (length,) = LENGTH.unpack_from(raw, at)
        at += LENGTH.size
        if at + length > len(raw):
            raise InvalidArgument(f"the raw contents of {name!r} end inside an element", field=name)
        found.append(raw[at : at + length])
        at += length
    return found


def _raw(tensor: Tensor) -> bytes:
    if tensor.datatype != BYTES:
        return struct.pack(f"<{len(tensor.values)}{'f' if tensor.datatype == FP32 else 'q'}", *tensor.values)
    encoded = [str(value).encode() for value in tensor.values]
    return b"".join(LENGTH.pack(len(one)) + one for one in encoded)

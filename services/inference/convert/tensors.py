"""Tensors of the Open Inference Protocol."""

import struct
from collections.abc import Mapping, Sequence

from services.inference.answering.parameters import Value
from services.inference.answering.requests import ModelRef
from services.inference.answering.signatures import BYTES, FP32, SIGNATURES, TensorSpec
from services.inference.answering.tensors import Tensor, TensorAnswer, TensorRequest
from shared.contracts.generated.inference import grpc_service_pb2 as pb
from shared.contracts.generated.inference import model_config_pb2
from shared.errors import InvalidArgument

PLATFORM = "flywheel"
TYPES = {BYTES: model_config_pb2.TYPE_STRING, FP32: model_config_pb2.TYPE_FP32}
LENGTH = struct.Struct("<I")
FINAL = "triton_final_response"


def model_of(name: str, version: str) -> ModelRef:
    """Raises InvalidArgument for a version that is no number; "base" is the untouched base model."""
    if version in ("", "champion"):
        return ModelRef(name)
    if not version.isdigit():
        if version in ("base", "candidate"):
            return ModelRef(name, version)
        raise InvalidArgument(f"model_version is {version!r}; it must be a number", field="model_version")
    return ModelRef(name, version=int(version))


def tensor_request(message: pb.ModelInferRequest) -> TensorRequest:
    """Raises InvalidArgument naming the tensor that is not as it says it is."""
    raw = list(message.raw_input_contents)
    if raw and len(raw) != len(message.inputs):
        raise InvalidArgument(
            f"raw_input_contents has {len(raw)} elements for {len(message.inputs)} inputs", field="raw_input_contents"
        )
    inputs: dict[str, Sequence[str]] = {}
    for position, one in enumerate(message.inputs):
        if one.name in inputs:
            raise InvalidArgument(f"the input tensor {one.name!r} is given twice", field=one.name)
        inputs[one.name] = _texts(one, raw[position] if raw else None)
    return TensorRequest(
        model_of(message.model_name, message.model_version),
        message.id,
        inputs,
        values(message.parameters),
        [one.name for one in message.outputs],
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
        return pb.InferParameter(int64_param=value)
    if isinstance(value, float):
        return pb.InferParameter(double_param=value)
    return pb.InferParameter(string_param=value)


def _described(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)


def _texts(tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None) -> list[str]:
    if tensor.datatype != BYTES:
        raise InvalidArgument(
            f"the input tensor {tensor.name!r} has datatype {tensor.datatype!r}; it must be {BYTES}", field=tensor.name
        )
    elements = list(tensor.contents.bytes_contents) if raw is None else _split(tensor.name, raw)
    count = 1
    for length in tensor.shape:
        count *= length
    if count != len(elements) or not tensor.shape:
        raise InvalidArgument(
            f"the input tensor {tensor.name!r} has shape {list(tensor.shape)} and {len(elements)} elements",
            field=tensor.name,
        )
    try:
        return [element.decode() for element in elements]
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"the input tensor {tensor.name!r} is not UTF-8: {error}", field=tensor.name) from None


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
    if tensor.datatype == FP32:
        return struct.pack(f"<{len(tensor.values)}f", *tensor.values)
    encoded = [str(value).encode() for value in tensor.values]
    return b"".join(LENGTH.pack(len(one)) + one for one in encoded)

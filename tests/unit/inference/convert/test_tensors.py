"""Requests of the Open Inference Protocol, whatever bytes they hold."""

import struct
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.answering.parameters import check_taken, generate_request, rewriting, timeout_seconds
from services.inference.answering.requests import ModelRef
from services.inference.answering.signatures import SIGNATURES
from services.inference.answering.tensor_messages import Tensor, TensorAnswer
from services.inference.convert.tensors import model_of, parameter, tensor_request, tensor_response
from services.inference.kinds import kinds_with
from services.inference.models.lineage import Lineage
from shared.contracts.generated.inference import grpc_service_pb2 as pb
from shared.errors import InvalidArgument

T = TypeVar("T")
VALUES = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=30))
NAMES = st.sampled_from(
    [
        "temperature",
        "top_k",
        "seed",
        "max_tokens",
        "stop",
        "ignore_eos",
        "choices",
        "regex",
        "priority",
        "timeout",
        "raw",
    ]
)


def request(raw: bytes, shape: tuple[int, ...]) -> pb.ModelInferRequest:
    made = pb.ModelInferRequest(model_name="mood", raw_input_contents=[raw])
    made.inputs.add(name="text_input", datatype="BYTES", shape=shape)
    return made


def read_or_field(read: Callable[[], T]) -> T | str:
    """What is read, or the field that the refusal names."""
    try:
        return read()
    except InvalidArgument as error:
        return error.metadata["field"]


@given(st.lists(st.text(), max_size=8))
def test_what_is_packed_is_read(texts: list[str]) -> None:
    encoded = [text.encode() for text in texts]
    raw = b"".join(struct.pack("<I", len(one)) + one for one in encoded)
    made = pb.ModelInferRequest(model_name="mood")
    made.raw_input_contents.append(raw)
    made.inputs.add(name="text_input", datatype="BYTES", shape=[len(texts)])
    assert tensor_request(made).inputs == {"text_input": texts}


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8), st.booleans())
def test_whole_numbers_are_read_raw_or_typed(numbers: list[int], typed: bool) -> None:
    made = pb.ModelInferRequest(model_name="mood")
    one = made.inputs.add(name="head", datatype="INT64", shape=[len(numbers)])
    if typed:
        one.contents.int64_contents.extend(numbers)
    else:
        made.raw_input_contents.append(struct.pack(f"<{len(numbers)}q", *numbers))
    assert tensor_request(made).numbers == {"head": numbers}


@pytest.mark.parametrize("value", [0, -(2**63), 2**63 - 1, 2**63, 2**64 - 1])
def test_any_seed_fits_a_parameter(value: int) -> None:
    made = parameter(value)
    assert getattr(made, str(made.WhichOneof("parameter_choice"))) == value


def test_every_kind_that_is_served_has_tensors() -> None:
    assert set(kinds_with(object)) == set(SIGNATURES)


@given(st.binary(max_size=40), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4))
def test_any_bytes_are_read_or_refused_by_name(raw: bytes, shape: list[int]) -> None:
    found = read_or_field(lambda: tensor_request(request(raw, tuple(shape))))
    if not isinstance(found, str):
        assert sum(4 + len(text.encode()) for text in found.inputs["text_input"]) == len(raw)
    else:
        assert found == "text_input"


@given(st.dictionaries(NAMES, VALUES, max_size=3))
def test_any_parameter_is_taken_or_refused_by_name(parameters: dict[str, bool | int | float | str]) -> None:
    for found in (
        read_or_field(lambda: generate_request(ModelRef("helper"), "hello", parameters)),
        read_or_field(lambda: rewriting(parameters)),
        read_or_field(lambda: check_taken(parameters)),
        read_or_field(lambda: timeout_seconds(parameters)),
    ):
        assert not isinstance(found, str) or found.startswith("parameters.")


def test_lists_of_texts_are_json_and_everything_else_is_one_text() -> None:
    def stops(text: str) -> tuple[str, ...]:
        return generate_request(ModelRef("helper"), "hello", {"stop": text}).stopping.stop

    assert stops('["a", "b"]') == ("a", "b")
    assert stops("[") == ("[",)
    assert stops("[1]") == ("[1]",)
    assert stops("[" * 100_000) == ("[" * 100_000,)
    assert stops("") == ()


def test_a_timeout_is_in_microseconds_and_none_means_none() -> None:
    assert timeout_seconds({"timeout": 1_500_000}) == 1.5
    assert timeout_seconds({"timeout": 0}) is timeout_seconds({}) is None


@given(st.text(max_size=12))
def test_any_version_is_read_or_refused(version: str) -> None:
    found = read_or_field(lambda: model_of("mood", version))
    if isinstance(found, str):
        assert found == "model_version"
    else:
        assert found.version == int(version) if found.version else found.alias in ("champion", "candidate", "base")


def test_the_number_of_the_base_model_is_its_alias() -> None:
    assert model_of("mood", "0") == model_of("mood", "base") == ModelRef("mood", "base")


def test_numbers_travel_little_endian_in_rows() -> None:
    answer = TensorAnswer(Lineage("mood", 3), [Tensor("score", "FP32", (2, 2), [0.5, 1, -1, 0])])
    response = tensor_response(answer, "mine")
    assert response.raw_output_contents[0] == struct.pack("<4f", 0.5, 1, -1, 0)
    assert (response.model_version, response.id, list(response.outputs[0].shape)) == ("3", "mine", [2, 2])


def test_a_tensor_with_contents_and_raw_contents_is_refused() -> None:
    made = request(b"", (0,))
    made.inputs[0].contents.bytes_contents.append(b"a")
    with pytest.raises(InvalidArgument, match="send one of them"):
        tensor_request(made)

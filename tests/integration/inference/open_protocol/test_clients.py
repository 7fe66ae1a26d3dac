"""The clients that others use, unchanged, against this server: NVIDIA's tritonclient and KServe's."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from shared.contracts.generated.inference import grpc_service_pb2, model_config_pb2
from tests.integration.inference.open_protocol.asking import Asker, asking, tensors
from tests.integration.inference.platform import Platform
from tests.support.clients import client_python, run_client

CLIENTS = Path(__file__).with_name("clients")
README = Path(__file__).parents[4] / "README.md"
OURS = (model_config_pb2, grpc_service_pb2)


@pytest.fixture(scope="session")
def python() -> Path:
    return client_python(CLIENTS / "requirements.txt")


def seen(python: Path, script: str, served: Platform) -> dict[str, Any]:
    assert served.application is not None
    found: dict[str, Any] = json.loads(run_client(python, str(CLIENTS / script), served.application.address))
    return found


def labels(asker: Asker) -> tuple[list[str], list[float]]:
    found = tensors(asker.infer(asking("classification", "a good film", "the door")))
    return found["label"], found["probabilities"]


def text(asker: Asker) -> str:
    answer = asker.infer(asking("chat", "hello", max_tokens=6, ignore_eos=True))
    said: str = tensors(answer)["text_output"][0]
    return said


def test_tritonclient_asks_streams_and_operates(python: Path, served: Platform, asker: Asker) -> None:
    found = seen(python, "triton.py", served)
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, [True, False])
    assert found["server"]["name"] == "flywheel"
    assert [one["name"] for one in found["metadata"]["inputs"]] == ["text_input", "text_pair"]
    assert found["config"]["model_transaction_policy"]["decoupled"]
    assert {one["name"]: one["state"] for one in found["index"]}["chat"] == "READY"
    assert found["id"] == "mine"
    names, shares = labels(asker)
    assert found["labels"] == names
    assert [share for row in found["probabilities"] for share in row] == pytest.approx(shares, abs=1e-6)
    assert found["vectors"] == [2, 32]
    assert found["text"] == text(asker)
    assert found["answered"] == 1


def test_tritonclient_streams_side_by_side_and_sees_failures(python: Path, served: Platform, asker: Asker) -> None:
    found = seen(python, "triton.py", served)
    for name in ("one", "two"):
        *parts, last = found["streamed"][name]
        assert "".join(parts) == text(asker)
        assert last == ""
    (failure,) = found["streamed"][""]
    assert failure.startswith("[request id: three] no model 'nobody'")
    statuses = {name: status.removeprefix("StatusCode.") for name, (status, _) in found["failures"].items()}
    assert statuses == {
        "type": "INVALID_ARGUMENT",
        "model": "NOT_FOUND",
        "parameter": "INVALID_ARGUMENT",
        "timeout": "DEADLINE_EXCEEDED",
        "unload": "FAILED_PRECONDITION",
    }
    assert "'text_input' has datatype 'FP32'; it must be BYTES" in found["failures"]["type"][1]


def test_the_client_of_kserve_asks(python: Path, served: Platform, asker: Asker) -> None:
    found = seen(python, "kserve_client.py", served)
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, [True, False])
    names, shares = labels(asker)
    assert (found["labels"], found["raw"]) == (names, names)
    assert [share for row in found["probabilities"] for share in row] == pytest.approx(shares, abs=1e-6)
    assert (found["id"], found["version"]) == ("mine", "1")
    assert found["text"] == text(asker)
    assert found["failure"][0] == "NOT_FOUND"


def test_every_message_is_laid_out_as_that_of_tritonclient(python: Path) -> None:
    printed = json.loads(run_client(python, str(CLIENTS / "descriptor.py")))
    theirs: dict[str, set[Any]] = {}
    for one in printed:
        file = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(one))
        theirs.update(layout(file))
    for module in OURS:
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for name, fields in layout(file).items():
            assert fields <= theirs[name], f"{name}: {fields - theirs[name]}"


def layout(file: descriptor_pb2.FileDescriptorProto) -> dict[str, set[Any]]:
    """Fields of each message, values of each enumeration, methods of each service."""
    found: dict[str, set[Any]] = {}

    def add(prefix: str, message: descriptor_pb2.DescriptorProto) -> None:
        name = f"{prefix}.{message.name}"
        found[name] = {
            (f.name, f.number, f.type, f.label, f.type_name, f.HasField("oneof_index")) for f in message.field
        }
        for nested in message.nested_type:
            add(name, nested)

    for message in file.message_type:
        add(file.package, message)
    for enum in file.enum_type:
        found[enum.name] = {(value.name, value.number) for value in enum.value}
    for service in file.service:
        found[service.name] = {
            (m.name, m.input_type, m.output_type, m.client_streaming, m.server_streaming) for m in service.method
        }
    return found


def test_the_lines_in_the_readme_run(python: Path, served: Platform, asker: Asker) -> None:
    assert served.application is not None
    section = README.read_text().partition("## For clients of Triton and KServe")[2]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code is not None
    lines = code[1].replace("127.0.0.1:50051", served.application.address)
    lines = lines.replace('"sentiment"', '"classification"').replace('"support"', '"chat"')
    printed = run_client(python, "-c", lines)
    assert printed.splitlines()[0].split(" by version ") == [labels(asker)[0][0], "1"]
    assert len(printed) > len(printed.splitlines()[0]) + 1

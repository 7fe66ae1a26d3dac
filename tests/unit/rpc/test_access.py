"""Which role each method of our contracts needs, and what a request names."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from shared.contracts.generated.flywheel.control.v1 import control_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2, serving_pb2
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2
from shared.errors import PermissionDenied
from shared.rpc.access import ROLES, check_message, model_of, rule_of
from shared.rpc.callers import Caller, Role

SERVICES = [
    service
    for module in (control_pb2, inference_pb2, serving_pb2, ingestion_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]


def test_every_service_of_our_contracts_has_a_role() -> None:
    assert {service.full_name for service in SERVICES} <= ROLES.keys()


def test_every_question_to_a_model_names_it_where_a_limited_key_can_be_held_to_it() -> None:
    """A new method must name its model, or be listed as one that has none."""
    questions = [service for service in SERVICES if service.full_name.endswith("inference.v1.Inference")]
    checked = 0
    for method in questions[0].methods:
        if rule_of(f"/{questions[0].full_name}/{method.name}").names_model:
            assert method.input_type.fields_by_name["model"].message_type.name == "ModelRef", method.full_name
            checked += 1
    assert checked >= 9


@pytest.mark.parametrize(
    ("call", "role"),
    [
        ("/inference.GRPCInferenceService/ModelInfer", Role.CALL),
        ("/inference.GRPCInferenceService/RepositoryModelUnload", Role.OPERATE),
        ("/inference.GRPCInferenceService/ServerLive", None),
        ("/grpc.health.v1.Health/Check", None),
        ("/grpc.health.v1.HealthCheck/Anything", Role.OPERATE),
        ("/some.later.v1.Service/Method", Role.OPERATE),
    ],
)
def test_a_service_that_nobody_listed_is_for_operators(call: str, role: Role | None) -> None:
    assert rule_of(call).role is role


@dataclass
class Parameter:
    """As in the Open Inference Protocol: one of several types."""

    kind: str
    value: Any

    def WhichOneof(self, group: str) -> str:
        return self.kind

    def __getattr__(self, name: str) -> Any:
        return self.value


@dataclass
class Infer:
    model_name: str
    parameters: dict[str, Parameter] = field(default_factory=dict)
    DESCRIPTOR: Any = field(default_factory=lambda: SimpleNamespace(fields_by_name=("model_name", "parameters")))


def test_the_open_inference_protocol_names_model_and_priority_its_own_way() -> None:
    limited = Caller("acme", frozenset({Role.CALL}), frozenset({"mood"}), priority_max=5)
    rule = rule_of("/inference.GRPCInferenceService/ModelInfer")
    assert model_of(Infer("mood")) == "mood"
    for value in (5, 5.0, "high", True):
        check_message(limited, rule, Infer("mood", {"priority": Parameter("some_param", value)}))
    for value in (6, 5.5, float("inf"), "6", " 7e0"):
        with pytest.raises(PermissionDenied, match="priority"):
            check_message(limited, rule, Infer("mood", {"priority": Parameter("some_param", value)}))
    with pytest.raises(PermissionDenied, match="'other'"):
        check_message(limited, rule, Infer("other"))

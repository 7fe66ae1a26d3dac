"""Which role a call needs, and what a limited key may ask in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.errors import PermissionDenied
from shared.rpc.callers import Caller, Role

INFERENCE = "flywheel.inference.v1.Inference"
OPEN_INFERENCE = "inference.GRPCInferenceService"
ROLES = {
    INFERENCE: Role.CALL,
    OPEN_INFERENCE: Role.CALL,
    "flywheel.inference.v1.Serving": Role.OPERATE,
    "flywheel.control.v1.Control": Role.OPERATE,
    "flywheel.ingestion.v1.Ingestion": Role.INGEST,
}
"""By service; one that is not here needs `operate`."""
OPEN = {
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
    f"{OPEN_INFERENCE}/ServerLive",
    f"{OPEN_INFERENCE}/ServerReady",
}
"""Services and methods without a key: orchestrators ask after health, and the contract is no secret."""
METHOD_ROLES = {
    f"{OPEN_INFERENCE}/RepositoryModelLoad": Role.OPERATE,
    f"{OPEN_INFERENCE}/RepositoryModelUnload": Role.OPERATE,
}
WITHOUT_MODEL = {
    f"{INFERENCE}/RecordFeedback",
    f"{INFERENCE}/ExplainResponse",
    f"{OPEN_INFERENCE}/ServerMetadata",
    f"{OPEN_INFERENCE}/RepositoryIndex",
}
"""What a key with `models` may call though the request names none."""


@dataclass(frozen=True)
class Rule:
    """What a method asks of its caller; `role` is None where everybody is let in."""

    role: Role | None
    names_model: bool


def rule_of(call: str) -> Rule:
    """For `/package.Service/Method`."""
    name = call.lstrip("/")
    service = name.partition("/")[0]
    if service in OPEN or name in OPEN:
        return Rule(None, names_model=False)
    role = METHOD_ROLES.get(name) or ROLES.get(service, Role.OPERATE)
    return Rule(role, names_model=name not in WITHOUT_MODEL)


def check_role(caller: Caller, rule: Rule, call: str) -> None:
    """Raises PermissionDenied."""
    if rule.role is not None and rule.role not in caller.roles:
        has = ", ".join(sorted(caller.roles))
        raise PermissionDenied(
            f"{call.lstrip('/')} needs a key with the role {rule.role}; this one of {caller.tenant!r} has {has}",
            role=rule.role,
            tenant=caller.tenant,
        )


def check_message(caller: Caller, rule: Rule, message: Any) -> None:
    """Whether the key covers the message's model and priority. Raises PermissionDenied."""
    if caller.models is not None and rule.names_model:
        model = model_of(message)
        if model is not None and model not in caller.models:
            what = f"the model {model!r}" if model else "a call that names no model"
            raise PermissionDenied(
                f"this key of {caller.tenant!r} does not cover {what}", model=model, tenant=caller.tenant
            )
    priority = _priority(message)
    if priority > caller.priority_max:
        raise PermissionDenied(
            f"priority is {priority:g}; this key of {caller.tenant!r} may use at most {caller.priority_max}",
            field="priority",
            tenant=caller.tenant,
        )


def model_of(message: Any) -> str | None:
    """The model or pipeline that a message names; None where a part of a stream only carries on."""
    fields = message.DESCRIPTOR.fields_by_name
    for name, read in _MODEL_FIELDS:
        if name in fields:
            return read(message)
    return None if "chunk" in fields or "rows" in fields else ""


def _of_header(message: Any) -> str | None:
    return str(message.header.pipeline) if message.HasField("header") else None


def _of_model(message: Any) -> str:
    model = message.model
    return model if isinstance(model, str) else str(model.name)


_MODEL_FIELDS: tuple[tuple[str, Callable[[Any], str | None]], ...] = (
    ("model", _of_model),
    ("model_name", lambda message: str(message.model_name)),
    ("pipeline", lambda message: str(message.pipeline)),
    ("header", _of_header),
    ("name", lambda message: str(message.name)),
)


def _priority(message: Any) -> float:
    """Of `priority`, or of the parameter of that name in the Open Inference Protocol."""
    fields = message.DESCRIPTOR.fields_by_name
    if "priority" in fields:
        return float(message.priority)
    if "parameters" in fields and "priority" in message.parameters:
        given = message.parameters["priority"]
        try:
            return float(getattr(given, given.WhichOneof("parameter_choice") or "int64_param"))
        except ValueError:
            return 0.0  # the door refuses what is no number
    return 0.0

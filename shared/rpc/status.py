"""The one mapper between shared.errors and gRPC status, in both directions."""

from collections.abc import Iterable

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from shared import errors
from shared.rpc.times import duration

DOMAIN = "flywheel"
MESSAGE_BYTES = 1024
METADATA_BYTES = 256
"""Longer texts are cut: a status travels in trailers, which clients limit to 8 KiB, and a client's input may be in it."""

CODES: dict[type[errors.FlywheelError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.GateNotPassed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.IllegalTransition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.RetryableError: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.LeaseLost: grpc.StatusCode.ABORTED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.DataCorrupted: grpc.StatusCode.DATA_LOSS,
    errors.FlywheelError: grpc.StatusCode.INTERNAL,
}
_BY_REASON = {error.reason: error for error in CODES}
_BY_CODE = {code: error for error, code in reversed(CODES.items())}


def to_status(error: errors.FlywheelError) -> status_pb2.Status:
    """A google.rpc.Status with ErrorInfo, BadRequest where a field is wrong, RetryInfo where another try makes sense."""
    message = _cut(error.message, MESSAGE_BYTES)
    metadata = {key: _cut(value, METADATA_BYTES) for key, value in error.metadata.items()}
    details = [_pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))]
    if isinstance(error, errors.InvalidArgument) and "field" in metadata:
        violation = error_details_pb2.BadRequest.FieldViolation(field=metadata["field"], description=message)
        details.append(_pack(error_details_pb2.BadRequest(field_violations=[violation])))
    if isinstance(error, errors.RetryableError):
        details.append(_pack(error_details_pb2.RetryInfo(retry_delay=duration(error.retry_seconds))))
    return status_pb2.Status(code=CODES[type(error)].value[0], message=message, details=details)


def abort(context: grpc.ServicerContext, error: errors.FlywheelError) -> None:
    """Ends the call with the error's status; never returns normally."""
    context.abort_with_status(rpc_status.to_status(to_status(error)))


def from_rpc_error(error: grpc.RpcError) -> errors.FlywheelError:
    """The error that a server raised, as its client sees it: same class, message and metadata."""
    code, message = error.code(), error.details() or ""
    kind, retry_seconds = _BY_CODE.get(code, errors.FlywheelError), 1.0
    metadata: dict[str, str] = {}
    status = rpc_status.from_call(error) if isinstance(error, grpc.Call) else None
    details: Iterable[AnyMessage] = status.details if status else ()
    for detail in details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            kind, metadata = _BY_REASON.get(info.reason, kind), dict(info.metadata)
        elif detail.Unpack(retry):
            retry_seconds = retry.retry_delay.ToNanoseconds() / 1e9
    if issubclass(kind, errors.RetryableError):
        return kind(message, retry_seconds, **metadata)
    return kind(message, **metadata)


def _pack(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def _cut(text: str, most: int) -> str:
    """At most so many bytes of UTF-8."""
    encoded = text.encode(errors="replace")
    return text if len(encoded) <= most else encoded[: most - 3].decode(errors="ignore") + "…"

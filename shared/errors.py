"""What can go wrong, without a word about transports.

FlywheelError
├── InvalidArgument       a field that can't be right, whatever the state
├── NotFound              nothing of that name
├── AlreadyExists         the name is taken
├── FailedPrecondition    right in form, refused in this state
│   ├── GateNotPassed     the version's verdict is not pass
│   └── IllegalTransition a state that can't follow
├── RetryableError        worth another try after a while
│   ├── ResourceExhausted a queue or a quota is full
│   └── Unavailable       draining, loading, or a part is down
├── DeadlineExceeded      the time ran out
├── Cancelled             the caller or an operator stopped it
├── Aborted               someone else was first
│   └── LeaseLost         another worker holds the run now
├── Unauthenticated       nobody knows who asks
├── PermissionDenied      known, and not allowed to
├── Unsupported           not built; never ignored in silence
└── DataCorrupted         a digest does not match
"""


class FlywheelError(Exception):
    """Base of them all. `reason` is a stable word for programs, the message is for people."""

    reason = "INTERNAL"

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = {key: str(value) for key, value in metadata.items()}


class InvalidArgument(FlywheelError):
    reason = "INVALID_ARGUMENT"


class NotFound(FlywheelError):
    reason = "NOT_FOUND"


class AlreadyExists(FlywheelError):
    reason = "ALREADY_EXISTS"


class FailedPrecondition(FlywheelError):
    reason = "FAILED_PRECONDITION"


class GateNotPassed(FailedPrecondition):
    reason = "GATE_NOT_PASSED"


class IllegalTransition(FailedPrecondition):
    reason = "ILLEGAL_TRANSITION"


class RetryableError(FlywheelError):
    """Worth another try after `retry_seconds`."""

    reason = "RETRYABLE"

    def __init__(self, message: str, retry_seconds: float = 1.0, **metadata: object) -> None:
        super().__init__(message, **metadata)
        self.retry_seconds = retry_seconds


class ResourceExhausted(RetryableError):
    reason = "RESOURCE_EXHAUSTED"


class Unavailable(RetryableError):
    reason = "UNAVAILABLE"


class DeadlineExceeded(FlywheelError):
    reason = "DEADLINE_EXCEEDED"


class Cancelled(FlywheelError):
    reason = "CANCELLED"


class Aborted(FlywheelError):
    reason = "ABORTED"


class LeaseLost(Aborted):
    reason = "LEASE_LOST"


class Unauthenticated(FlywheelError):
    reason = "UNAUTHENTICATED"


class PermissionDenied(FlywheelError):
    reason = "PERMISSION_DENIED"


class Unsupported(FlywheelError):
    reason = "UNSUPPORTED"


class DataCorrupted(FlywheelError):
    reason = "DATA_CORRUPTED"
